//! Looks how a Data Provider differs from the standard, politely: [`Doctor`].
//!
//! A handful of requests with a pause between them, one after the other: the CapabilityStatement, the smart-configuration, one token, one
//! export of almost nothing, its status, a byte of a file, DELETE. What was seen becomes [`Check`]s, and all of them a
//! [`Diagnosis`]. Nothing is written to disk, and nothing secret gets into a check: no token, no query of a URL, no content of a file.

mod ask;
mod certificate;
mod check;
mod discovery;
mod export;
mod files;

use std::time::Duration;

use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::id::Id;

use crate::provider::DataProvider;
use crate::quirks::QuirkProfile;
use crate::smart::TokenSource;

pub use check::{Check, Diagnosis, KnownDifference, Outlook, Verdict};

/// What is looked at, and with how much patience.
#[derive(Debug, Clone)]
pub struct DoctorSettings {
    /// The Group to export; without one, all patients.
    pub group: Option<Id>,
    /// Whether an export is begun.
    pub exports: Exports,
    /// The pause between two requests, in milliseconds.
    pub pause_millis: u64,
    /// How often the status is asked at most.
    pub polls_max: u32,
    /// The longest wait between two polls, in seconds, whatever `Retry-After` says: a person waits.
    pub poll_wait_secs_max: u64,
}

/// Whether an export is begun. It is one of Patients changed in the last second, and is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exports {
    /// Yes, unless the server is known to let a client have few.
    #[default]
    WhereCheap,
    /// Yes.
    Always,
    /// No.
    Never,
}

impl Default for DoctorSettings {
    fn default() -> Self {
        Self {
            group: None,
            exports: Exports::default(),
            pause_millis: 500,
            polls_max: 12,
            poll_wait_secs_max: 10,
        }
    }
}

/// Examines one server.
#[derive(Debug)]
pub struct Doctor {
    /// The server, with the tokens that go along.
    pub provider: DataProvider,
    /// Where the tokens come from, where there are any.
    pub tokens: Option<TokenSource>,
    /// The kind of server that the user says it is; `None` to look.
    pub profile: Option<QuirkProfile>,
    /// What is looked at.
    pub settings: DoctorSettings,
}

impl Doctor {
    /// Examines the server. Whatever goes wrong is part of the diagnosis.
    pub async fn examine(self) -> Diagnosis {
        let mut examination = Examination {
            provider: self.provider,
            tokens: self.tokens,
            settings: self.settings,
            checks: Vec::new(),
            is_open: true,
        };
        let found = examination.discover().await;
        let profile = self.profile.or(found);
        if let Some(profile) = &profile {
            examination.provider = examination.provider.clone().with_quirks(profile.quirks().clone());
        }
        if examination.is_reachable() {
            examination.token().await;
            examination.export().await;
        }
        Diagnosis::of(examination.provider.base(), profile, examination.checks)
    }
}

/// What one examination has found so far.
struct Examination {
    provider: DataProvider,
    tokens: Option<TokenSource>,
    settings: DoctorSettings,
    checks: Vec<Check>,
    /// Whether the server has not asked for a token so far.
    is_open: bool,
}

impl Examination {
    fn note(&mut self, check: Check) {
        self.checks.push(check);
    }

    fn is_reachable(&self) -> bool {
        let failed = |check: &Check| check.verdict == Verdict::Failed && check.is_vital;
        !self.checks.iter().any(failed)
    }

    fn level(&self) -> ExportLevel {
        match &self.settings.group {
            Some(group) => ExportLevel::Group(group.clone()),
            None => ExportLevel::AllPatients,
        }
    }

    /// Leaves the server time for others.
    async fn pause(&self) {
        let pause = Duration::from_millis(self.settings.pause_millis);
        self.provider.clock().sleep(pause).await;
    }
}
