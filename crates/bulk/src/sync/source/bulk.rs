//! Any Bulk Data server as a source: [`BulkSource`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fhirhose_client::pull::{FileKind, Pull, PullReport, PullSettings, Watch};
use fhirhose_client::{DataProvider, ErrorKind as Below, ExportParameters};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::resource_type::ResourceType;

use super::super::lines::{Line, Lines};
use super::{Fetched, Source, SourceFile, Wanted};
use crate::durable;
use crate::{Error, ErrorKind, Result};

/// Exports of a Bulk Data server, pulled into the folder of the round.
///
/// What comes first is everything, then what is new since the cursor. Of a Group the members are listed each time; for those that are
/// new their whole data is exported beside (G-03), for `_since` does not bring it.
pub struct BulkSource {
    /// The server.
    pub provider: DataProvider,
    /// What is exported; `_since` is set by each round.
    pub parameters: ExportParameters,
    /// Limits of each pull.
    pub settings: PullSettings,
    /// Fetches everything each time: for a server whose `_since` cannot be relied upon.
    pub always_whole: bool,
    /// New members of a Group that are exported at a time. Default of the command: 500.
    pub joiners_max: usize,
    /// Hears what the pulls do.
    pub watch: Arc<dyn Watch>,
}

impl std::fmt::Debug for BulkSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkSource")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for BulkSource {
    fn name(&self) -> String {
        let level = match &self.parameters.level {
            ExportLevel::System => "system".to_owned(),
            ExportLevel::AllPatients => "all patients".to_owned(),
            ExportLevel::Group(id) => format!("Group/{}", id.as_str()),
            // The id of a patient is not for a name.
            ExportLevel::Patient(_) => "one patient".to_owned(),
        };
        format!("{} {level}", self.provider.base())
    }

    async fn fetch(&self, wanted: &Wanted, folder: &Path) -> Result<Option<Fetched>> {
        let whole = self.always_whole || self.provider.quirks().no_since;
        let since = wanted.cursor.clone().filter(|_| !whole);
        let mut fetched = Fetched {
            is_whole: since.is_none(),
            ..Fetched::default()
        };
        if matches!(self.parameters.level, ExportLevel::Group(_)) {
            self.fetch_members(wanted, since.is_some(), folder, &mut fetched)
                .await?;
            if !fetched.missing.is_empty() {
                return Ok(Some(fetched));
            }
        }
        let parameters = ExportParameters {
            since,
            ..self.parameters.clone()
        };
        let report = self.pull(parameters, &folder.join("pull"), &mut fetched).await?;
        fetched.transaction_time = report.transaction_time;
        Ok(Some(fetched))
    }
}

impl BulkSource {
    /// Lists the members, and exports everything of those who were none before.
    async fn fetch_members(
        &self,
        wanted: &Wanted,
        exports_joiners: bool,
        folder: &Path,
        fetched: &mut Fetched,
    ) -> Result<()> {
        let roster = ExportParameters {
            types: vec![ResourceType::PATIENT.name().to_owned()],
            elements: vec!["id".to_owned()],
            type_filters: Vec::new(),
            ..self.parameters.clone()
        };
        let mut listed = Fetched::default();
        self.pull(roster, &folder.join("members"), &mut listed).await?;
        fetched.missing = listed.missing;
        // A list that the source could not make whole says of nobody that he has left.
        fetched.source_errors += listed.source_errors;
        let files = listed.files.clone();
        let line_bytes_max = self.settings.line_bytes_max;
        let read = tokio::task::spawn_blocking(move || read_members(&files, line_bytes_max)).await;
        let members =
            read.map_err(|panic| Error::new(ErrorKind::Storage, "reading members").with_source(panic))??;
        if exports_joiners {
            let before = wanted.members.clone().unwrap_or_default();
            fetched.joiners = members.difference(&before).cloned().collect();
        }
        fetched.members = Some(members);
        let joiners: Vec<String> = fetched.joiners.iter().cloned().collect();
        for (number, some) in joiners.chunks(self.joiners_max.max(1)).enumerate() {
            let parameters = ExportParameters {
                since: None,
                patients: some.to_vec(),
                ..self.parameters.clone()
            };
            self.pull(parameters, &folder.join(format!("joiners-{number}")), fetched)
                .await?;
        }
        Ok(())
    }

    /// Pulls, and adds what came.
    async fn pull(
        &self,
        parameters: ExportParameters,
        folder: &Path,
        fetched: &mut Fetched,
    ) -> Result<PullReport> {
        let pull = Pull {
            provider: self.provider.clone(),
            parameters,
            folder: folder.to_owned(),
            settings: self.settings.clone(),
        };
        let mut ran = Box::pin(pull.run(&*self.watch)).await;
        if ran
            .as_ref()
            .is_err_and(|error| error.kind() == Below::OtherFolder)
        {
            // The round began with other parameters, such as some that the server has refused: what came of them is of no use.
            durable::remove(folder)?;
            ran = Box::pin(pull.run(&*self.watch)).await;
        }
        let report = ran?;
        for file in &report.files {
            let path = folder.join(&file.name);
            match file.kind {
                FileKind::Output => fetched.files.push(SourceFile::output(path)),
                FileKind::Deleted => fetched.files.push(SourceFile::deletions(path)),
                FileKind::Error => {}
            }
        }
        fetched.source_errors += report.errors();
        for missing in &report.missing {
            fetched.missing.push((missing.name.clone(), missing.why.clone()));
        }
        Ok(report)
    }
}

/// The ids of all Patients.
fn read_members(files: &[SourceFile], line_bytes_max: usize) -> Result<BTreeSet<String>> {
    let mut members = BTreeSet::new();
    let mut checker = LineChecker::new(LineLimits::default());
    for file in files.iter().filter(|file| !file.is_deletions) {
        let mut lines = Lines::open(&file.path, line_bytes_max)?;
        while let Some(line) = lines.next_line()? {
            let Line::Text(text) = line else {
                // Passed over, its member would seem to have left.
                let problem = "a line of the list of members is longer than is allowed";
                return Err(Error::new(ErrorKind::Invalid, problem));
            };
            let checked = checker.check(text, None).map_err(|refusal| {
                Error::new(ErrorKind::Invalid, "a line of the list of members cannot be read")
                    .with_source(refusal)
            })?;
            if checked.resource_type == ResourceType::PATIENT {
                members.insert(checked.id.to_owned());
            }
        }
    }
    Ok(members)
}
