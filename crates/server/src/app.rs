//! What all requests share: [`App`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Clock, Entropy, JobId, Wake};
use fhirhose_store::Store;
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::ServerSettings;
use crate::audit::Audit;
use crate::authority::Authority;
use crate::floods::Floods;

/// What all requests share; fixed once the server runs.
pub(crate) struct App {
    /// Where resources and jobs are.
    pub(crate) store: Store,
    /// Where ids come from.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Signalled after a job was recorded or cancelled.
    pub(crate) wake: Wake,
    /// Who may do what.
    pub(crate) authority: Authority,
    /// Where it is told what is done.
    pub(crate) audit: Audit,
    /// What clients and addresses did of late.
    pub(crate) floods: Floods,
    /// As they were given.
    pub(crate) settings: ServerSettings,
    /// The public FHIR base, without a slash at the end.
    pub(crate) base_url: String,
    /// What seals the cursors of searches, once one is needed.
    pub(crate) cursor_key: OnceCell<ring::hmac::Key>,
    /// One permit for each search that scans.
    pub(crate) searches: Semaphore,
    /// Held from looking for what a condition matches until what follows from it is written, so that two requests with the
    /// same condition do not both find nothing.
    pub(crate) conditional: Mutex<()>,
    /// When the server started.
    pub(crate) started: Instant,
    /// The CapabilityStatement, once somebody asked for it.
    pub(crate) statement: OnceLock<Bytes>,
}

impl App {
    /// The clock, which is the store's.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &**self.store.clock()
    }

    /// The present instant as FHIR has it.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(self.clock().now().as_micros())
    }

    /// Makes an absolute URL below the base.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base_url)
    }

    /// Makes the absolute URL of an operation's job, such as `$export-status/{id}`.
    pub(crate) fn job_url(&self, operation: &str, job: &JobId) -> String {
        self.url(&format!("{operation}/{job}"))
    }
}
