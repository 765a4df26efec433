//! What is to be exported, and recording it as a job: [`ExportSpec`], [`submit_export`].

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fhirhose_fhir::export_request::{ExportLevel, ExportRequest};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Entropy, JobId, NewJob};
use fhirhose_store::Store;
use serde::{Deserialize, Serialize};

use super::blocks;
use super::patients::patient_faults;
use crate::{Error, ErrorKind, Result};

/// The kind of jobs that export.
pub const EXPORT: &str = "export";

/// How much text a file holds unless the specification says otherwise: 256 MiB.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// An export as it is asked for; recorded with the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportSpec {
    /// Whose resources, and which of them.
    pub request: ExportRequest,
    /// Where the files go.
    pub target: Target,
    /// The most text that a file holds, in bytes, at least 1; a single resource that is longer has a file of its own.
    pub file_bytes_max: u64,
    /// The FHIR base URL below which attachments are served; without it their URLs stay as they are (F-11).
    #[serde(default)]
    pub base_url: Option<String>,
    /// Whether exports of patients come with what their resources refer to: [`ExportSpec::new`] says yes (K-08).
    #[serde(default)]
    pub helper_resources: bool,
    /// What comes of members who joined a Group since `_since`.
    #[serde(default)]
    pub group_joiners: GroupJoiners,
    /// The types that the client may read; none of another type comes, as output, helper, Provenance or deletion (K-09, A-48).
    /// `None` holds nothing back but `AuditEvent`, which comes only where `_type` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_types: Option<Vec<ResourceType>>,
}

/// What a Group export with `_since` has of members who joined since then (G-03, G-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupJoiners {
    /// All that there is of them, for the receiver has nothing yet. What [`ExportSpec::new`] says.
    WholeHistory,
    /// What changed since then, as of all members.
    #[default]
    ChangesOnly,
}

/// Where the files of an export go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The store's outputs, compressed at rest, until the job expires.
    Outputs,
    /// A folder of this machine that is absent or empty, as plain files with a `manifest.json`; they stay.
    Folder(PathBuf),
}

impl ExportSpec {
    /// Asks for files of the usual size.
    pub fn new(request: ExportRequest, target: Target) -> Self {
        Self {
            request,
            target,
            file_bytes_max: FILE_BYTES_MAX,
            base_url: None,
            helper_resources: true,
            group_joiners: GroupJoiners::WholeHistory,
            granted_types: None,
        }
    }

    /// The same, as far as the form of the output lets: members who joined a Group come to its blocks with what changed only.
    pub(super) fn joiners(self) -> Self {
        match self.request.organize_output_by {
            Some(_) => Self {
                group_joiners: GroupJoiners::ChangesOnly,
                ..self
            },
            None => self,
        }
    }

    /// The most text that a file holds: the server's own bound, or the client's `_maximumFileSize` where that is less.
    pub(super) fn file_bytes(&self) -> u64 {
        let wanted = self.request.file_bytes_max.unwrap_or(u64::MAX);
        self.file_bytes_max.min(wanted).max(1)
    }
}

/// Records an export as a job, durable when this returns; signal the runner's `Wake` afterwards.
///
/// # Errors
/// [`ErrorKind::NotFound`] if the Group or Patient does not exist; [`ErrorKind::Invalid`] if one of the patients asked for does not, or is
/// not in the Group ([`patient_faults`] says who), for a `file_bytes_max` of 0, or a folder
/// that is not empty, no folder, or named in no Unicode; what the store gives.
pub async fn submit_export(
    store: &Store,
    spec: &ExportSpec,
    owner: &str,
    entropy: &dyn Entropy,
) -> Result<JobId> {
    if spec.file_bytes_max == 0 {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a file of an export must be able to hold something",
        ));
    }
    if spec.request.dry_run {
        let problem = "_dryRun asks for an estimate, not for an export";
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    check(store, spec).await?;
    if let Target::Folder(folder) = &spec.target {
        if spec.request.allow_partial_manifests {
            let problem = "allowPartialManifests: the files of a folder appear all at once, at the end";
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        check_empty(folder)?;
    }
    let text = serde_json::to_vec(spec).map_err(|source| {
        Error::new(ErrorKind::Invalid, "the name of the folder is not Unicode").with_source(source)
    })?;
    let id = JobId::random(entropy);
    let job = NewJob {
        id,
        kind: EXPORT.to_owned(),
        spec: text,
        owner: owner.to_owned(),
        created: store.clock().now(),
    };
    store.catalog().create(job).await?;
    Ok(id)
}

/// Refuses a request that cannot be honoured, or of what is not there.
pub(super) async fn check(store: &Store, spec: &ExportSpec) -> Result<()> {
    let request = &spec.request;
    blocks::check(spec)?;
    if request.level == ExportLevel::System && request.patients.is_some() {
        let problem = "patient: the export of a whole system takes no patients";
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    match &request.level {
        ExportLevel::Group(id) => check_exists(store, ResourceType::GROUP, id).await?,
        ExportLevel::Patient(id) => check_exists(store, ResourceType::PATIENT, id).await?,
        ExportLevel::System | ExportLevel::AllPatients => {}
    }
    if !patient_faults(store, request).await?.is_empty() {
        let problem = "patient: some of the patients do not exist or are not members of the Group";
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    Ok(())
}

async fn check_exists(store: &Store, resource_type: ResourceType, id: &Id) -> Result<()> {
    let newest = store.catalog().newest(&[(resource_type, id.as_str())]).await?;
    match newest.first() {
        Some(Some(newest)) if !newest.deleted => Ok(()),
        _ => {
            let problem = format!("the {resource_type} that is to be exported does not exist");
            Err(Error::new(ErrorKind::NotFound, problem))
        }
    }
}

/// Old files beside new ones would look like one export.
fn check_empty(folder: &Path) -> Result<()> {
    let failed = |source| Error::io(format!("listing folder {}", folder.display()), source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if !is_hidden(&name) {
            let problem = format!("folder {} is not empty", folder.display());
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
    }
    Ok(())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
