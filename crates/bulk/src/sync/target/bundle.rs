//! Any FHIR server as a target, by batch Bundles: [`BundleTarget`].

use std::borrow::Cow;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fhirhose_client::{BatchAnswer, BatchEntry, BatchSettings, Batches, DataProvider};
use fhirhose_fhir::bundle::write_deleted_bundles;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::resource_type::ResourceType;

use super::super::deletions::deletions;
use super::super::lines::{Line, Lines};
use super::super::records::{flush_scratch, write_line};
use super::super::reports::Reports;
use super::{Applied, ChangeFile, Target};
use crate::durable;
use crate::{Error, ErrorKind, Result};

const LINE_BYTES_MAX: usize = 64 << 20;

/// Types in the order in which servers that check references want them; all others come after.
const FIRST: [&str; 6] = [
    "Organization",
    "Location",
    "Practitioner",
    "PractitionerRole",
    "Patient",
    "Encounter",
];

/// A FHIR server that takes PUT and DELETE, best in batch Bundles.
///
/// Ids are kept, so the server must let clients choose them. Servers that check references refuse what points at something that is not
/// there yet, and keep what is still pointed at: what was refused is tried again as long as that gets something through.
#[derive(Debug)]
pub struct BundleTarget {
    batches: Batches,
    /// Bundles that are under way at a time.
    parallel: usize,
    /// The most entries of one Bundle, and their text.
    settings: BatchSettings,
    /// Where what was refused waits for the next pass.
    scratch: PathBuf,
}

impl BundleTarget {
    /// Writes to a server; `scratch` is a folder of its own.
    pub fn new(provider: DataProvider, settings: BatchSettings, parallel: usize, scratch: PathBuf) -> Self {
        Self {
            batches: Batches::new(provider, settings.clone()),
            parallel: parallel.max(1),
            settings,
            scratch,
        }
    }

    /// Does everything in the files, in passes.
    async fn apply(
        &self,
        mut files: Vec<PathBuf>,
        reports: &Reports,
        tasks: fn(&[u8], &mut LineChecker) -> Result<Vec<BatchEntry>, String>,
    ) -> Result<Applied> {
        let mut applied = Applied::default();
        durable::create_folder(&self.scratch)?;
        for pass in 0_u32.. {
            let again = Again::create(&self.scratch, pass % 2)?;
            let path = again.path.clone();
            let (done, refused) = self.pass(&files, again, reports, tasks).await?;
            applied.done += done;
            let got_nothing_through = pass > 0 && done == 0;
            if refused == 0 {
                break;
            }
            if got_nothing_through {
                report(&path, reports)?;
                break;
            }
            files = vec![path];
        }
        durable::remove(&self.scratch)?;
        applied.refused = reports.refused();
        Ok(applied)
    }

    /// Does everything in the files once; gives how much was done, and how much was refused and is kept for another pass.
    async fn pass(
        &self,
        files: &[PathBuf],
        mut again: Again,
        reports: &Reports,
        tasks: fn(&[u8], &mut LineChecker) -> Result<Vec<BatchEntry>, String>,
    ) -> Result<(u64, u64)> {
        let (mut done, mut bytes) = (0, 0);
        let mut checker = LineChecker::new(LineLimits::default());
        let mut waiting: Vec<BatchEntry> = Vec::new();
        let entries_full = self.settings.entries_max * self.parallel;
        let bytes_full = self.settings.bytes_max * self.parallel;
        for file in files {
            let mut lines = Lines::open(file, LINE_BYTES_MAX)?;
            while let Some(line) = lines.next_line()? {
                let Line::Text(text) = line else {
                    reports.refuse(b"", "the line is longer than is allowed")?;
                    continue;
                };
                match tasks(text, &mut checker) {
                    Err(why) => reports.refuse(text, &why)?,
                    Ok(some) => {
                        bytes += text.len();
                        waiting.extend(some);
                    }
                }
                if waiting.len() >= entries_full || bytes >= bytes_full {
                    bytes = 0;
                    done += self.send(std::mem::take(&mut waiting), &mut again).await?;
                }
            }
        }
        done += self.send(waiting, &mut again).await?;
        Ok((done, again.finish()?))
    }

    /// Sends so many Bundles at a time, and keeps what was refused; gives how much was done.
    async fn send(&self, entries: Vec<BatchEntry>, again: &mut Again) -> Result<u64> {
        if entries.is_empty() {
            return Ok(0);
        }
        let size = entries.len().div_ceil(self.parallel);
        let mut sending = Vec::new();
        for some in entries.chunks(size) {
            sending.push(self.batches.send(some));
        }
        let sent: Vec<Vec<BatchAnswer>> = futures::future::try_join_all(sending).await?;
        let mut done = 0;
        for (entry, answer) in entries.iter().zip(sent.into_iter().flatten()) {
            match is_fine(entry, &answer) {
                true => done += 1,
                false => again.push(&line_of(entry), &refusal(&answer)?)?,
            }
        }
        Ok(done)
    }
}

