//! Writes `manifest.json` with its receipt: [`write_manifest`].

use std::collections::BTreeMap;
use std::path::Path;

use fhirhose_auth::SigningKey;
use fhirhose_fhir::instant::Instant;
use serde_json::{Map, Value, json};
use url::Url;

use super::attachments::Attachments;
use super::folder::MANIFEST;
use super::ids;
use super::record::{Asked, RECEIPT_EXTENSION, RECEIPT_VERSION, Receipt, ReceiptFile};
use super::seal;
use crate::durable::put;
use crate::pull::{FileKind, MissingFile, PulledFile};
use crate::{Error, ErrorKind, Result};

/// The software's name in receipts.
const SOFTWARE: &str = concat!("fhirhose ", env!("CARGO_PKG_VERSION"));

/// What lies finished in a folder, for its manifest.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The server's manifest as JSON, its first page where there are several. What is not a list of files is kept; of `request` the
    /// parameter `patient` is left out.
    pub manifest: &'a str,
    /// The server's entry of each file, by the file's name, if it has further members that are to be kept. `url`, `count` and `fileSize` are
    /// written anew; `continuesInFile` must name a file of the folder.
    pub entries: &'a BTreeMap<String, Value>,
    /// The base URL of the server.
    pub source: Option<&'a Url>,
    /// What was asked for.
    pub asked: Option<Asked>,
    /// Now.
    pub created_at: Instant,
    /// The files, in the order of the manifest; they lie in the folder and are synced.
    pub files: &'a [PulledFile],
    /// Files that could not be had.
    pub missing: &'a [MissingFile],
}

/// Writes the manifest with a receipt into the folder, durably and in one step; signed if there is a key.
///
/// The first and last ids are read from the files; the rest is believed. Of what lies in `attachments/`, synced, under names that are an
/// [`AttachmentName`](super::AttachmentName), the list `attachments.sha256` is written first; the names are believed, too.
///
/// # Errors
/// [`ErrorKind::Disk`]; [`ErrorKind::Protocol`] for a manifest that is not a JSON object.
pub fn write_manifest(folder: &Path, delivery: &Delivery<'_>, key: Option<&SigningKey>) -> Result<Receipt> {
    let mut manifest: Map<String, Value> = serde_json::from_str(delivery.manifest)
        .map_err(|source| Error::new(ErrorKind::Protocol, "reading the manifest").caused_by(source))?;
    let mut receipt = receipt(folder, delivery, &manifest)?;
    put_files(&mut manifest, delivery);
    clean_request(&mut manifest);
    // A text that the manifest cannot hold by chance or on purpose: it depends on all of it.
    let placeholder = seal::digest(Value::Object(manifest.clone()).to_string().as_bytes());
    match key {
        Some(key) => {
            receipt.key = Some(key.public_jwk());
            receipt.signature = Some(placeholder.clone());
        }
        None => receipt.digest = Some(placeholder.clone()),
    }
    put_receipt(&mut manifest, json!(receipt));
    let mut text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
    text.push('\n');
    let text = seal::seal(&text, &placeholder, key)?;
    put(
        &folder.join(MANIFEST),
        &folder.join(".manifest.json.partial"),
        text.as_bytes(),
    )?;
    Ok(receipt)
}

fn receipt(folder: &Path, delivery: &Delivery<'_>, manifest: &Map<String, Value>) -> Result<Receipt> {
    let mut files = Vec::with_capacity(delivery.files.len());
    for file in delivery.files {
        let (first_id, last_id) = match file.kind {
            FileKind::Output => ids::first_and_last(&folder.join(&file.name))?,
            FileKind::Deleted | FileKind::Error => (None, None),
        };
        files.push(ReceiptFile {
            file: file.clone(),
            first_id,
            last_id,
        });
    }
    let there = Attachments::find(folder)?;
    let attachments = match there.names().is_empty() {
        true => None,
        false => Some(there.write_list(folder)?),
    };
    let transaction_time = manifest.get("transactionTime").and_then(Value::as_str);
    Ok(Receipt {
        receipt_version: RECEIPT_VERSION,
        created_at: delivery.created_at.to_string(),
        software: SOFTWARE.to_owned(),
        source: delivery.source.map(|url| without_secrets(url.clone())),
        transaction_time: transaction_time.unwrap_or_default().to_owned(),
        asked: delivery.asked.clone(),
        files,
        attachments,
        missing: delivery.missing.to_vec(),
        key: None,
        signature: None,
        digest: None,
    })
}

/// Puts the files of the folder in the place of the server's lists.
fn put_files(manifest: &mut Map<String, Value>, delivery: &Delivery<'_>) {
    let outcomes = match manifest.contains_key("outcome") {
        true => "outcome",
        false => "error",
    };
    manifest.remove("link");
    for (list, kind) in [
        ("output", FileKind::Output),
        ("deleted", FileKind::Deleted),
        (outcomes, FileKind::Error),
    ] {
        let files = delivery.files.iter().filter(|file| file.kind == kind);
        let entries: Vec<Value> = files
            .map(|file| entry(file, delivery.entries.get(&file.name)))
            .collect();
        manifest.insert(list.to_owned(), entries.into());
    }
}

/// The entry of a file: what the server says of it, with what it is here.
pub(crate) fn entry(file: &PulledFile, of_server: Option<&Value>) -> Value {
    let mut entry = of_server.and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(resource_type) = &file.resource_type {
        entry.insert("type".to_owned(), json!(resource_type));
    }
    entry.insert("url".to_owned(), json!(file.name));
    entry.insert("count".to_owned(), json!(file.lines));
    entry.insert("fileSize".to_owned(), json!(file.bytes));
    entry.into()
}

/// Adds the receipt to the manifest's extensions, an object by URL before STU4 and an array from then on.
fn put_receipt(manifest: &mut Map<String, Value>, receipt: Value) {
    match manifest.get_mut("extension") {
        Some(Value::Array(list)) => {
            list.retain(|each| each["url"] != RECEIPT_EXTENSION);
            list.push(json!({ "url": RECEIPT_EXTENSION, "receipt": receipt }));
        }
        Some(Value::Object(by_url)) => {
            by_url.insert(RECEIPT_EXTENSION.to_owned(), receipt);
        }
        _ => {
            manifest.insert("extension".to_owned(), json!({ RECEIPT_EXTENSION: receipt }));
        }
    }
}

/// Takes out of a manifest's `request` the patients that it names, and secrets.
pub(crate) fn clean_request(manifest: &mut Map<String, Value>) {
    if let Some(request) = manifest.get_mut("request").filter(|request| request.is_string()) {
        *request = without_patients(request.as_str().unwrap_or_default()).into();
    }
}

/// A request URL without the patients that it names and without secrets; what is no URL is kept.
fn without_patients(request: &str) -> String {
    let Ok(mut url) = Url::parse(request) else {
        return request.split('?').next().unwrap_or_default().to_owned();
    };
    let is_patient = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        matches!(name, "patient" | "access_token")
    };
    let query = url.query().map(|query| {
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_patient(pair)).collect();
        kept.join("&")
    });
    url.set_query(query.as_deref().filter(|query| !query.is_empty()));
    // A URL without a host has no place for these.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn without_secrets(mut url: Url) -> String {
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
