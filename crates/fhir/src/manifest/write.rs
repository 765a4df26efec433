//! Writes manifests in the shapes of STU3 and STU4 (spec §0.1).

use serde::Serialize;
use serde_json::{Value, json};

use super::{CHECKSUM_EXTENSION, LENGTH_EXTENSION, Manifest, ManifestFile};
use crate::export_request::Wire;
use crate::instant::Instant;
use crate::outcome::Severity;

/// What STU4 calls the manifest of an export.
const MANIFEST_TYPE: &str = "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/BulkDataManifest";

const OUTPUT_FORMAT: &str = "application/fhir+ndjson";

/// The manifest on the wire; each version leaves out what it does not have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wired<'a> {
    transaction_time: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    requires_access_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_organized_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Vec<WiredFile<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Vec<WiredFile<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Vec<WiredFile<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Vec<WiredFile<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<[Link<'a>; 1]>,
}

#[derive(Serialize)]
struct Link<'a> {
    relation: &'static str,
    url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WiredFile<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    continues_in_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    count_severity: Vec<CountSeverity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<Value>,
}

#[derive(Serialize)]
struct CountSeverity {
    code: Severity,
    count: u64,
}

pub(super) fn write(manifest: &Manifest, wire: Wire) -> String {
    let wired = match wire {
        Wire::Stu3 => stu3(manifest),
        Wire::Stu4 => stu4(manifest),
    };
    serde_json::to_string(&wired).expect("a manifest has only string keys, which always serialise")
}

fn stu3(manifest: &Manifest) -> Wired<'_> {
    Wired {
        request: Some(&manifest.request),
        output: Some(manifest.output.iter().map(stu3_file).collect()),
        deleted: some(manifest.deleted.iter().map(stu3_file).collect()),
        error: Some(manifest.error.iter().map(stu3_file).collect()),
        ..common(manifest)
    }
}

/// Lists that are empty are left out, as in all JSON of FHIR.
fn stu4(manifest: &Manifest) -> Wired<'_> {
    let untyped = |file| WiredFile {
        r#type: None,
        ..stu4_file(file)
    };
    Wired {
        manifest_type: Some(MANIFEST_TYPE),
        output_format: Some(OUTPUT_FORMAT),
        output: some(manifest.output.iter().map(stu4_file).collect()),
        deleted: some(manifest.deleted.iter().map(untyped).collect()),
        outcome: some(manifest.error.iter().map(untyped).collect()),
        ..common(manifest)
    }
}

fn common(manifest: &Manifest) -> Wired<'_> {
    let next = |url| {
        [Link {
            relation: "next",
            url,
        }]
    };
    Wired {
        transaction_time: manifest.transaction_time,
        request: None,
        requires_access_token: manifest.requires_access_token,
        manifest_type: None,
        output_format: None,
        output_organized_by: manifest
            .output_organized_by
            .map(crate::resource_type::ResourceType::name),
        output: None,
        deleted: None,
        error: None,
        outcome: None,
        link: manifest.next.as_deref().map(next),
    }
}

/// Extensions are an object by URL, each value an object.
fn stu3_file(file: &ManifestFile) -> WiredFile<'_> {
    let mut extensions = serde_json::Map::new();
    if let Some(sha256) = &file.sha256 {
        let checksum = json!({"valueString": checksum(sha256)});
        extensions.insert(CHECKSUM_EXTENSION.to_owned(), checksum);
    }
    if let Some(bytes) = file.file_size {
        extensions.insert(LENGTH_EXTENSION.to_owned(), json!({"valueDecimal": bytes}));
    }
    WiredFile {
        r#type: file.resource_type.as_deref(),
        url: &file.url,
        continues_in_file: file.continues_in_file.as_deref(),
        count: file.count,
        file_size: None,
        count_severity: Vec::new(),
        extension: (!extensions.is_empty()).then(|| extensions.into()),
    }
}

/// Extensions are an array of FHIR Extensions.
fn stu4_file(file: &ManifestFile) -> WiredFile<'_> {
    let extension = |sha256| json!([{"url": CHECKSUM_EXTENSION, "valueString": checksum(sha256)}]);
    let severity = |(code, count): &(Severity, u64)| CountSeverity {
        code: *code,
        count: *count,
    };
    WiredFile {
        file_size: file.file_size,
        count_severity: file.severities.iter().map(severity).collect(),
        extension: file.sha256.as_deref().map(extension),
        ..stu3_file(file)
    }
}

fn checksum(sha256: &str) -> String {
    format!("sha256:{sha256}")
}

fn some(files: Vec<WiredFile<'_>>) -> Option<Vec<WiredFile<'_>>> {
    (!files.is_empty()).then_some(files)
}
