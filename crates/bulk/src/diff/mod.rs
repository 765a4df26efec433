//! The difference of two full pulls, as an incremental export: [`diff_folders`].
//!
//! Servers without `_since` are followed so: what is new or changed in B comes out as files of resources, what is gone as `deleted` Bundles
//! (M-31), with a manifest in the shape of an export with `_since` = the `transactionTime` of A. Whether a resource has changed decides its
//! content ([`fhirhose_fhir::content_hash`]), not its version.
//!
//! Both folders are read once, their resources sorted by type and id in bounded memory (`sort.rs`), and joined (`join.rs`). What cannot be
//! compared, such as a narrower `_type`, is refused or left out by name (`comparable.rs`), so that nothing seems gone that was not asked for.

mod comparable;
mod index;
mod join;
mod output;
mod sort;

use std::path::Path;
use std::sync::Arc;

use fhirhose_auth::SigningKey;
use fhirhose_client::receipt::PulledFolder;
use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};
use comparable::Scope;
use output::Output;

/// How two folders are compared.
#[derive(Debug, Clone)]
pub struct DiffSettings {
    /// Whether another `meta.versionId`, `meta.lastUpdated` or `meta.source` alone is a change.
    pub strict: bool,
    /// Whether folders that were asked for with `_elements` are taken. An incomplete copy never replaces a complete one (CL-15).
    pub subsetted: bool,
    /// Only these types; empty compares all.
    pub types: Vec<String>,
    /// The `transactionTime` of B where B has none.
    pub transaction_time: Option<String>,
    /// Memory for sorting, in bytes, for each folder. Default: 64 MiB.
    pub sort_bytes: usize,
    /// The most text that a file holds, in bytes, but for a single resource that is longer. Default: 1 GiB.
    pub file_bytes_max: u64,
    /// The longest line, in bytes. Default: 64 MiB.
    pub line_bytes_max: usize,
    /// What signs the receipt.
    pub receipt_key: Option<Arc<SigningKey>>,
}

impl Default for DiffSettings {
    fn default() -> Self {
        Self {
            strict: false,
            subsetted: false,
            types: Vec::new(),
            transaction_time: None,
            sort_bytes: 64 << 20,
            file_bytes_max: 1 << 30,
            line_bytes_max: 64 << 20,
            receipt_key: None,
        }
    }
}

/// What two folders differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// The `transactionTime` of B, verbatim: that of the result.
    pub transaction_time: String,
    /// The `transactionTime` of A, verbatim: the `_since` of the result.
    pub since: Option<String>,
    /// The counts of each type, sorted by name.
    pub types: Vec<TypeDiff>,
    /// Files of the result.
    pub files: u64,
    /// What a reader should know: types that were not compared, resources that came twice.
    pub notes: Vec<String>,
}

/// The counts of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeDiff {
    /// The type.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// In B only.
    pub added: u64,
    /// In both, with other content.
    pub changed: u64,
    /// In A only.
    pub removed: u64,
    /// In both, the same.
    pub same: u64,
}

/// Writes what B has more or otherwise than A, and what it has no more, into the folder `out`, which must be absent or empty.
///
/// The folder appears in one step when it is whole. `heard` is told of bytes of text as they are read, from two threads. For a blocking thread.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the two cannot be compared, with the reason; [`ErrorKind::NotFound`] and [`ErrorKind::Corrupt`] for folders
/// that cannot be read or hold what is no resource; [`ErrorKind::InputChanged`] if B changes meanwhile; [`ErrorKind::DiskFull`].
pub fn diff_folders(
    a: &Path,
    b: &Path,
    out: &Path,
    settings: &DiffSettings,
    created_at: Instant,
    heard: &(dyn Fn(u64) + Sync),
) -> Result<DiffReport> {
    let (older, newer) = (PulledFolder::open(a)?, PulledFolder::open(b)?);
    let scope = Scope::of(&older, &newer, settings)?;
    let output = Output::begin(out)?;
    let sides = std::thread::scope(|threads| {
        let of_a = threads.spawn(|| index::index(&older, &output.scratch("a"), settings, heard));
        let of_b = index::index(&newer, &output.scratch("b"), settings, heard);
        let of_a = of_a
            .join()
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Storage, "reading the older folder")));
        Ok::<_, Error>((of_a?, of_b?))
    });
    let sides = sides?;
    join::join(sides, &newer, scope, output, settings, created_at)
}
