//! Writes many resources to any FHIR server: [`Batches`] sends entries in batch Bundles and says what became of each.
//!
//! Resources go as the bytes they are. Entries are cut into Bundles by number and bytes; what fails in passing is sent again, and a
//! server that takes no Bundles gets single requests. Entries are independent of each other, as those of a batch are: callers that
//! need an order send one slice after the other. A write whose answer was lost is sent again: for one with a condition the second
//! answer can be a 412 that speaks of the first. Creations without a condition are never sent twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fhirhose_fhir::outcome::OperationOutcome;
use reqwest::header::{
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::Reply;
use crate::http::{below, header, name};
use crate::provider::{DataProvider, Question};
use crate::{Error, ErrorKind, Result};

const FHIR_JSON: &str = "application/fhir+json";

/// The longest pause between two tries, where the server does not ask for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchMethod {
    /// Reads.
    Get,
    /// Creates or replaces under an id.
    Put,
    /// Creates under an id that the server gives.
    Post,
    /// Deletes.
    Delete,
}

/// One request of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEntry {
    /// What it does.
    pub method: BatchMethod,
    /// To what, relative to the base: `Patient/p1`, or `Patient` for a POST.
    pub url: String,
    /// The resource's text, one JSON object; none for GET and DELETE.
    pub resource: Option<Vec<u8>>,
    /// The version that it must have, as an ETag: `W/"3"`.
    pub if_match: Option<String>,
    /// `*`: it must not be there.
    pub if_none_match: Option<String>,
}

impl BatchEntry {
    /// Creates or replaces `Type/id`.
    pub fn put(url: impl Into<String>, resource: Vec<u8>) -> Self {
        Self {
            resource: Some(resource),
            ..Self::plain(BatchMethod::Put, url)
        }
    }

    /// Deletes `Type/id`.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::plain(BatchMethod::Delete, url)
    }

    /// Reads `Type/id`.
    pub fn read(url: impl Into<String>) -> Self {
        Self::plain(BatchMethod::Get, url)
    }

    /// Demands that the newest version is this one.
    #[must_use]
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Demands that there is nothing yet.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.if_none_match = Some("*".to_owned());
        self
    }

    fn plain(method: BatchMethod, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            resource: None,
            if_match: None,
            if_none_match: None,
        }
    }

    fn bytes(&self) -> usize {
        self.resource.as_ref().map_or(0, Vec::len) + self.url.len() + 100
    }

    /// Whether it comes to the same when it is done twice.
    fn is_repeatable(&self) -> bool {
        self.method != BatchMethod::Post
    }
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The version's ETag.
    pub etag: Option<String>,
    /// When the version was written, as the server says it.
    pub last_modified: Option<String>,
    /// Where what was created lies.
    pub location: Option<String>,
    /// The codes of the outcome's issues, joined by commas; nothing of a resource.
    pub issue_codes: Option<String>,
    /// What the outcome says in words. It can quote the resource: not for logs.
    pub words: Option<String>,
    /// The resource, of a GET.
    pub resource: Option<Vec<u8>>,
}

impl BatchAnswer {
    /// Whether the entry was done.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same again may work.
    fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

/// How much goes at a time, and how often it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSettings {
    /// Entries of one Bundle. Default: 100.
    pub entries_max: usize,
    /// Text of one Bundle, in bytes; a single longer resource goes alone. Default: 4 MiB.
    pub bytes_max: usize,
    /// How often a Bundle or an entry is tried while its failure may pass. Default: 6.
    pub attempts_max: u32,
    /// The first pause between tries, in milliseconds; each is twice the one before, 60 s at most, and no shorter than what
    /// `Retry-After` asks for. Default: 1,000.
    pub pause_ms: u64,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            entries_max: 100,
            bytes_max: 4 << 20,
            attempts_max: 6,
            pause_ms: 1_000,
        }
    }
}

/// Sends entries to one server, and remembers whether it takes Bundles.
#[derive(Debug)]
pub struct Batches {
    provider: DataProvider,
    settings: BatchSettings,
    /// Set once the server has refused a Bundle as such; from then on requests go one by one.
    singly: AtomicBool,
}

impl Batches {
    /// Prepares for a server.
    pub fn new(provider: DataProvider, settings: BatchSettings) -> Self {
        Self {
            provider,
            settings,
            singly: AtomicBool::new(false),
        }
    }

    /// The server.
    pub fn provider(&self) -> &DataProvider {
        &self.provider
    }

