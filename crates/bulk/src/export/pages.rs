//! Partial manifests (spec §2.4): an export whose client allows them shows its files in pages while it goes on.
//!
//! A page is a numbered list of files that never changes: their names are given when it is made, and it is written in the same
//! checkpoint as the files. Whoever answers clients reads [`ExportPages`]; the export itself keeps a [`Pager`]. A page is made
//! whenever [`ExportSettings::page_files`](super::ExportSettings) files are there, and at the end of the rest; deletions and
//! outcomes come last.

use std::collections::{BTreeMap, BTreeSet};

use fhirhose_jobs::{Checkpoint, JobContext, JobError, JobRecord};
use fhirhose_store::{OutputFile, Store};

use super::handler::load_spec;
use super::names::{Chain, Numbers, Series, chains, series};
use super::result::{ExportPage, ExportResult, FileKind, ResultFile};
use super::spec::Target;
use super::state::{PAGE_ROWS, Part, State, Work};
use crate::{Error, ErrorKind, Result};

/// Pages that are read in one call.
const PAGES_PER_READ: usize = 1_000;

/// What can be shown of an export: all pages of a finished one, those that are made of one that goes on.
///
/// ```no_run
/// # use fhirhose_bulk::export::ExportPages;
/// # async fn example(store: &fhirhose_store::Store, job: &fhirhose_jobs::JobRecord) -> fhirhose_bulk::Result<()> {
/// if let Some(pages) = ExportPages::load(store, job).await? {
///     // 200 with the manifest when `is_complete`, else 202 with it; without the page, 202 with nothing.
///     let page = pages.page(1);
///     let next = page.is_some_and(|page| page.has_next);
///     let file = pages.file("1.Patient.ndjson");
/// #   let _ = (next, file, pages.is_complete());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ExportPages {
    shown: ExportResult,
    is_complete: bool,
}

impl ExportPages {
    /// Reads what a job has to show now; `None` for one that goes on and has no page yet, or shall not show any (M-20).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if job or rows are not those of an export; what the store gives.
    pub async fn load(store: &Store, job: &JobRecord) -> Result<Option<Self>> {
        if let Some(result) = &job.result {
            return Ok(Some(Self {
                shown: ExportResult::parse(result)?,
                is_complete: true,
            }));
        }
        let request = load_spec(job)?.request;
        let Some(checkpoint) = job
            .checkpoint
            .as_ref()
            .filter(|_| request.allow_partial_manifests)
        else {
            return Ok(None);
        };
        let state = State::load(checkpoint)?;
        let mut pages: Vec<Vec<ResultFile>> = Vec::new();
        loop {
            let from = PAGE_ROWS + pages.len() as u64;
            let read = store.catalog().entries(&job.id, from, PAGES_PER_READ).await;
            let rows = read.map_err(fhirhose_store::Error::from)?;
            let is_last = rows.len() < PAGES_PER_READ;
            for (_, row) in rows {
                pages.push(parse_page(&row)?);
            }
            if is_last {
                break;
            }
        }
        Ok((!pages.is_empty()).then(|| Self {
            shown: ExportResult {
                transaction_time: state.snapshot.instant,
                snapshot: state.snapshot.sequence,
                request: request.request_url,
                organized_by: request.organize_output_by,
                pages: pages.iter().map(Vec::len).collect(),
                files: pages.into_iter().flatten().collect(),
            },
            is_complete: false,
        }))
    }

    /// Whether the export is finished, so that no page comes after the last one.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// How many pages there are, at least one.
    pub fn count(&self) -> usize {
        self.shown.pages.len().max(1)
    }

    /// The page with this number, from 1; `None` if it is not there (yet).
    pub fn page(&self, number: usize) -> Option<ExportPage<'_>> {
        let at = number.checked_sub(1).filter(|_| number <= self.count())?;
        let mut page = self.shown.as_page();
        if let Some(&files) = self.shown.pages.get(at) {
            let from: usize = self.shown.pages[..at].iter().sum();
            page.files = self.shown.files.get(from..from + files)?;
        }
        page.number = number;
        page.has_next = number < self.count();
        Some(page)
    }

    /// Finds a file of any page by what clients call it: it can be downloaded as soon as a page names it (M-21).
    pub fn file(&self, name: &str) -> Option<&ResultFile> {
        self.shown.file(name)
    }
}

fn parse_page(row: &[u8]) -> Result<Vec<ResultFile>> {
    serde_json::from_slice(row).map_err(|source| {
        Error::new(ErrorKind::Corrupt, "reading a page of an export's files").with_source(source)
    })
}

