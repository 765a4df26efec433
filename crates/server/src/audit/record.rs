//! What the routes and jobs of a server tell the trail: [`Audit`], and [`OpenEvent`] for what lasts.
//!
//! While a request is answered, whoever learns something worth telling says so with [`note`]; the route's row in the
//! [table](super::table) decides what becomes of it. So handlers need not pass it on.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhirhose_auth::Grant;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_jobs::{Clock, JobId, StopSignal};
use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use hyper::http::request::Parts;

use super::act::Act;
use super::copy::Copier;
use super::refusals::Refusals;
use super::settings::AuditSettings;
use super::shape::{Told, Who};
use super::table::Audited;
use super::trail::{Entry, Trail};
use crate::call::Answer;
use crate::listener::Peer;
use crate::problem::Problem;

/// Jobs whose delivery is remembered to have been told; then all are forgotten.
const DELIVERED_MAX: usize = 10_000;

/// How often what was counted is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Statuses that say that somebody was turned away, whatever was asked for.
const TURNED_AWAY: [StatusCode; 4] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::MISDIRECTED_REQUEST,
    StatusCode::TOO_MANY_REQUESTS,
];

tokio::task_local! {
    /// What is to be told of the request that this task answers. Also held by its [`Guard`].
    static TOLD: Arc<Mutex<Told>>;
}

