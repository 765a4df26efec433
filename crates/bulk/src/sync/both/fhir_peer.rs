//! A FHIR server as a side: changes by Bulk Data exports, writes by batches: [`FhirPeer`].

use std::path::Path;

use async_trait::async_trait;
use fhirhose_client::pull::{FileKind, Pull, PullSettings, Quiet};
use fhirhose_client::{BatchAnswer, BatchEntry, BatchSettings, Batches, DataProvider, ExportParameters};
use fhirhose_fhir::content_hash::{Ignoring, content_hash};

use super::merge::Over;
use super::peer::{Changes, Peer, Write, Written};
use crate::{Error, ErrorKind, Result};

/// A FHIR server with Bulk Data exports that takes resources under the ids that they have.
#[derive(Debug)]
pub struct FhirPeer {
    parameters: ExportParameters,
    pull: PullSettings,
    batches: Batches,
}

impl FhirPeer {
    /// A server, what of it is kept in step, and how it is pulled.
    pub fn new(provider: DataProvider, parameters: ExportParameters, pull: PullSettings) -> Self {
        // Who writes has cut what it writes by entries already; here bytes alone count.
        let batches = BatchSettings {
            entries_max: usize::MAX,
            ..BatchSettings::default()
        };
        Self {
            parameters,
            pull,
            batches: Batches::new(provider, batches),
        }
    }

    async fn send(&self, entries: &[BatchEntry], what: &str) -> Result<Vec<BatchAnswer>> {
        let sent = self.batches.send(entries).await;
        sent.map_err(|source| Error::of_client(format!("{what} {}", self.batches.provider().base()), source))
    }

    /// Turns conditions on a content into the version that has it now. What has another is not written at all.
    async fn conditions(&self, writes: &[Write]) -> Result<Vec<Option<Condition>>> {
        let unknown: Vec<(usize, &Write)> = writes
            .iter()
            .enumerate()
            .filter(|(_, write)| matches!(write.over, Over::Content(_)))
            .collect();
        let mut conditions: Vec<Option<Condition>> = writes.iter().map(condition).collect();
        let reads: Vec<BatchEntry> = unknown
            .iter()
            .map(|(_, write)| BatchEntry::read(&*write.name))
            .collect();
        let answers = match reads.is_empty() {
            true => Vec::new(),
            false => self.send(&reads, "reading from").await?,
        };
        for ((at, write), answer) in unknown.into_iter().zip(answers) {
            let Over::Content(content) = write.over else {
                continue;
            };
            let text = answer.resource.as_deref().filter(|_| answer.is_done());
            let now = text.and_then(|text| content_hash(text, Ignoring::SERVER_META).ok());
            if now == Some(content) {
                conditions[at] = Some(answer.etag.map_or(Condition::None, Condition::Match));
            }
        }
        Ok(conditions)
    }
}

enum Condition {
    Match(String),
    Absent,
    None,
}

fn condition(write: &Write) -> Option<Condition> {
    match &write.over {
        Over::Nothing => Some(Condition::Absent),
        Over::Version(version) => Some(Condition::Match(format!("W/\"{version}\""))),
        Over::Content(_) => None,
    }
}

/// The resources that were read; `None` for those that are not there.
///
/// # Errors
/// [`ErrorKind::Unreachable`] for any other answer: it does not say whether there is one.
pub(crate) fn texts_of(answers: Vec<BatchAnswer>, from: &DataProvider) -> Result<Vec<Option<Vec<u8>>>> {
    let texts = answers.into_iter().map(|answer| match answer.status {
        404 | 410 => Ok(None),
        _ if answer.is_done() && answer.resource.is_some() => Ok(answer.resource),
        status => {
            let base = from.base();
            let text = format!("reading from {base}: a resource is answered with {status}");
            Err(Error::new(ErrorKind::Unreachable, text))
        }
    });
    texts.collect()
}

/// The number in `W/"7"`, as `meta.versionId` has it.
fn version_of(etag: &str) -> Option<String> {
    let quoted = etag.strip_prefix("W/").unwrap_or(etag);
    let version = quoted.strip_prefix('"')?.strip_suffix('"')?;
    (!version.is_empty()).then(|| version.to_owned())
}

fn written(write: &Write, answer: &BatchAnswer) -> Written {
    match answer.status {
        status if (200..300).contains(&status) => Written::Done {
            version: answer.etag.as_deref().and_then(version_of),
        },
        404 | 410 if write.text.is_none() => Written::Done { version: None },
        409 | 412 => Written::Behind,
        status => Written::Refused { status },
    }
}

#[async_trait]
impl Peer for FhirPeer {
    fn name(&self) -> String {
        self.batches.provider().base().to_string()
    }

    async fn changes(&self, since: Option<&str>, folder: &Path) -> Result<Changes> {
        let provider = self.batches.provider();
        let mut parameters = self.parameters.clone();
        // Of a server without `_since` everything is pulled; what is known already counts as an echo.
        let since = since.filter(|_| !provider.quirks().no_since);
        parameters.since = since.map(str::to_owned);
        let pull = Pull {
            provider: provider.clone(),
            parameters,
            folder: folder.to_owned(),
            settings: self.pull.clone(),
        };
        let base = provider.base();
        let report = Box::pin(pull.run(&Quiet)).await;
        let report = report.map_err(|source| Error::of_client(format!("pulling from {base}"), source))?;
        if !report.is_whole() {
            let text = format!(
                "pulling from {base}: {} files could not be had",
                report.missing.len()
            );
            return Err(Error::new(ErrorKind::Unreachable, text));
        }
        let of = |kind: FileKind| {
            let files = report.files.iter().filter(|file| file.kind == kind);
            files.map(|file| folder.join(&file.name)).collect()
        };
        Ok(Changes {
            cursor: report.transaction_time.clone(),
            output: of(FileKind::Output),
            deleted: of(FileKind::Deleted),
            errors: report.errors(),
        })
    }

    async fn read(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let entries: Vec<BatchEntry> = names.iter().map(BatchEntry::read).collect();
        let answers = self.send(&entries, "reading from").await?;
        texts_of(answers, self.batches.provider())
    }

    async fn write(&self, writes: &[Write]) -> Result<Vec<Written>> {
        let conditions = self.conditions(writes).await?;
        let mut entries = Vec::new();
        for (write, condition) in writes.iter().zip(&conditions) {
            let entry = match &write.text {
                Some(text) => BatchEntry::put(&*write.name, text.clone()),
                None => BatchEntry::delete(&*write.name),
            };
            entries.extend(match condition {
                Some(Condition::Match(etag)) => Some(entry.if_match(&**etag)),
                Some(Condition::Absent) => Some(entry.if_absent()),
                Some(Condition::None) => Some(entry),
                None => None,
            });
        }
        let mut answers = self.send(&entries, "writing to").await?.into_iter();
        let outcome = |(write, condition): (&Write, &Option<Condition>)| match condition {
            None => Written::Behind,
            Some(_) => answers
                .next()
                .map_or(Written::Behind, |answer| written(write, &answer)),
        };
        Ok(writes.iter().zip(&conditions).map(outcome).collect())
    }
}