    /// Sends entries and says what became of each, in their order. An entry that the server refuses is an answer, not an error.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] and [`ErrorKind::Busy`] when it stays so through all tries; [`ErrorKind::Refused`] when the server
    /// takes nothing from this client; [`ErrorKind::Protocol`]. What was sent before may have been done.
    pub async fn send(&self, entries: &[BatchEntry]) -> Result<Vec<BatchAnswer>> {
        let mut answers = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting(rest));
            answers.extend(self.send_fitting(now).await?);
            rest = later;
        }
        Ok(answers)
    }

    /// How many of the first entries fit into one Bundle; at least one.
    fn fitting(&self, entries: &[BatchEntry]) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&BatchEntry| {
            bytes += entry.bytes();
            bytes <= self.settings.bytes_max
        };
        let count = entries
            .iter()
            .take(self.settings.entries_max)
            .take_while(fits)
            .count();
        count.max(1)
    }

    /// Sends what fits into one Bundle, until each entry has an answer that will not change by itself.
    async fn send_fitting(&self, entries: &[BatchEntry]) -> Result<Vec<BatchAnswer>> {
        let mut answers: Vec<BatchAnswer> = Vec::new();
        answers.resize_with(entries.len(), BatchAnswer::default);
        let mut open: Vec<usize> = (0..entries.len()).collect();
        for attempt in 1.. {
            let sent: Vec<&BatchEntry> = open.iter().map(|&at| &entries[at]).collect();
            let last = attempt >= self.settings.attempts_max;
            let asked = match self.send_once(&sent).await {
                Ok(got) => {
                    for (&at, answer) in open.iter().zip(got.answers) {
                        answers[at] = answer;
                    }
                    open.retain(|&at| answers[at].is_passing() && entries[at].is_repeatable());
                    if last || open.is_empty() {
                        break;
                    }
                    got.retry_after
                }
                Err(error) if last || !passes(&error) => return Err(error),
                Err(error) if !sent.iter().all(|entry| entry.is_repeatable()) => return Err(error),
                Err(error) => {
                    // What the server says can quote a resource.
                    tracing::info!(attempt, kind = ?error.kind(), "a batch is sent again");
                    error.retry_after()
                }
            };
            self.pause(attempt, asked).await;
        }
        Ok(answers)
    }

    async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        let factor = 1_u64 << attempt.saturating_sub(1).min(16);
        let pause = Duration::from_millis(self.settings.pause_ms.saturating_mul(factor)).min(PAUSE_MAX);
        let pause = asked.map_or(pause, |asked| asked.max(pause));
        self.provider.clock().sleep(pause).await;
    }

    async fn send_once(&self, entries: &[&BatchEntry]) -> Result<Got> {
        if self.singly.load(Ordering::Relaxed) {
            return self.send_singly(entries).await;
        }
        let url = self.provider.base().clone();
        let body = bundle(entries);
        let place = name(&url);
        let question = Question::new(Method::POST, &url, &place, FHIR_JSON)
            .with(CONTENT_TYPE, FHIR_JSON)
            .with_body(body);
        let reply = self.provider.ask(question).await?;
        match reply.status {
            StatusCode::OK => Ok(Got {
                answers: read_bundle(&reply.body, entries.len(), &place)?,
                retry_after: self.asked_to_wait(&reply),
            }),
            StatusCode::PAYLOAD_TOO_LARGE if entries.len() > 1 => {
                let (first, second) = entries.split_at(entries.len() / 2);
                let mut got = Box::pin(self.send_once(first)).await?;
                got.add(Box::pin(self.send_once(second)).await?);
                Ok(got)
            }
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::PAYLOAD_TOO_LARGE => {
                if reply.status != StatusCode::PAYLOAD_TOO_LARGE {
                    tracing::info!(status = %reply.status, "the server takes no batches: single requests go");
                    self.singly.store(true, Ordering::Relaxed);
                }
                self.send_singly(entries).await
            }
            // Whatever a server in trouble says with it: nothing of the batch was done for good, and a later one may be.
            _ if reply.status.is_server_error() => {
                Err(self.provider.refusal(&reply, &place).taken_as(ErrorKind::Busy))
            }
            _ => Err(self.provider.refusal(&reply, &place)),
        }
    }

    fn asked_to_wait(&self, reply: &Reply) -> Option<Duration> {
        reply.retry_after(self.provider.clock().now(), self.provider.retry_after_max())
    }

    async fn send_singly(&self, entries: &[&BatchEntry]) -> Result<Got> {
        let mut got = Got::default();
        for entry in entries {
            got.add(self.send_single(entry).await?);
        }
        Ok(got)
    }

    async fn send_single(&self, entry: &BatchEntry) -> Result<Got> {
        let url = below(self.provider.base(), entry.url.split('/'));
        // The path names a resource, perhaps a patient: messages name the server only.
        let place = name(self.provider.base());
        let mut question = Question::new(entry.method.http(), &url, &place, FHIR_JSON);
        if let Some(resource) = &entry.resource {
            question = question.with(CONTENT_TYPE, FHIR_JSON).with_body(resource.clone());
        }
        for (header, value) in [(IF_MATCH, &entry.if_match), (IF_NONE_MATCH, &entry.if_none_match)] {
            if let Some(value) = value {
                // Without its condition the write would be another one.
                HeaderValue::from_str(value).map_err(|source| {
                    let problem = format!("a version of {place} that no header takes");
                    Error::new(ErrorKind::Protocol, problem).caused_by(source)
                })?;
                question = question.with(header, value);
            }
        }
        let reply = self.provider.ask(question).await?;
        let retry_after = self.asked_to_wait(&reply);
        let mut answer = answer_of(reply.status, &reply.headers);
        if !answer.is_done() {
            answer.hear(&reply.body);
        } else if entry.method == BatchMethod::Get {
            answer.resource = Some(reply.body);
        }
        Ok(Got {
            answers: vec![answer],
            retry_after,
        })
    }
}

