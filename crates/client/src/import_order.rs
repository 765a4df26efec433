//! `$import` of a server: [`ImportOrder`], kicked off and waited for.

use std::time::Duration;

use reqwest::header::{CONTENT_LOCATION, CONTENT_TYPE, HeaderName};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::http::{below, name};
use crate::provider::{Backoff, DataProvider, Question, absolute};
use crate::{Error, ErrorKind, Result};

/// The first pause between two looks; each is twice the one before, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Looks that may fail in a row.
const FAILURES_MAX: u32 = 10;

/// Files that a server is to import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportOrder {
    /// `inputSource`.
    pub source: Option<String>,
    /// Type, where all lines have one, and URL of each file. A later line wins over an earlier one.
    pub inputs: Vec<(Option<String>, String)>,
}

impl ImportOrder {
    /// The Parameters resource, in the form that the servers in the field share.
    fn body(&self) -> Value {
        let mut parameters = vec![json!({ "name": "inputFormat", "valueCode": "application/fhir+ndjson" })];
        if let Some(source) = &self.source {
            parameters.push(json!({ "name": "inputSource", "valueUri": source }));
        }
        for (resource_type, url) in &self.inputs {
            let mut parts = Vec::new();
            if let Some(resource_type) = resource_type {
                parts.push(json!({ "name": "type", "valueCode": resource_type }));
            }
            parts.push(json!({ "name": "url", "valueUri": url }));
            parameters.push(json!({ "name": "input", "part": parts }));
        }
        json!({ "resourceType": "Parameters", "parameter": parameters })
    }
}

impl DataProvider {
    /// Kicks an import off; gives where it is polled.
    ///
    /// # Errors
    /// As [`kick_off`](Self::kick_off).
    pub async fn kick_off_import(&self, order: &ImportOrder) -> Result<Url> {
        let url = below(self.base(), ["$import"]);
        let place = name(&url);
        let question = Question::new(Method::POST, &url, &place, "application/fhir+json")
            .with(HeaderName::from_static("prefer"), "respond-async")
            .with(CONTENT_TYPE, "application/fhir+json")
            .with_body(order.body().to_string());
        let reply = self.ask(question).await?;
        if reply.status != StatusCode::ACCEPTED {
            return Err(self.refusal(&reply, &place));
        }
        let location = reply.header(CONTENT_LOCATION.as_str());
        let status_url = location.and_then(|location| absolute(&reply.url, location.trim()).ok());
        status_url.ok_or_else(|| {
            let problem = format!("{place} accepts and does not say where to poll");
            reply.error(ErrorKind::Protocol, &problem)
        })
    }

    /// Waits for an import and gives its report.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the server does not know it (any more) or it has failed; what persists of other failures.
    pub async fn import_report(&self, status_url: &Url) -> Result<Value> {
        let place = name(status_url);
        let mut backoff = Backoff::between(PAUSE_MIN, PAUSE_MAX, status_url.as_str());
        let mut failures = 0;
        loop {
            let asked = match self.look_at_import(status_url, &place).await {
                Ok(Look::Done(report)) => return Ok(report),
                Ok(Look::Running(retry_after)) => {
                    failures = 0;
                    retry_after
                }
                Err(error) => {
                    failures += 1;
                    let passes = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable);
                    if !passes || failures >= FAILURES_MAX {
                        return Err(error);
                    }
                    error.retry_after()
                }
            };
            self.clock().sleep(backoff.wait(asked)).await;
        }
    }

    async fn look_at_import(&self, status_url: &Url, place: &str) -> Result<Look> {
        let question = Question::new(Method::GET, status_url, place, "application/json");
        let reply = self.ask(question).await?;
        match reply.status {
            StatusCode::ACCEPTED => {
                let wait_max = self.retry_after_max();
                Ok(Look::Running(reply.retry_after(self.clock().now(), wait_max)))
            }
            StatusCode::OK => {
                let report = serde_json::from_slice(&reply.body).map_err(|source| {
                    Error::new(ErrorKind::Protocol, format!("reading the report of {place}"))
                        .caused_by(source)
                })?;
                Ok(Look::Done(report))
            }
            _ => Err(self.refusal(&reply, place)),
        }
    }
}

enum Look {
    Running(Option<Duration>),
    Done(Value),
}