/// Makes the pages of an export under way.
pub(super) struct Pager {
    page_files: usize,
    /// The pages that are made; those of an earlier worker are here too.
    pages: Vec<Vec<ResultFile>>,
    /// How many of them are written down.
    written: usize,
    /// Output files that are in no page yet, in the order in which they were finished.
    waiting: Vec<(Series, Chain)>,
    /// By part: files at its end whose last block goes on in a file that is not finished yet.
    open: BTreeMap<usize, Chain>,
}

impl Pager {
    /// Goes on from the pages of the job, with the files of `parts` that are in none of them.
    pub(super) async fn load(
        context: &JobContext,
        parts: &[Part],
        page_files: usize,
    ) -> Result<Self, JobError> {
        let mut pages = Vec::new();
        loop {
            let from = PAGE_ROWS + pages.len() as u64;
            let rows = context.entries(from, PAGES_PER_READ).await?;
            let is_last = rows.len() < PAGES_PER_READ;
            for (_, row) in rows {
                pages.push(parse_page(&row)?);
            }
            if is_last {
                break;
            }
        }
        let shown: BTreeSet<&str> = pages.iter().flatten().map(stored_name).collect();
        let mut pager = Self {
            page_files: page_files.max(1),
            written: pages.len(),
            waiting: Vec::new(),
            open: BTreeMap::new(),
            pages: Vec::new(),
        };
        for (number, part) in parts.iter().enumerate() {
            for (at, file) in part.files.iter().enumerate() {
                if !shown.contains(file.name.as_str()) {
                    pager.add(number, &part.work, file.clone(), part.continued.contains(&at));
                }
            }
        }
        drop(shown);
        pager.pages = pages;
        Ok(pager)
    }

    /// Takes a finished file; `is_continued` if its last block goes on in the part's next file, which must be in the same page:
    /// a page never changes, and it has to name that file.
    pub(super) fn add(&mut self, part: usize, work: &Work, file: OutputFile, is_continued: bool) {
        let series = series(work);
        if series.0 != FileKind::Output {
            return;
        }
        self.open.entry(part).or_default().push(file);
        if !is_continued {
            let chain = self.open.remove(&part).unwrap_or_default();
            self.waiting.push((series, chain));
        }
    }

    /// Makes the pages that are full, and adds them to the checkpoint that records their files.
    pub(super) fn save(&mut self, mut checkpoint: Checkpoint) -> Checkpoint {
        let rest = std::mem::take(&mut self.waiting);
        self.waiting = self.fill(rest);
        for (number, page) in self.pages.iter().enumerate().skip(self.written) {
            let row = serde_json::to_vec(page).expect("a page is plain data");
            checkpoint = checkpoint.entry(PAGE_ROWS + number as u64, row);
        }
        self.written = self.pages.len();
        checkpoint
    }

    /// All files of the export page by page, once all parts are done: the files, how many each page has, and how many pages clients may
    /// have seen already.
    pub(super) fn conclude(mut self, parts: &[Part]) -> (Vec<ResultFile>, Vec<usize>, usize) {
        let mut rest = std::mem::take(&mut self.waiting);
        let deletions = parts
            .iter()
            .filter(|part| series(&part.work).0 != FileKind::Output);
        rest.extend(
            deletions.flat_map(|part| chains(part).into_iter().map(|chain| (series(&part.work), chain))),
        );
        let rest = self.fill(rest);
        let last = self.named(rest);
        if !last.is_empty() {
            self.pages.push(last);
        }
        let counts = self.pages.iter().map(Vec::len).collect();
        (self.pages.into_iter().flatten().collect(), counts, self.written)
    }

    /// Makes full pages of the chains; gives back those that are not enough for one.
    fn fill(&mut self, chains: Vec<(Series, Chain)>) -> Vec<(Series, Chain)> {
        let (mut rest, mut files) = (Vec::new(), 0);
        for (series, chain) in chains {
            files += chain.len();
            rest.push((series, chain));
            if files >= self.page_files {
                let page = self.named(std::mem::take(&mut rest));
                self.pages.push(page);
                files = 0;
            }
        }
        rest
    }

    /// Names files, numbered after those of all pages before.
    fn named(&self, chains: Vec<(Series, Chain)>) -> Vec<ResultFile> {
        let mut numbers = Numbers::new(&Target::Outputs);
        self.pages.iter().flatten().for_each(|file| numbers.skip(file));
        let named = chains
            .into_iter()
            .flat_map(|(series, chain)| numbers.name(series, chain));
        named.collect()
    }
}

fn stored_name(file: &ResultFile) -> &str {
    &file.stored_name
}
