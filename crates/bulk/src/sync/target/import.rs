//! A server with `$import` as a target: [`ImportTarget`].

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fhirhose_client::{BatchSettings, DataProvider, ImportOrder};
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::super::reports::Reports;
use super::bundle::BundleTarget;
use super::{Applied, ChangeFile, Target};
use crate::durable;
use crate::{Error, ErrorKind, Result};

/// A server that reads the files of a round itself, by `file:` URLs: it sees this machine's disk, here or mounted elsewhere. Deletions
/// go as batch Bundles.
#[derive(Debug)]
pub struct ImportTarget {
    provider: DataProvider,
    deletions: BundleTarget,
    /// Where the files are put for the server to read; it sees this folder under `seen_as`.
    shared: PathBuf,
    /// The folder's path on the server's machine.
    seen_as: PathBuf,
}

/// The import that is under way, so that a process that comes after goes on with it.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    inputs: Vec<String>,
    status_url: String,
}

impl ImportTarget {
    /// Imports into a server that sees the folder `shared` as `seen_as`.
    pub fn new(provider: DataProvider, batches: BatchSettings, shared: PathBuf, seen_as: PathBuf) -> Self {
        let deletions = BundleTarget::new(provider.clone(), batches, 4, shared.join("again"));
        Self {
            provider,
            deletions,
            shared,
            seen_as,
        }
    }

    /// Puts a file where the server sees it, and gives its URL there.
    fn share(&self, number: usize, file: &ChangeFile) -> Result<(Option<ResourceType>, String)> {
        let name = format!("{number}.ndjson");
        let to = self.shared.join(&name);
        let failed = |source| Error::io(format!("copying a file to {}", to.display()), source);
        durable::remove(&to)?;
        if std::fs::hard_link(&file.path, &to).is_err() {
            std::fs::copy(&file.path, &to).map_err(failed)?;
        }
        let url = Url::from_file_path(self.seen_as.join(name));
        let url = url.map_err(|()| {
            Error::new(
                ErrorKind::Invalid,
                "the path of the shared folder is not absolute",
            )
        })?;
        Ok((file.resource_type, url.into()))
    }

    /// The job that an earlier process began with these inputs.
    fn begun(&self, inputs: &[String]) -> Option<Url> {
        let bytes = std::fs::read(self.journal()).ok()?;
        let begun: Begun = serde_json::from_slice(&bytes).ok()?;
        (begun.inputs == inputs).then(|| Url::parse(&begun.status_url).ok())?
    }

    fn journal(&self) -> PathBuf {
        self.shared.join("import.json")
    }

    async fn import(&self, order: &ImportOrder) -> Result<Value> {
        let inputs: Vec<String> = order.inputs.iter().map(|(_, url)| url.clone()).collect();
        if let Some(status_url) = self.begun(&inputs) {
            match self.provider.import_report(&status_url).await {
                Err(error) if error.kind() == fhirhose_client::ErrorKind::Refused => {}
                answer => return Ok(answer?),
            }
        }
        let status_url = self.provider.kick_off_import(order).await?;
        let begun = Begun {
            inputs,
            status_url: status_url.to_string(),
        };
        let bytes = serde_json::to_vec(&begun)
            .map_err(|source| Error::new(ErrorKind::Storage, "recording an import").with_source(source))?;
        durable::write(&self.journal(), &bytes)?;
        Ok(self.provider.import_report(&status_url).await?)
    }
}

#[async_trait]
impl Target for ImportTarget {
    fn name(&self) -> String {
        format!("$import of {}", self.provider.base())
    }

    async fn put(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied> {
        if files.is_empty() {
            return Ok(Applied::default());
        }
        durable::create_folder(&self.shared)?;
        let mut order = ImportOrder::default();
        for (number, file) in files.iter().enumerate() {
            let (resource_type, url) = self.share(number + 1, file)?;
            order
                .inputs
                .push((resource_type.map(|known| known.name().to_owned()), url));
        }
        let report = self.import(&order).await?;
        let refused = refused(&report);
        if refused > 0 {
            keep(&report, reports.folder())?;
        }
        let lines: u64 = files.iter().map(|file| file.lines).sum();
        if is_cut_short(&report, lines) {
            // With it the same report would be read for ever.
            durable::remove(&self.journal())?;
            let problem = "the server could not read a file of the round to its end";
            return Err(Error::new(ErrorKind::Storage, problem));
        }
        durable::remove(&self.shared)?;
        Ok(Applied {
            done: lines.saturating_sub(refused),
            refused,
        })
    }

    async fn delete(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied> {
        self.deletions.delete(files, reports).await
    }
}

/// How many lines the server says it has not taken.
fn refused(report: &Value) -> u64 {
    items(report, "error")
        .iter()
        .map(|error| error["count"].as_u64().unwrap_or(1))
        .sum()
}

/// Whether the server has not seen all lines: an error is of a file and of no line in it, or it speaks of fewer lines than there are.
fn is_cut_short(report: &Value, lines: u64) -> bool {
    let mut errors = items(report, "error")
        .iter()
        .flat_map(|item| items(item, "errors"));
    if errors.any(|error| error["lineNumber"].is_null()) {
        return true;
    }
    let output = items(report, "output");
    let taken: Option<u64> = output.iter().map(|item| item["count"].as_u64()).sum();
    !output.is_empty() && taken.is_some_and(|taken| taken + refused(report) < lines)
}

fn items<'a>(of: &'a Value, list: &str) -> &'a [Value] {
    of[list].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn keep(report: &Value, folder: &Path) -> Result<()> {
    durable::create_folder(folder)?;
    durable::write(&folder.join("import-report.json"), report.to_string().as_bytes())
}
