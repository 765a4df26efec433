//! Where a sync brings to: the trait [`Target`], and its kinds.

mod bundle;
mod import;
mod store;

pub use bundle::BundleTarget;
pub use import::ImportTarget;
pub use store::StoreTarget;

use std::fmt::Debug;
use std::path::PathBuf;

use async_trait::async_trait;
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};

use super::reports::Reports;
use crate::Result;

/// A file of changes: resources, each once in all files of a round, or Bundles of deletions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeFile {
    /// Where it lies: NDJSON, plain, gzip or zstd.
    pub path: PathBuf,
    /// The type of all its lines, if they have one.
    pub resource_type: Option<ResourceType>,
    /// Its lines.
    pub lines: u64,
}

/// What a step came to at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Resources that are as they should be now.
    pub done: u64,
    /// Lines that the target has refused; they are in the reports.
    pub refused: u64,
}

/// Takes resources and deletions. What is asked twice comes to the same.
#[async_trait]
pub trait Target: Send + Sync + Debug {
    /// Names it: the same for the same target, nothing secret.
    fn name(&self) -> String;

    /// Creates or replaces every resource of the files under its id. What the target refuses goes to the reports as it came.
    ///
    /// # Errors
    /// When not everything could be tried.
    async fn put(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied>;

    /// Deletes what the Bundles of the files name; what is not there is fine. What is refused goes to the reports as Bundle lines.
    ///
    /// # Errors
    /// When not everything could be tried.
    async fn delete(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied>;
}
