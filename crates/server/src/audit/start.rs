//! How the trail of a server begins and ends: [`start`], and [`Audit::stop`].

use std::sync::Arc;

use fhirhose_store::Store;
use tracing::error;

use super::act::Act;
use super::copy::{Copier, copied};
use super::files::AuditFiles;
use super::record::Audit;
use super::settings::AuditSettings;
use super::shape::{Told, Who};
use super::trail::{Resumed, Trail};
use crate::{Components, Error, ErrorKind, Result};

/// Goes on with the trail, and tells that the server begins and what its last process left.
///
/// # Errors
/// [`ErrorKind::Audit`] when the trail cannot be read or written.
pub(crate) async fn start(
    components: &Components,
    settings: &AuditSettings,
    base_url: &str,
) -> Result<Audit> {
    let store = &components.store;
    let (trail, resumed) = go_on(store, &components.audit, settings).await?;
    let copier = settings.store_copy.then(|| Copier {
        store: store.clone(),
        files: Arc::clone(&components.audit),
        durable: trail.durable(),
    });
    let audit = Audit::new(trail, base_url, Arc::clone(store.clock()), settings, copier);
    audit
        .record(&beginning(resumed))
        .await
        .map_err(|_| Error::new(ErrorKind::Audit, "writing the audit trail"))?;
    Ok(audit)
}

/// Goes on with the trail of a store.
///
/// # Errors
/// As [`start`].
pub(super) async fn go_on(
    store: &Store,
    files: &Arc<dyn AuditFiles>,
    settings: &AuditSettings,
) -> Result<(Trail, Resumed)> {
    let failed = || Error::new(ErrorKind::Audit, "going on with the audit trail");
    let known = copied(store).await.map_err(|source| failed().caused_by(source))?;
    let (files, clock, trail) = (
        Arc::clone(files),
        Arc::clone(store.clock()),
        settings.trail.clone(),
    );
    let starting = tokio::task::spawn_blocking(move || Trail::start(files, clock, trail, known));
    let started = starting.await.map_err(|panic| failed().caused_by(panic))?;
    let (trail, resumed) = started.map_err(|source| failed().caused_by(source))?;
    if let Some(damage) = &resumed.damage {
        error!(
            damage,
            "the audit trail is damaged: `fhirhose audit verify` tells where"
        );
    }
    Ok((trail, resumed))
}

fn beginning(resumed: Resumed) -> Told {
    let told = Told::new(Act::ServerStart, Who::the_server())
        .with("interrupted", resumed.interrupted.len())
        .with("cut-bytes", resumed.cut_bytes);
    match resumed.damage {
        Some(damage) => told.with("damage", damage),
        None => told,
    }
}

impl Audit {
    /// Tells that the server stops; all lines are durable when it returns.
    ///
    /// # Errors
    /// [`ErrorKind::Audit`] when it cannot be written.
    pub(crate) async fn stop(&self) -> Result<()> {
        let told = Told::new(Act::ServerStop, Who::the_server());
        let unwritten = |_| Error::new(ErrorKind::Audit, "writing the end of the audit trail");
        self.record(&told).await.map_err(unwritten)
    }
}