/// Adds to what is told of the request that is being answered; without one nothing happens.
pub(crate) fn note(change: impl FnOnce(&mut Told)) {
    let _ = TOLD.try_with(|told| change(&mut told.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Says which client has proved who it is.
pub(crate) fn note_client(id: &str) {
    note(|told| id.clone_into(&mut told.who.client));
}

/// Adds a resource that is read or written, and the patients in whose compartments it sits.
pub(crate) fn note_resource(resource_type: &str, id: &str, text: &[u8]) {
    note(|told| told.add_resource(&format!("{resource_type}/{id}")));
    note_patients(text);
}

/// Adds the patients in whose compartments a resource sits that is read or written.
pub(crate) fn note_patients(text: &[u8]) {
    note(|told| {
        // What is stored was checked once, whatever the limits were then: these are the widest that there are.
        let limits = LineLimits {
            line_bytes_max: usize::MAX,
            depth_max: 10_000,
        };
        if let Ok(checked) = LineChecker::new(limits).check(text, None) {
            checked.owner.iter().for_each(|owner| told.add_patient(owner));
            checked
                .other_patients
                .iter()
                .for_each(|other| told.add_patient(other));
        }
    });
}

/// Says who asks.
pub(crate) fn note_grant(grant: &Grant, head: &Parts) {
    note(|told| {
        // Behind a proxy it has become another one meanwhile.
        told.who.address = head.extensions.get::<Peer>().map(|peer| peer.0);
        told.who.client.clone_from(&grant.client);
        told.who.scopes = grant
            .scopes
            .to_string()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    });
}

/// Says what a request of a route that may be used asks for.
pub(crate) fn note_request(head: &Parts, arguments: &[(&'static str, String)]) {
    let argument = |name: &str| {
        let found = arguments.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    };
    note(|told| {
        told.is_admitted = true;
        told.job = argument("job");
        told.file = argument("file");
        told.subject = argument("client");
        if let (Some(resource_type), Some(id)) = (argument("type"), argument("id")) {
            told.add_resource(&format!("{resource_type}/{id}"));
        }
        // What is sent to these in a URL is refused, and is what somebody could be taken for a client by.
        let is_secret = head.uri.path().starts_with("/auth/");
        if let Some(query) = head.uri.query().filter(|query| !query.is_empty() && !is_secret) {
            told.query = Some(format!("{}?{query}", head.uri.path()));
        }
    });
}

/// Tells the trail of one server. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub(crate) struct Audit {
    inner: Arc<Inner>,
}

struct Inner {
    trail: Trail,
    base_url: String,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
    /// Jobs whose end was delivered, as far as this process knows. Locked for the length of one look.
    delivered: Mutex<HashSet<JobId>>,
    /// What copies the trail into the store; taken by [`Audit::keep`].
    copier: Mutex<Option<Copier>>,
}

impl Audit {
    pub(crate) fn new(
        trail: Trail,
        base_url: &str,
        clock: Arc<dyn Clock>,
        settings: &AuditSettings,
        copier: Option<Copier>,
    ) -> Self {
        let window = Duration::from_secs(settings.refusal_window_secs);
        Self {
            inner: Arc::new(Inner {
                trail,
                base_url: base_url.to_owned(),
                clock,
                refusals: Refusals::new(window, settings.refusals_tracked_max),
                delivered: Mutex::default(),
                copier: Mutex::new(copier),
            }),
        }
    }

    /// Opens the event of the request that is being answered; durable when it returns.
    ///
    /// # Errors
    /// 507 or 503 when it cannot be written: then what it tells of must not be done.
    pub(crate) async fn open(&self, act: Act) -> Result<OpenEvent, Problem> {
        let mut opened = Told::new(act, Who::default());
        note(|told| {
            opened = Told { act, ..told.clone() };
            told.is_told = true;
        });
        self.open_as(opened).await
    }

    /// Opens an event that no request asks for; durable when it returns.
    ///
    /// # Errors
    /// As [`Audit::open`].
    pub(crate) async fn open_as(&self, opened: Told) -> Result<OpenEvent, Problem> {
        let entry = self.inner.trail.open(opened.event(&self.inner.base_url)).await;
        Ok(OpenEvent {
            entry: entry.map_err(unaudited)?,
            told: opened,
            audit: self.clone(),
        })
    }

    /// Tells something at once; durable when it returns.
    ///
    /// # Errors
    /// 507 or 503 when it cannot be written.
    pub(crate) async fn record(&self, told: &Told) -> Result<(), Problem> {
        let written = self.inner.trail.record(told.event(&self.inner.base_url)).await;
        written.map(|_| ()).map_err(unaudited)
    }

    /// Answers a request of a route and tells what its row in the table asks for.
    pub(crate) async fn around(
        &self,
        (audited, pattern): (Audited, &'static str),
        peer: Option<Peer>,
        answering: impl Future<Output = Answer>,
    ) -> Answer {
        let act = match audited {
            Audited::Not(_) | Audited::Token => Act::Refused,
            Audited::After(act) | Audited::Around(act) | Audited::Delivered(act) => act,
        };
        if !matches!(audited, Audited::Not(_)) {
            // Nothing is done that could not be told.
            self.inner.trail.ready().await.map_err(unaudited)?;
        }
        let who = Who {
            address: peer.map(|peer| peer.0),
            ..Who::default()
        };
        let guard = Guard {
            audit: self.clone(),
            is_told: matches!(audited, Audited::After(_)),
            told: Arc::new(Mutex::new(Told::new(act, who))),
        };
        let answered = TOLD.scope(Arc::clone(&guard.told), answering).await;
        let told = guard.end();
        self.tell((audited, pattern), told, answered).await
    }

    /// Tells what came of a request, and gives its answer, unless it could not be told.
    async fn tell(
        &self,
        (audited, pattern): (Audited, &'static str),
        mut told: Told,
        answered: Answer,
    ) -> Answer {
        told.status = match &answered {
            Ok(response) => response.status(),
            Err(problem) => problem.status(),
        };
        let is_refused = told.status.is_client_error() || told.status.is_server_error();
        let is_turned_away = TURNED_AWAY.contains(&told.status);
        match audited {
            Audited::Token => {
                let act = if is_refused {
                    Act::TokenRefused
                } else {
                    Act::TokenIssued
                };
                told.act = act;
                match is_refused {
                    true => self.refuse(pattern, told),
                    false => self.record(&told).await?,
                }
            }
            _ if is_turned_away || is_refused && !told.is_admitted => {
                let is_known = told.is_admitted || is_turned_away;
                if is_known && !told.is_told {
                    told.act = Act::Refused;
                    self.refuse(pattern, told);
                }
            }
            Audited::After(act) if act.is_write() => self.record(&told).await?,
            Audited::After(_) => {
                let written = self
                    .inner
                    .trail
                    .record_soon(told.event(&self.inner.base_url))
                    .await;
                written.map_err(unaudited)?;
            }
            Audited::Around(_) if is_refused && !told.is_told => {
                told.act = Act::Refused;
                self.refuse(pattern, told);
            }
            Audited::Delivered(_) => self.tell_delivered(&told).await?,
            Audited::Around(_) | Audited::Not(_) => {}
        }
        answered
    }

    async fn tell_delivered(&self, told: &Told) -> Result<(), Problem> {
        let Some(job) = told.delivered else {
            return Ok(());
        };
        let is_new = {
            let mut delivered = self
                .inner
                .delivered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if delivered.len() >= DELIVERED_MAX {
                delivered.clear();
            }
            delivered.insert(job)
        };
        if !is_new {
            return Ok(());
        }
        let recorded = self.record(told).await;
        if recorded.is_err() {
            // It was not delivered: the next one is the first.
            self.inner
                .delivered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&job);
        }
        recorded
    }

    /// Makes all durable that was told so far.
    ///
    /// # Errors
    /// 507 or 503 when it cannot be written.
    pub(super) async fn sync(&self) -> Result<(), Problem> {
        self.inner.trail.sync().await.map_err(unaudited)
    }

    fn refuse(&self, pattern: &'static str, told: Told) {
        let told = told.with("route", pattern);
        let now = self.inner.clock.now();
        if let Some(told) = self.inner.refusals.take(now, pattern, told) {
            self.inner.trail.tell(told.event(&self.inner.base_url));
        }
    }

    /// Copies the trail into the store and tells from time to time what was counted, until `stop`.
    pub(crate) async fn keep(&self, stop: StopSignal) {
        let copier = self
            .inner
            .copier
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let copying = async {
            if let Some(copier) = copier {
                copier.run(stop.clone()).await;
            }
        };
        tokio::join!(copying, self.count(&stop));
    }

    /// Tells from time to time what was counted, until `stop`, and then the rest.
    async fn count(&self, stop: &StopSignal) {
        loop {
            let next = self.inner.clock.now().plus(LOOK);
            tokio::select! {
                _ = stop.stopped() => break,
                () = self.inner.clock.sleep_until(next) => {}
            }
            self.tell_all(self.inner.refusals.due(self.inner.clock.now()));
        }
        self.tell_all(self.inner.refusals.all());
    }

    fn tell_all(&self, all: Vec<Told>) {
        for told in all {
            self.inner.trail.tell(told.event(&self.inner.base_url));
        }
    }
}

/// Tells of a request that is dropped before it is answered, as when its client goes away: it may have been done.
struct Guard {
    audit: Audit,
    is_told: bool,
    told: Arc<Mutex<Told>>,
}

impl Guard {
    /// Takes what is to be told: the request was answered.
    fn end(mut self) -> Told {
        self.is_told = false;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_told {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if told.is_admitted {
            told.status = StatusCode::INTERNAL_SERVER_ERROR;
            told.text = Some("interrupted: the client went away before the answer".to_owned());
            self.audit
                .inner
                .trail
                .tell(told.event(&self.audit.inner.base_url));
        }
    }
}

/// An event that is open: it is closed as failed when it is dropped.
pub(crate) struct OpenEvent {
    entry: Entry,
    /// What is told when it is closed.
    pub(crate) told: Told,
    audit: Audit,
}

impl OpenEvent {
    /// Closes it; waits for nothing.
    pub(crate) fn close(mut self, status: StatusCode) {
        self.told.status = status;
        let event = self.told.event(&self.audit.inner.base_url);
        self.entry.close(event);
    }
}

/// Makes the answer to a request that may not be done, because it cannot be told.
fn unaudited(kind: io::ErrorKind) -> Problem {
    let text = "the audit trail cannot be written, and nothing is done without it; try again later";
    let full = matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    match full {
        true => Problem::new(StatusCode::INSUFFICIENT_STORAGE, IssueCode::NoStore, text),
        false => Problem::transient(text),
    }
    .with_header(RETRY_AFTER, "30")
}