/// What was refused in a pass: the lines, and beside them the reasons.
struct Again {
    path: PathBuf,
    lines: BufWriter<std::fs::File>,
    reasons: BufWriter<std::fs::File>,
    count: u64,
}

impl Again {
    fn create(folder: &Path, number: u32) -> Result<Self> {
        let path = folder.join(format!("again-{number}.ndjson"));
        Ok(Self {
            lines: BufWriter::new(durable::create(&path)?),
            reasons: BufWriter::new(durable::create(&reasons(&path))?),
            path,
            count: 0,
        })
    }

    fn push(&mut self, line: &[u8], why: &str) -> Result<()> {
        self.count += 1;
        write_line(&mut self.lines, line, &self.path)?;
        write_line(&mut self.reasons, why.as_bytes(), &self.path)
    }

    fn finish(self) -> Result<u64> {
        flush_scratch(self.lines, &self.path)?;
        flush_scratch(self.reasons, &self.path)?;
        Ok(self.count)
    }
}

fn reasons(lines: &Path) -> PathBuf {
    lines.with_extension("reasons")
}

/// Whether an entry is as it should be. What is to be deleted and is not there is.
fn is_fine(entry: &BatchEntry, answer: &BatchAnswer) -> bool {
    answer.is_done() || (entry.resource.is_none() && matches!(answer.status, 404 | 410))
}

/// What the target said; an error where it does not let us in at all.
fn refusal(answer: &BatchAnswer) -> Result<String> {
    let codes = answer.issue_codes.as_deref().unwrap_or("no reason");
    let why = format!("the target answers {} ({codes})", answer.status);
    match answer.status {
        401 | 403 => Err(Error::new(ErrorKind::Invalid, why)),
        408 | 429 | 500..=599 => Err(Error::new(ErrorKind::Unreachable, why)),
        _ => Ok(why),
    }
}

fn report(path: &Path, reports: &Reports) -> Result<()> {
    let mut lines = Lines::open(path, LINE_BYTES_MAX)?;
    let mut whys = Lines::open(&reasons(path), LINE_BYTES_MAX)?;
    while let (Some(Line::Text(line)), Some(Line::Text(why))) = (lines.next_line()?, whys.next_line()?) {
        reports.refuse(line, &String::from_utf8_lossy(why))?;
    }
    Ok(())
}

fn puts(line: &[u8], checker: &mut LineChecker) -> Result<Vec<BatchEntry>, String> {
    let checked = checker.check(line, None).map_err(|refusal| refusal.to_string())?;
    let url = format!("{}/{}", checked.resource_type.name(), checked.id);
    Ok(vec![BatchEntry::put(url, line.to_vec())])
}

fn deletes(line: &[u8], _: &mut LineChecker) -> Result<Vec<BatchEntry>, String> {
    let mut gone = Vec::new();
    deletions(line, &mut gone).map_err(str::to_owned)?;
    let entry = |(resource_type, id): (ResourceType, String)| {
        BatchEntry::delete(format!("{}/{id}", resource_type.name()))
    };
    Ok(gone.into_iter().map(entry).collect())
}

/// The line of which an entry was made: the resource, or a Bundle with this one deletion.
fn line_of(entry: &BatchEntry) -> Cow<'_, [u8]> {
    if let Some(resource) = &entry.resource {
        return Cow::Borrowed(resource);
    }
    let named = entry
        .url
        .split_once('/')
        .and_then(|(name, id)| Some((ResourceType::parse(name)?, Id::parse(id)?)));
    let mut line = Vec::new();
    write_deleted_bundles(named.iter().map(|(name, id)| (*name, id)), &mut line);
    line.pop();
    Cow::Owned(line)
}

#[async_trait]
impl Target for BundleTarget {
    fn name(&self) -> String {
        format!("{}", self.batches.provider().base())
    }

    async fn put(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied> {
        let rank = |file: &&ChangeFile| {
            let known = FIRST
                .iter()
                .position(|first| file.resource_type.map(ResourceType::name) == Some(*first));
            known.unwrap_or(FIRST.len())
        };
        let mut ordered: Vec<&ChangeFile> = files.iter().collect();
        ordered.sort_by_key(rank);
        let files = ordered.into_iter().map(|file| file.path.clone()).collect();
        self.apply(files, reports, puts).await
    }

    async fn delete(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied> {
        let files = files.iter().map(|file| file.path.clone()).collect();
        self.apply(files, reports, deletes).await
    }
}
