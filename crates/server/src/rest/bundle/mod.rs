//! Bundles of requests: [`batch`] does each entry for itself, [`transaction`] all or none (FHIR R4, http).

mod batch;
mod permission;
mod request;
mod transaction;

use fhirhose_fhir::bundle_request::BundleRequest;
use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter, EntryResponse};
use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};
use fhirhose_fhir::prefer::Return;
use hyper::StatusCode;

use self::request::Read;
use super::write::Done;
use crate::access::Rights;
use crate::app::App;
use crate::problem::Problem;
use crate::resource::{tag, version_url};
use crate::rest::visit::Budget;

/// Does what a Bundle asks for and gives the Bundle of answers.
///
/// # Errors
/// 400 for a Bundle that cannot be read; for a transaction whatever is wrong with one of its entries: then nothing was done.
pub(crate) async fn process(
    app: &App,
    rights: &Rights,
    body: &[u8],
    returns: Return,
) -> Result<Vec<u8>, Problem> {
    let bundle = BundleRequest::parse(body, app.settings.rest.bundle_entries_max)?;
    if bundle.is_transaction {
        let answers = transaction::process(app, rights, &bundle.entries).await?;
        return Ok(write(app, "transaction-response", &answers, returns));
    }
    let answers = batch::process(app, rights, &bundle.entries).await;
    Ok(write(app, "batch-response", &answers, returns))
}

/// What an entry is answered.
enum Answered {
    /// A write, or the read of a resource.
    Done(Done),
    /// A read, which is sent whatever the client prefers of writes.
    Read(Done),
    /// A Bundle: a search or a history.
    Bundle(Vec<u8>),
    /// The client has the version already.
    NotModified,
}

/// What the reads of a Bundle may still cost: a small Bundle can ask for a lot.
struct ReadsLeft {
    /// Text of answers, in bytes.
    bytes: usize,
    /// What its searches and conditions may look at.
    budget: Budget,
}

impl ReadsLeft {
    fn of(app: &App) -> Self {
        let rest = &app.settings.rest;
        Self {
            bytes: rest.bundle_reads_bytes_max,
            budget: Budget::of_bundle(rest),
        }
    }

    /// Reads, unless there was so much already.
    async fn answer(&mut self, app: &App, rights: &Rights, read: &Read<'_>) -> Result<Answered, Problem> {
        if self.bytes == 0 {
            let most = app.settings.rest.bundle_reads_bytes_max;
            let text = format!(
                "the reads of one Bundle are answered with {most} bytes at most; ask again for this one"
            );
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                IssueCode::TooCostly,
                text,
            ));
        }
        let answered = read.answer(app, rights, &self.budget).await?;
        let bytes = match &answered {
            Answered::Bundle(text) => text.len(),
            Answered::Done(done) | Answered::Read(done) => done.text.as_ref().map_or(0, Vec::len),
            Answered::NotModified => 0,
        };
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(answered)
    }

    /// Answers with a resource that was there already, without its text if there was so much already: many entries can find
    /// the same one.
    fn kept(&mut self, mut done: Done) -> Answered {
        done.text = done.text.filter(|text| self.bytes > 0 && !text.is_empty());
        self.bytes = self.bytes.saturating_sub(done.text.as_ref().map_or(0, Vec::len));
        Answered::Done(done)
    }
}

fn write(app: &App, bundle_type: &str, answers: &[Result<Answered, Problem>], returns: Return) -> Vec<u8> {
    let mut bundle = BundleWriter::new(bundle_type, None, &[]);
    for answer in answers {
        match answer {
            Ok(Answered::Done(done)) => write_done(app, done, returns, &mut bundle),
            Ok(Answered::Read(done)) => write_done(app, done, Return::Representation, &mut bundle),
            Ok(Answered::Bundle(text)) => write_plain(StatusCode::OK, Some(text), None, &mut bundle),
            Ok(Answered::NotModified) => write_plain(StatusCode::NOT_MODIFIED, None, None, &mut bundle),
            Err(problem) => {
                let outcome = problem.outcome().to_json();
                write_plain(problem.status(), None, Some(outcome.as_bytes()), &mut bundle);
            }
        }
    }
    bundle.finish()
}

fn write_plain(
    status: StatusCode,
    resource: Option<&[u8]>,
    outcome: Option<&[u8]>,
    bundle: &mut BundleWriter,
) {
    bundle.entry(&BundleEntry {
        resource,
        response: Some(EntryResponse {
            status: &status_text(status),
            outcome,
            ..EntryResponse::default()
        }),
        ..BundleEntry::default()
    });
}

fn write_done(app: &App, done: &Done, returns: Return, bundle: &mut BundleWriter) {
    let name = (done.resource_type, done.id.as_str());
    let is_there = done.status != StatusCode::NO_CONTENT;
    let has_version = done.version.filter(|_| is_there);
    let location = has_version.map(|version| version_url(app, name, version.sequence));
    let etag = done.version.map(|version| tag(version.sequence));
    let last_modified = done.version.map(|version| version.instant.to_string());
    let url = app.url(&format!("{}/{}", done.resource_type, done.id));
    let outcome = OperationOutcome::information("done as asked").to_json();
    let resource = done.text.as_deref().filter(|_| returns == Return::Representation);
    bundle.entry(&BundleEntry {
        full_url: is_there.then_some(url.as_str()),
        resource,
        response: Some(EntryResponse {
            status: &status_text(done.status),
            location: location.as_deref(),
            etag: etag.as_deref(),
            last_modified: last_modified.as_deref(),
            outcome: (returns == Return::OperationOutcome).then_some(outcome.as_bytes()),
        }),
        ..BundleEntry::default()
    });
}

fn status_text(status: StatusCode) -> String {
    status.to_string()
}
