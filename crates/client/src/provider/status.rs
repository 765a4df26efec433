//! One question about an export, and what the answer says: [`Status`] (CL-05 to CL-07).

use std::time::Duration;

use reqwest::{Method, StatusCode};
use url::Url;

use super::ask::Question;
use super::{DataProvider, ManifestPage};
use crate::answer::{Reply, clipped};
use crate::http::name;
use crate::{ErrorKind, Result};

/// What the status of an export says.
#[derive(Debug, Clone)]
pub enum Status {
    /// Still at work.
    Running {
        /// `X-Progress`, free text (CL-07).
        progress: Option<String>,
        /// When to ask again, if the server says so; no longer than its quirks let it.
        retry_after: Option<Duration>,
        /// A partial manifest: its files are there already (S-06).
        partial: Option<ManifestPage>,
    },
    /// Done.
    Complete(ManifestPage),
}

/// Whose status the HTTP code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeIs {
    /// The job's.
    Job,
    /// That of the question: the job's is in `X-Export-Status`, as was agreed (CL-06).
    Question,
}

impl DataProvider {
    /// Asks once how far an export is; also for the next page of a manifest. What `X-Export-Status` says counts wherever it stands.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for trouble that passes, [`ErrorKind::Refused`] for a job that failed or is not there, both with the server's own
    /// words; [`ErrorKind::Protocol`] for a manifest that cannot be read. Else as [`crate::Http::fetch`].
    pub async fn status(&self, url: &Url) -> Result<Status> {
        self.status_where(url, CodeIs::Job).await
    }

    pub(super) async fn status_where(&self, url: &Url, code_is: CodeIs) -> Result<Status> {
        let place = name(url);
        let question = Question::new(Method::GET, url, &place, "application/json");
        let reply = self.ask(question).await?;
        match told(&reply) {
            Some(status) => self.job_status(Reply { status, ..reply }, &place),
            None if code_is == CodeIs::Question && !reply.status.is_success() => {
                // Nothing is said of the job.
                let kind = match reply.status.as_u16() {
                    400..=407 | 410 => ErrorKind::Refused,
                    _ => ErrorKind::Busy,
                };
                let error = reply.error(kind, &format!("{place} answers {}", reply.status));
                let wait = reply.retry_after(self.clock.now(), self.retry_after_max());
                Err(error.not_before(wait))
            }
            None => self.job_status(reply, &place),
        }
    }

    fn job_status(&self, reply: Reply, place: &str) -> Result<Status> {
        match reply.status {
            StatusCode::ACCEPTED => Ok(Status::Running {
                progress: reply.header("x-progress").map(|text| clipped(&text)),
                retry_after: reply.retry_after(self.clock.now(), self.retry_after_max()),
                // A body that is no manifest is an OperationOutcome, or nothing.
                partial: page(&reply).ok().filter(|_| reply.outcome().is_none()),
            }),
            StatusCode::OK if !reply.is_html() => match reply.outcome() {
                None => page(&reply).map(Status::Complete),
                Some(_) => Err(self.refusal(&reply, place)),
            },
            // A page for people says nothing of the job, whatever its code: something stands between it and us.
            _ if reply.is_html() && reply.status != StatusCode::UNAUTHORIZED => {
                let problem = format!("{place} answers {} with a page of HTML", reply.status);
                let wait = reply.retry_after(self.clock.now(), self.retry_after_max());
                Err(reply.error(ErrorKind::Busy, &problem).not_before(wait))
            }
            _ => Err(self.refusal(&reply, place)),
        }
    }
}

fn page(reply: &Reply) -> Result<ManifestPage> {
    ManifestPage::read(&reply.body, &reply.url)
}

/// The status of the job apart from that of the question: `X-Export-Status: 202 Accepted`.
fn told(reply: &Reply) -> Option<StatusCode> {
    let told = reply
        .header("x-export-status")
        .filter(|_| reply.status == StatusCode::OK)?;
    let code = told.split_whitespace().next()?;
    StatusCode::from_bytes(code.as_bytes()).ok()
}
