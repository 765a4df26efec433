//! What a receipt says: [`Receipt`].

use fhirhose_fhir::export_request::ExportLevel;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::attachments::ReceiptAttachments;
use crate::kick_off::ExportParameters;
use crate::pull::{MissingFile, PulledFile};

/// The URL of the extension of `manifest.json` that holds a receipt.
pub const RECEIPT_EXTENSION: &str = "urn:fhirhose:receipt";

/// The form of receipts that is written here, and the newest that is read.
pub(super) const RECEIPT_VERSION: u32 = 1;

/// What a folder was when it was finished, by whom and from where.
///
/// Signed, it has `key` and `signature`; else `digest`. Both bind the exact bytes of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The form of the receipt: 1.
    pub receipt_version: u32,
    /// When the folder was finished, by the clock of the machine that did it.
    pub created_at: String,
    /// The software that made it, with its version.
    pub software: String,
    /// The base URL of the server that the files are from; none where they come straight out of a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `transactionTime` as the server wrote it (CL-12).
    pub transaction_time: String,
    /// What was asked for, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The files, in the order of the manifest.
    pub files: Vec<ReceiptFile>,
    /// What lies in `attachments/`, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<ReceiptAttachments>,
    /// Files that could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingFile>,
    /// The public key of the signer, as a JWK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// A JWS in compact form; its payload has as `sha-256` the digest of `manifest.json` without the text of the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Where there is no signature: the digest of `manifest.json` without the text of the digest, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// One file of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptFile {
    /// Name, kind, type, lines, bytes and SHA-256.
    #[serde(flatten)]
    pub file: PulledFile,
    /// The id of its first resource, if that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_id: Option<String>,
    /// The id of its last resource, if that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
}

/// A kick-off as a receipt tells it: all that decides which resources come, in the standard's words, and of `patient` only a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Whose data.
    pub level: ExportLevel,
    /// `_since`, verbatim.
    #[serde(rename = "_since", default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// `_until`, verbatim.
    #[serde(rename = "_until", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `_type`; empty asks for all.
    #[serde(rename = "_type", default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// `_elements`; empty asks for whole resources.
    #[serde(rename = "_elements", default, skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
    /// `_typeFilter`.
    #[serde(rename = "_typeFilter", default, skip_serializing_if = "Vec::is_empty")]
    pub type_filters: Vec<String>,
    /// `includeAssociatedData`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_associated_data: Vec<String>,
    /// `organizeOutputBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organize_output_by: Option<String>,
    /// SHA-256 over the ids of `patient`, sorted, each with a line feed; none where all patients of the level were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patients_sha256: Option<String>,
    /// Further parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom: Vec<(String, String)>,
}

impl Asked {
    /// Everything of a level.
    pub fn new(level: ExportLevel) -> Self {
        Self::from(&ExportParameters::new(level))
    }

    /// What stands for a list of patients: their ids are not told.
    pub fn digest_of_patients<'a>(ids: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let mut ids: Vec<&str> = ids
            .into_iter()
            .map(|id| id.strip_prefix("Patient/").unwrap_or(id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut digest = Sha256::new();
        for id in &ids {
            digest.update(id);
            digest.update("\n");
        }
        (!ids.is_empty()).then(|| super::seal::hex(&digest.finalize()))
    }
}

impl From<&ExportParameters> for Asked {
    fn from(parameters: &ExportParameters) -> Self {
        let is_told = |pair: &&(String, String)| pair.0 != "patient";
        Self {
            level: parameters.level.clone(),
            since: parameters.since.clone(),
            until: parameters.until.clone(),
            types: parameters.types.clone(),
            elements: parameters.elements.clone(),
            type_filters: parameters.type_filters.clone(),
            include_associated_data: parameters.associated_data.clone(),
            organize_output_by: parameters.organize_output_by.clone(),
            patients_sha256: Self::digest_of_patients(parameters.patients.iter().map(String::as_str)),
            custom: parameters.custom.iter().filter(is_told).cloned().collect(),
        }
    }
}
