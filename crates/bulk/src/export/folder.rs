//! An export into a folder: files are made in a hidden folder within it, and moved to their names when all are whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fhirhose_fhir::export_request::Wire;
use fhirhose_jobs::JobId;
use serde_json::{Value, json};

use super::result::{ExportResult, FileKind, ResultFile};
use super::state::Part;
use crate::{Error, Result};

/// The manifest's name in the folder.
const MANIFEST: &str = "manifest.json";

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

/// Moves the files to their names, writes the manifest last, and removes the hidden folder.
pub(super) fn publish(folder: &Path, staging: &Path, result: &mut ExportResult) -> Result<()> {
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
    write_manifest(folder, result)
}

/// Removes the hidden folder with all that is in it.
pub(super) fn remove_staging(staging: &Path) -> Result<()> {
    match fs::remove_dir_all(staging) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("removing", staging, source)),
        _ => Ok(()),
    }
}

/// The manifest of STU3 with file names as URLs, and what proves each file whole in its `extension`.
fn write_manifest(folder: &Path, result: &ExportResult) -> Result<()> {
    let manifest = result.manifest(false, |file| file.name.clone());
    let mut manifest: Value = manifest
        .to_json(Wire::Stu3)
        .parse()
        .expect("a manifest is written as JSON");
    for (list, kind) in [
        ("output", FileKind::Output),
        ("deleted", FileKind::Deleted),
        ("error", FileKind::Error),
    ] {
        let files = result.files.iter().filter(|file| file.kind == kind);
        let items = manifest.get_mut(list).and_then(Value::as_array_mut);
        for (item, file) in items.into_iter().flatten().zip(files) {
            item["extension"] = proof(file);
        }
    }
    let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    text.push(b'\n');
    let (partial, path) = (folder.join(".manifest.json.partial"), folder.join(MANIFEST));
    let written = fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path));
    written.map_err(|source| failed("writing", &path, source))
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
