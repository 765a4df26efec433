//! What the server holds, and the manifest that says so: [`SourceFile`].

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::manner::{Counts, ManifestShape, Manner};
use crate::pull::FileKind;
use crate::receipt::digest;

/// Where checksums are in the wild; not taken from what reads them.
const CHECKSUM_EXTENSION: &str = "https://dpc.cms.gov/checksum";

/// A file of an export. Its text is given by the test, right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Which list of the manifest it is of.
    pub kind: FileKind,
    /// What the manifest says its type is.
    pub resource_type: String,
    /// Its text.
    pub text: Bytes,
}

impl SourceFile {
    /// A file of resources.
    pub fn output(resource_type: &str, text: impl Into<Bytes>) -> Self {
        Self {
            kind: FileKind::Output,
            resource_type: resource_type.to_owned(),
            text: text.into(),
        }
    }

    /// A file of deletions.
    pub fn deleted(text: impl Into<Bytes>) -> Self {
        Self {
            kind: FileKind::Deleted,
            resource_type: "Bundle".to_owned(),
            text: text.into(),
        }
    }

    /// A file of OperationOutcomes.
    pub fn error(text: impl Into<Bytes>) -> Self {
        Self {
            kind: FileKind::Error,
            resource_type: "OperationOutcome".to_owned(),
            text: text.into(),
        }
    }

    /// Its lines that are not blank.
    pub fn lines(&self) -> u64 {
        let lines = self.text.split(|byte| *byte == b'\n');
        lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64
    }
}

/// What a page of a manifest is made of.
pub(super) struct Page<'a> {
    pub(super) transaction_time: String,
    pub(super) request: String,
    /// The files with their links.
    pub(super) files: Vec<(&'a SourceFile, String)>,
    pub(super) next: Option<String>,
}

impl Page<'_> {
    /// The text of the page in its server's shape, with a member that no version knows.
    pub(super) fn text(&self, manner: &Manner) -> String {
        let is_stu4 = manner.shape == ManifestShape::Stu4;
        let mut manifest = json!({
            "transactionTime": self.transaction_time,
            "requiresAccessToken": manner.files_want_token,
            "output": self.list(FileKind::Output, manner),
            "vendorsOwnMember": {"anything": [1, 2, 3]},
        });
        let errors = self.list(FileKind::Error, manner);
        if is_stu4 {
            manifest["outcome"] = errors;
        } else {
            manifest["request"] = json!(self.request);
            manifest["error"] = errors;
        }
        if manner.shape != ManifestShape::Stu1 {
            manifest["deleted"] = self.list(FileKind::Deleted, manner);
        }
        if let Some(next) = &self.next {
            manifest["link"] = json!([{"relation": "next", "url": next}]);
        }
        manifest.to_string()
    }

    fn list(&self, kind: FileKind, manner: &Manner) -> Value {
        let files = self.files.iter().filter(|(file, _)| file.kind == kind);
        files.map(|(file, url)| entry(file, url, manner)).collect()
    }
}

fn entry(file: &SourceFile, url: &str, manner: &Manner) -> Value {
    let is_stu4 = manner.shape == ManifestShape::Stu4;
    let mut entry = Map::new();
    entry.insert("url".to_owned(), json!(url));
    if !is_stu4 || file.kind == FileKind::Output {
        entry.insert("type".to_owned(), json!(file.resource_type));
    }
    let count = match manner.counts {
        Counts::True => Some(file.lines()),
        Counts::TooMany => Some(file.lines() + 1),
        Counts::None => None,
    };
    if let Some(count) = count.filter(|_| manner.shape != ManifestShape::Stu1) {
        entry.insert("count".to_owned(), json!(count));
    }
    if is_stu4 {
        entry.insert("fileSize".to_owned(), json!(file.text.len()));
    }
    if manner.checksums {
        let checksum = format!("sha256:{}", digest(&file.text));
        let extension = if is_stu4 {
            json!([{"url": CHECKSUM_EXTENSION, "valueString": checksum}])
        } else {
            json!({CHECKSUM_EXTENSION: {"valueString": checksum}})
        };
        entry.insert("extension".to_owned(), extension);
    }
    Value::Object(entry)
}
