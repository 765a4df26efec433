//! What a request may do and in whose name: [`Grant`].

use std::collections::BTreeSet;

use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};

use crate::{Actions, ClientLimits, NamedScope, Scopes};

/// Which Groups a client may export.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupAccess {
    /// All that there are, and everything outside of Groups.
    #[default]
    Every,
    /// These. A client with such a list gets at patients through these Groups only: exports of all patients, of the system
    /// and of one patient are not for it, nor are reads and searches of anything but these Groups.
    Only(BTreeSet<Id>),
}

/// What one request may do and in whose name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who asks, as jobs, limits and the audit trail know it: a client's id, or an address where there is no authorization.
    pub client: String,
    /// What it may do: what its token has, narrowed by what its registration has now.
    pub scopes: Scopes,
    /// Which Groups it may export.
    pub groups: GroupAccess,
    /// Its own limits, where they differ from the server's.
    pub limits: ClientLimits,
}

impl Grant {
    /// Makes the grant of somebody who may do everything.
    pub fn everything(client: impl Into<String>) -> Self {
        Self {
            client: client.into(),
            scopes: Scopes::everything(),
            groups: GroupAccess::Every,
            limits: ClientLimits::default(),
        }
    }

    /// Makes the grant of somebody whom nobody asked who they are: of routes that are open to everybody.
    pub fn nothing() -> Self {
        Self {
            scopes: Scopes::default(),
            ..Self::everything("")
        }
    }

    /// Whether all of `actions` may be done with a type.
    pub fn allows(&self, actions: Actions, resource_type: ResourceType) -> bool {
        self.scopes.allows(actions, resource_type)
    }

    /// Whether an operation may be used.
    pub fn has(&self, named: NamedScope) -> bool {
        self.scopes.has(named)
    }

    /// Whether a Group may be exported, and read.
    pub fn reaches_group(&self, id: &Id) -> bool {
        match &self.groups {
            GroupAccess::Every => true,
            GroupAccess::Only(ids) => ids.contains(id),
        }
    }

    /// Whether the client is held to certain Groups.
    pub fn is_held_to_groups(&self) -> bool {
        self.groups != GroupAccess::Every
    }
}
