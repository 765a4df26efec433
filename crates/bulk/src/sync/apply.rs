//! A pulled folder, applied to a store once: [`apply_folder_to_store`], for pulls that go straight into a store.

use std::path::Path;

use fhirhose_store::Store;

use super::reports::Reports;
use super::source::read_folder;
use super::target::{ChangeFile, StoreTarget, Target};
use crate::import::ImportSettings;
use crate::{Error, ErrorKind, Result};

/// What came of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FolderApplied {
    /// Lines taken.
    pub put: u64,
    /// Resources that are not there any more.
    pub deleted: u64,
    /// Lines refused; they are in the folder of reports.
    pub refused: u64,
}

/// Applies `output` in full, then `deleted` (CL-11). Done again after a crash it comes to the same.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a folder that is not whole; what the store gives.
pub async fn apply_folder_to_store(
    store: &Store,
    folder: &Path,
    reports: &Path,
    settings: ImportSettings,
) -> Result<FolderApplied> {
    let fetched = read_folder(folder)?;
    if let Some((name, _)) = fetched.missing.first() {
        let problem = format!("{} is not whole: {name} is missing", folder.display());
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    let target = StoreTarget::new(store.clone(), settings, folder.display().to_string());
    let of = |is_deletions: bool| {
        let files = fetched
            .files
            .iter()
            .filter(move |file| file.is_deletions == is_deletions);
        let change = |path: &Path| ChangeFile {
            path: path.to_owned(),
            resource_type: None,
            lines: 0,
        };
        files.map(|file| change(&file.path)).collect::<Vec<_>>()
    };
    let put = target
        .put(&of(false), &Reports::begin(reports, "put", u64::MAX)?)
        .await?;
    let deleted = target
        .delete(&of(true), &Reports::begin(reports, "delete", u64::MAX)?)
        .await?;
    Ok(FolderApplied {
        put: put.done,
        deleted: deleted.done,
        refused: put.refused + deleted.refused,
    })
}
