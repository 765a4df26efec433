//! What a round will do, worked out before it does anything: [`Plan`], with its files in the round's folder.
//!
//! It is a pure function of what was fetched, the ledger and the settings: one that was not finished is made again. The round records it.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};

use super::filter::LocalFilter;
use super::gather::{Gathered, GatheredFile, Gathering};
use super::hook::Hook;
use super::lines::{Line, Lines, count_lines};
use super::merge::{Counts, Marks, MergeFiles, Terms, merge};
use super::records::{flush, write_line};
use super::reports::Reports;
use super::settings::{DELETIONS_UNLIMITED, SyncSettings};
use super::source::Fetched;
use super::target::ChangeFile;
use crate::durable;
use crate::{Error, ErrorKind, Result};

/// What goes to the target, and what the round comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// Files of resources that are put; each resource is in one line of one file.
    pub(super) put: Vec<ChangeFile>,
    /// Files of Bundles that name what is deleted.
    pub(super) delete: Vec<ChangeFile>,
    /// How many resources met which end.
    pub(super) counts: Counts,
    /// Lines of the source that cannot be taken.
    pub(super) refused: u64,
    /// Lines that the command kept back.
    pub(super) dropped: u64,
}

/// What a plan is made of beside what was fetched.
pub(super) struct Planning<'a> {
    pub(super) filter: &'a LocalFilter,
    pub(super) hook: Option<&'a Hook>,
    pub(super) settings: &'a SyncSettings,
    pub(super) terms: &'a Terms,
    pub(super) reports: &'a Reports,
    pub(super) old_ledger: Option<&'a Path>,
    pub(super) new_ledger: &'a Path,
    /// Entries of the old ledger.
    pub(super) entries: u64,
    /// The round's folder.
    pub(super) folder: &'a Path,
}

impl Planning<'_> {
    /// Makes the plan. Reads everything that was fetched, twice where not all of it is put.
    pub(super) fn make(&self, fetched: &Fetched) -> Result<Plan> {
        let gathering = Gathering {
            filter: self.filter,
            line_bytes_max: self.settings.line_bytes_max,
            sort_bytes: self.settings.sort_bytes,
            with_owners: self.terms.members.is_some(),
            reports: self.reports,
        };
        let sort = self.folder.join("sort");
        let apply = self.folder.join("apply");
        durable::remove(&apply)?;
        durable::create_folder(&apply)?;
        let Gathered {
            records,
            files,
            lines,
        } = gathering.gather(&fetched.files, &sort)?;
        let deletions = apply.join("deleted.ndjson");
        let merged = MergeFiles {
            old_ledger: self.old_ledger,
            new_ledger: self.new_ledger,
            deletions: &deletions,
        };
        let (marks, counts) = merge(records, lines, self.terms, &merged)?;
        durable::remove(&sort)?;
        self.check(&counts)?;
        let mut plan = Plan {
            put: Vec::new(),
            delete: Vec::new(),
            counts,
            refused: self.reports.refused(),
            dropped: 0,
        };
        for file in &files {
            let number = plan.put.len() + 1;
            plan.put
                .extend(self.choose(file, &marks, &apply, number, &mut plan.dropped)?);
        }
        plan.delete
            .extend(self.deletions(&deletions, &apply, &mut plan.dropped)?);
        durable::sync_parent(&deletions)?;
        Ok(plan)
    }

    /// Refuses a whole pull, or a list of members, that would take away most of what was brought.
    fn check(&self, counts: &Counts) -> Result<()> {
        let allowed = self.settings.deletions_share_max * self.entries as f64;
        let may_lack = self.terms.is_whole || self.terms.members.is_some();
        if !may_lack || self.entries < DELETIONS_UNLIMITED || counts.removed() as f64 <= allowed {
            return Ok(());
        }
        let problem = format!(
            "{} of {} resources would be deleted at the target: more than the share of {} that is allowed",
            counts.removed(),
            self.entries,
            self.settings.deletions_share_max
        );
        Err(Error::new(ErrorKind::TooManyDeletions, problem))
    }

    /// Makes the file of those lines that are put: the fetched one itself where that is all of it.
    fn choose(
        &self,
        file: &GatheredFile,
        marks: &Marks,
        apply: &Path,
        number: usize,
        dropped: &mut u64,
    ) -> Result<Option<ChangeFile>> {
        let chosen = (file.first..file.first + file.lines)
            .filter(|at| marks.has(*at))
            .count() as u64;
        if chosen == 0 {
            return Ok(None);
        }
        let name = file.resource_type.map_or("output", ResourceType::name);
        let mut path = file.path.clone();
        // A command reads plain text only.
        if chosen < file.lines || self.hook.is_some() {
            path = apply.join(format!("{number}.{name}.ndjson"));
            self.copy_marked(file, marks, &path)?;
        }
        let mut change = ChangeFile {
            path,
            resource_type: file.resource_type,
            lines: chosen,
        };
        if let Some(hook) = self.hook {
            let to = apply.join(format!("{number}.{name}.through.ndjson"));
            let given = file.resource_type.map_or("", ResourceType::name);
            self.pass(hook, &mut change, to, ("output", given), dropped)?;
        }
        Ok((change.lines > 0).then_some(change))
    }

    fn copy_marked(&self, file: &GatheredFile, marks: &Marks, to: &Path) -> Result<()> {
        let mut out = BufWriter::with_capacity(256 << 10, durable::create(to)?);
        let mut lines = Lines::open(&file.path, self.settings.line_bytes_max)?;
        let mut ordinal = file.first;
        while let Some(line) = lines.next_line()? {
            if let (Line::Text(text), true) = (line, marks.has(ordinal)) {
                write_line(&mut out, text, to)?;
            }
            ordinal += 1;
        }
        flush(out, to)
    }

    fn deletions(&self, path: &Path, apply: &Path, dropped: &mut u64) -> Result<Option<ChangeFile>> {
        let mut change = ChangeFile {
            path: path.to_owned(),
            resource_type: None,
            lines: count_lines(path, self.settings.line_bytes_max)?,
        };
        if let Some(hook) = self.hook.filter(|_| change.lines > 0) {
            let to = apply.join("deleted.through.ndjson");
            self.pass(hook, &mut change, to, ("deleted", "Bundle"), dropped)?;
        }
        Ok((change.lines > 0).then_some(change))
    }

    fn pass(
        &self,
        hook: &Hook,
        change: &mut ChangeFile,
        to: PathBuf,
        (kind, name): (&str, &str),
        dropped: &mut u64,
    ) -> Result<()> {
        let lines = hook.run(&change.path, &to, kind, name, self.settings.line_bytes_max)?;
        *dropped += change.lines.saturating_sub(lines);
        *change = ChangeFile {
            path: to,
            lines,
            ..change.clone()
        };
        Ok(())
    }
}
