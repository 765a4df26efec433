//! An export into a folder: files are made in a hidden folder within it, and moved to their names when all are whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fhirhose_auth::SigningKey;
use fhirhose_client::pull::PulledFile;
use fhirhose_client::receipt::{Asked, Delivery, MANIFEST, write_manifest};
use fhirhose_fhir::export_request::{AssociatedData, ExportRequest, Wire};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::JobId;
use serde_json::{Value, json};

use super::result::{ExportResult, FileKind, ResultFile};
use super::state::Part;
use crate::{Error, Result};

/// Where the files of a job are made.
pub(super) fn staging_path(folder: &Path, job: &JobId) -> PathBuf {
    folder.join(format!(".export-{job}"))
}

/// Forgets the parts whose finished files are not as long as they were: a power cut may have taken what was not synced.
pub(super) fn check_staged(staging: &Path, parts: &mut [Part]) {
    for part in parts {
        let is_whole = |name: &str, bytes: u64| {
            fs::metadata(staging.join(name)).is_ok_and(|found| found.is_file() && found.len() == bytes)
        };
        if !part.files.iter().all(|file| is_whole(&file.name, file.bytes)) {
            part.restart();
        }
    }
}

/// How the manifest of a folder is written.
pub(super) struct Finish<'a> {
    /// What was asked for.
    pub(super) request: &'a ExportRequest,
    /// The key that signs the receipt.
    pub(super) key: Option<&'a SigningKey>,
    /// Now.
    pub(super) created_at: Instant,
}

/// Moves the files to their names, writes the manifest last, and removes the hidden folder.
pub(super) fn publish(
    folder: &Path,
    staging: &Path,
    result: &mut ExportResult,
    finish: &Finish<'_>,
) -> Result<()> {
    for file in &mut result.files {
        let target = folder.join(&file.name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|source| failed("creating", parent, source))?;
        }
        fs::rename(staging.join(&file.stored_name), &target)
            .map_err(|source| failed("writing", &target, source))?;
        file.stored_name.clone_from(&file.name);
    }
    remove_staging(staging)?;
    put_manifest(folder, result, finish)
}

/// Removes the hidden folder with all that is in it.
pub(super) fn remove_staging(staging: &Path) -> Result<()> {
    match fs::remove_dir_all(staging) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("removing", staging, source)),
        _ => Ok(()),
    }
}

/// The manifest of STU3 with file names as URLs, what proves each file whole in its `extension`, and the receipt.
///
/// Where no SHA-256 was computed there is no receipt.
fn put_manifest(folder: &Path, result: &ExportResult, finish: &Finish<'_>) -> Result<()> {
    let manifest = result.manifest(false, |file| file.name.clone());
    let mut manifest: Value = manifest
        .to_json(Wire::Stu3)
        .parse()
        .expect("a manifest is written as JSON");
    let mut entries = BTreeMap::new();
    for (list, kind) in [
        ("output", FileKind::Output),
        ("deleted", FileKind::Deleted),
        ("error", FileKind::Error),
    ] {
        let files = result.files.iter().filter(|file| file.kind == kind);
        let items = manifest.get_mut(list).and_then(Value::as_array_mut);
        for (item, file) in items.into_iter().flatten().zip(files) {
            item["extension"] = proof(file);
            entries.insert(file.name.clone(), item.clone());
        }
    }
    let files: Option<Vec<PulledFile>> = result.files.iter().map(pulled).collect();
    let Some(files) = files else {
        return put_bare(folder, &manifest);
    };
    let delivery = Delivery {
        manifest: &manifest.to_string(),
        entries: &entries,
        source: None,
        asked: Some(asked(finish.request)),
        created_at: finish.created_at,
        files: &files,
        missing: &[],
    };
    write_manifest(folder, &delivery, finish.key)?;
    Ok(())
}

fn put_bare(folder: &Path, manifest: &Value) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
    text.push(b'\n');
    let (partial, path) = (folder.join(".manifest.json.partial"), folder.join(MANIFEST));
    let written = fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path));
    written.map_err(|source| failed("writing", &path, source))
}

fn pulled(file: &ResultFile) -> Option<PulledFile> {
    Some(PulledFile {
        name: file.name.clone(),
        kind: match file.kind {
            FileKind::Output => fhirhose_client::pull::FileKind::Output,
            FileKind::Deleted => fhirhose_client::pull::FileKind::Deleted,
            FileKind::Error => fhirhose_client::pull::FileKind::Error,
        },
        resource_type: file.resource_type.clone(),
        lines: file.count,
        bytes: file.bytes,
        sha256: file.sha256.clone()?,
    })
}

/// What a request decides, for the receipt; of patients only a digest.
fn asked(request: &ExportRequest) -> Asked {
    let types = request.types.iter().flatten();
    let patients = request.patients.iter().flatten().map(Id::as_str);
    Asked {
        since: request.since.map(|since| since.to_string()),
        until: request.until.map(|until| until.to_string()),
        types: types.map(|each| each.name().to_owned()).collect(),
        elements: request.elements.clone().map(Vec::from).unwrap_or_default(),
        type_filters: request.type_filters.iter().cloned().map(String::from).collect(),
        include_associated_data: associated(request.associated_data),
        organize_output_by: request.organize_output_by.map(|each| each.name().to_owned()),
        patients_sha256: Asked::digest_of_patients(patients),
        ..Asked::new(request.level.clone())
    }
}

fn associated(data: AssociatedData) -> Vec<String> {
    match data {
        AssociatedData::Default => Vec::new(),
        AssociatedData::LatestProvenance => vec!["LatestProvenanceResources".to_owned()],
        AssociatedData::RelevantProvenance => vec!["RelevantProvenanceResources".to_owned()],
    }
}

fn proof(file: &ResultFile) -> Value {
    let mut proof = json!({ "bytes": file.bytes });
    if let Some(sha256) = &file.sha256 {
        proof["sha-256"] = json!(sha256);
    }
    proof
}

fn failed(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format!("{doing} {}", path.display()), source)
}
