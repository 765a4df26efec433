//! `$import` of a server: [`ImportOrder`], kicked off and waited for.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_LOCATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::http::{header, name};
use crate::provider::{DataProvider, read_all, refusal, send};
use crate::{Error, ErrorKind, Result, retry_after};

/// The first pause between two looks; each is twice the one before, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

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
        let mut url = self.base().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("$import");
        }
        let place = name(&url);
        let request = self.signed_request(Method::POST, &url).await?;
        let request = request
            .header(ACCEPT, "application/fhir+json")
            .header(CONTENT_TYPE, "application/fhir+json")
            .header("Prefer", "respond-async")
            .body(order.body().to_string());
        let response = send(request, &place).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(refusal(response, &place).await);
        }
        let location = header(response.headers(), CONTENT_LOCATION.as_str());
        let status_url = location.and_then(|location| url.join(&location).ok());
        status_url.ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("{place} accepts and does not say where to poll"),
            )
        })
    }

    /// Waits for an import and gives its report.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the server does not know it (any more) or it has failed; what persists of other failures.
    pub async fn import_report(&self, status_url: &Url) -> Result<Value> {
        let place = name(status_url);
        let (mut pause, mut failures) = (PAUSE_MIN, 0);
        loop {
            let wait = match self.look_at_import(status_url, &place).await {
                Ok(Look::Done(report)) => return Ok(report),
                Ok(Look::Running(wait)) => {
                    failures = 0;
                    wait
                }
                Err(error) => {
                    failures += 1;
                    let passes = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable);
                    if !passes || failures >= FAILURES_MAX {
                        return Err(error);
                    }
                    None
                }
            };
            self.clock().sleep(wait.unwrap_or(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn look_at_import(&self, status_url: &Url, place: &str) -> Result<Look> {
        let request = self.signed_request(Method::GET, status_url).await?;
        let response = send(request.header(ACCEPT, "application/json"), place).await?;
        match response.status() {
            StatusCode::ACCEPTED => {
                let asked = header(response.headers(), RETRY_AFTER.as_str());
                Ok(Look::Running(retry_after::parse(
                    asked.as_deref(),
                    self.clock().now(),
                    RETRY_AFTER_MAX,
                )))
            }
            StatusCode::OK => {
                let body = read_all(response, place).await?;
                let report = serde_json::from_slice(&body).map_err(|source| {
                    Error::new(ErrorKind::Protocol, format!("reading the report of {place}"))
                        .caused_by(source)
                })?;
                Ok(Look::Done(report))
            }
            _ => Err(refusal(response, place).await),
        }
    }
}

enum Look {
    Running(Option<Duration>),
    Done(Value),
}
