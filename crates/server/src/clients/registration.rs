//! What somebody who registers a client says of it: [`NewClient`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use fhirhose_auth::{Actions, Client, ClientId, ClientLimits, GroupAccess, NamedScope, Scope, Scopes};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Serialize};

use super::{ClientFault, NewKeys};

/// Characters of a client's name, and of its contact, at most.
const TEXT_CHARS_MAX: usize = 200;

/// Groups that a client can be held to at most.
const GROUPS_MAX: usize = 1_000;

/// Names under which others than clients have jobs, beside addresses.
const RESERVED: [&str; 1] = ["operator"];

/// Whether others than clients have jobs under a name: the operator, and addresses where nobody is asked who they are.
pub(crate) fn is_reserved(id: &str) -> bool {
    RESERVED.contains(&id) || id.parse::<IpAddr>().is_ok()
}

/// What somebody who registers a client says of it; names as those of RFC 7591 where it has one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// Its id.
    pub client_id: ClientId,
    /// What people call it.
    pub client_name: String,
    /// Its public keys.
    pub keys: NewKeys,
    /// All that it can be granted, parted by spaces.
    pub scope: String,
    /// Whether scopes that allow more than reading may be among them.
    #[serde(default)]
    pub allow_write: bool,
    /// The Groups that it is held to; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    /// Its own limits.
    #[serde(default)]
    pub limits: ClientLimits,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When its registration ends: an instant, or a date, at whose beginning (UTC) it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl NewClient {
    /// Makes the record.
    ///
    /// # Errors
    /// [`ClientFault::Invalid`] with what is wrong.
    pub(super) fn checked(self, now: Instant) -> Result<Client, ClientFault> {
        let id = self.client_id;
        if is_reserved(id.as_str()) {
            return refused("this id names others than clients: choose another that is no address");
        }
        Ok(Client {
            id,
            name: checked_text(self.client_name, "name")?,
            keys: self.keys.checked()?,
            scopes: checked_scopes(&self.scope, self.allow_write)?,
            groups: checked_groups(self.groups)?,
            limits: checked_limits(self.limits)?,
            contact: self
                .contact
                .map(|contact| checked_text(contact, "contact"))
                .transpose()?,
            created: now,
            expires: self.expires.map(|text| checked_expiry(&text, now)).transpose()?,
            revoked: None,
            tokens_from: None,
        })
    }
}

fn checked_text(text: String, what: &str) -> Result<String, ClientFault> {
    let is_fine = !text.trim().is_empty() && text.chars().count() <= TEXT_CHARS_MAX;
    if is_fine && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    refused(format!(
        "the {what} has 1 to {TEXT_CHARS_MAX} characters, none of them a control character"
    ))
}

fn checked_scopes(text: &str, allow_write: bool) -> Result<Scopes, ClientFault> {
    let scopes = Scopes::parse(text).map_err(|fault| ClientFault::Invalid(fault.to_string()))?;
    let beyond = scopes.iter().find(|scope| !is_reading(*scope));
    match beyond {
        Some(scope) if !allow_write => refused(format!(
            "{scope} allows more than reading; give less, or say explicitly that the client may write"
        )),
        _ => Ok(scopes),
    }
}

/// Whether a scope allows nothing but reading. The operator's does not: who has it can register clients.
fn is_reading(scope: Scope) -> bool {
    match scope {
        Scope::Resources { actions, .. } => Actions::READING.contains(actions),
        Scope::Named(NamedScope::BulkImport | NamedScope::BulkSubmit | NamedScope::Operator) => false,
    }
}

fn checked_groups(groups: Option<BTreeSet<String>>) -> Result<GroupAccess, ClientFault> {
    let Some(groups) = groups else {
        return Ok(GroupAccess::Every);
    };
    let ids: Option<BTreeSet<Id>> = groups.iter().map(|group| Id::parse(group)).collect();
    match ids {
        Some(ids) if (1..=GROUPS_MAX).contains(&ids.len()) => Ok(GroupAccess::Only(ids)),
        Some(_) => refused(format!(
            "a client is held to 1 to {GROUPS_MAX} Groups, or to none"
        )),
        None => refused("a Group is given by its id, without `Group/`"),
    }
}

fn checked_limits(limits: ClientLimits) -> Result<ClientLimits, ClientFault> {
    let zero = limits.jobs_live_max == Some(0)
        || limits.downloads_parallel_max == Some(0)
        || limits.token_secs == Some(0);
    if zero {
        return refused("a client's limit is at least 1; revoke a client that may do nothing");
    }
    Ok(limits)
}

fn checked_expiry(text: &str, now: Instant) -> Result<Instant, ClientFault> {
    let whole = Instant::parse(text).or_else(|_| Instant::parse(&format!("{text}T00:00:00Z")));
    match whole {
        Ok(expires) if expires > now => Ok(expires),
        Ok(_) => refused("the registration would have ended already: give a date in the future"),
        Err(_) => refused("the end of a registration is a date, or a time with its zone"),
    }
}

fn refused<T>(text: impl Into<String>) -> Result<T, ClientFault> {
    Err(ClientFault::Invalid(text.into()))
}