/// What one sending has brought.
#[derive(Default)]
struct Got {
    answers: Vec<BatchAnswer>,
    /// When the server wants to be asked again.
    retry_after: Option<Duration>,
}

impl Got {
    fn add(&mut self, more: Self) {
        self.answers.extend(more.answers);
        self.retry_after = self.retry_after.max(more.retry_after);
    }
}

impl BatchMethod {
    fn http(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Put => Method::PUT,
            Self::Post => Method::POST,
            Self::Delete => Method::DELETE,
        }
    }
}

impl BatchAnswer {
    /// Takes what an OperationOutcome says.
    fn hear(&mut self, body: &[u8]) {
        let Ok(outcome) = OperationOutcome::parse(body) else {
            return;
        };
        let codes: Vec<String> = (outcome.issues.iter())
            .filter_map(|issue| Some(serde_json::to_value(issue.code).ok()?.as_str()?.to_owned()))
            .collect();
        let words: Vec<&str> = outcome
            .issues
            .iter()
            .map(|issue| issue.details.as_str())
            .collect();
        self.issue_codes = Some(codes.join(","));
        self.words = Some(words.join("; "));
    }
}

fn answer_of(status: StatusCode, headers: &HeaderMap) -> BatchAnswer {
    BatchAnswer {
        status: status.as_u16(),
        etag: header(headers, ETAG.as_str()),
        last_modified: header(headers, LAST_MODIFIED.as_str()),
        location: header(headers, LOCATION.as_str()),
        ..BatchAnswer::default()
    }
}

/// Whether a failure may pass by itself.
fn passes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Busy)
}

/// Writes the Bundle; the texts of resources are spliced in as they are.
fn bundle(entries: &[&BatchEntry]) -> Vec<u8> {
    let bytes = entries.iter().map(|entry| entry.bytes() + 60).sum::<usize>();
    let mut out = Vec::with_capacity(bytes + 60);
    out.extend_from_slice(br#"{"resourceType":"Bundle","type":"batch","entry":["#);
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.push(b'{');
        if let Some(resource) = &entry.resource {
            out.extend_from_slice(br#""resource":"#);
            out.extend_from_slice(resource.trim_ascii());
            out.push(b',');
        }
        let mut request = serde_json::json!({ "method": entry.method.http().as_str(), "url": entry.url });
        if let Some(etag) = &entry.if_match {
            request["ifMatch"] = etag.as_str().into();
        }
        if let Some(etag) = &entry.if_none_match {
            request["ifNoneMatch"] = etag.as_str().into();
        }
        out.extend_from_slice(br#""request":"#);
        out.extend_from_slice(request.to_string().as_bytes());
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

#[derive(Deserialize)]
struct BundleBody<'a> {
    #[serde(borrow, default)]
    entry: Vec<EntryBody<'a>>,
}

#[derive(Deserialize)]
struct EntryBody<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<ResponseBody<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseBody<'a> {
    status: String,
    etag: Option<String>,
    last_modified: Option<String>,
    location: Option<String>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
}

/// Reads the answer to a batch, which has an entry for each of the request, in their order.
fn read_bundle(body: &[u8], entries: usize, place: &str) -> Result<Vec<BatchAnswer>> {
    let wrong = |what: &str| {
        Error::new(
            ErrorKind::Protocol,
            format!("the answer of {place} to a batch {what}"),
        )
    };
    let bundle: BundleBody<'_> =
        serde_json::from_slice(body).map_err(|source| wrong("cannot be read").caused_by(source))?;
    if bundle.entry.len() != entries {
        return Err(wrong("has another number of entries"));
    }
    let answers = bundle.entry.into_iter().map(|entry| {
        let response = entry
            .response
            .ok_or_else(|| wrong("has an entry without response"))?;
        let status = response.status.get(..3).and_then(|status| status.parse().ok());
        let mut answer = BatchAnswer {
            status: status.ok_or_else(|| wrong("has an entry without status"))?,
            etag: response.etag,
            last_modified: response.last_modified,
            location: response.location,
            ..BatchAnswer::default()
        };
        match (response.outcome, entry.resource) {
            (Some(outcome), _) if !answer.is_done() => answer.hear(outcome.get().as_bytes()),
            // Some servers put the outcome of a failed entry where a resource would be.
            (None, Some(resource)) if !answer.is_done() => answer.hear(resource.get().as_bytes()),
            (_, resource) => answer.resource = resource.map(|text| text.get().as_bytes().to_vec()),
        }
        Ok(answer)
    });
    answers.collect()
}
