//! Tells of changes of clients, by a route or by a command on a data folder on which no server runs: [`CommandTrail`].

use std::sync::Arc;

use fhirhose_auth::ClientId;
use fhirhose_store::Store;
use hyper::StatusCode;

use super::act::Act;
use super::files::AuditFiles;
use super::record::{Audit, OpenEvent};
use super::settings::AuditSettings;
use super::shape::{Told, Who};
use super::start::go_on;
use crate::Result;
use crate::clients::{ClientChange, ClientFault};
use crate::operator_socket::OPERATOR;

/// The name of whoever changes a folder by a command.
const COMMAND: &str = "urn:fhirhose:command";

/// The trail of a data folder that a command holds.
pub struct CommandTrail {
    audit: Audit,
}

impl CommandTrail {
    /// Goes on with the trail of a store. What a server left open is closed as interrupted.
    ///
    /// # Errors
    /// [`ErrorKind::Audit`](crate::ErrorKind::Audit) when the trail cannot be read or written.
    pub async fn open(store: &Store, files: Arc<dyn AuditFiles>) -> Result<Self> {
        let settings = AuditSettings::default();
        let (trail, _) = go_on(store, &files, &settings).await?;
        let clock = Arc::clone(store.clock());
        let audit = Audit::new(trail, COMMAND, clock, &settings, None);
        Ok(Self { audit })
    }

    /// Tells of a change before it is made, and after; all of it is durable when it returns.
    ///
    /// # Errors
    /// What `change` gives; [`ClientFault::Untold`] when it could not be told, and then nothing was changed.
    pub async fn change<T>(
        &self,
        what: ClientChange,
        id: &ClientId,
        change: impl Future<Output = std::result::Result<T, ClientFault>>,
    ) -> std::result::Result<T, ClientFault> {
        let mut told = Told::new(act(what), Who::owner(OPERATOR));
        told.subject = Some(id.to_string());
        let open = self.audit.open_as(told).await;
        let done = closed_after(open.map_err(|_| ClientFault::Untold)?, change).await;
        // What closes it is owed if it cannot be written now: the next one that goes on closes it as interrupted.
        let _ = self.audit.sync().await;
        done
    }
}

/// Closes an event with what came of a change.
pub(crate) async fn closed_after<T>(
    mut open: OpenEvent,
    change: impl Future<Output = std::result::Result<T, ClientFault>>,
) -> std::result::Result<T, ClientFault> {
    let done = change.await;
    let status = match &done {
        Ok(_) => StatusCode::OK,
        Err(ClientFault::Store(_) | ClientFault::Untold) => StatusCode::INTERNAL_SERVER_ERROR,
        Err(_) => StatusCode::CONFLICT,
    };
    open.told.text = done.as_ref().err().map(ToString::to_string);
    open.close(status);
    done
}

/// How a change is told.
pub(crate) fn act(what: ClientChange) -> Act {
    match what {
        ClientChange::Added => Act::ClientAdd,
        ClientChange::Revoked => Act::ClientRevoke,
        ClientChange::Rotated => Act::ClientRotate,
    }
}
