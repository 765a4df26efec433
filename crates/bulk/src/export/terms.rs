//! What the status of an export depends on, of all that was asked for: [`StatusTerms`].

use fhirhose_fhir::export_request::Wire;
use serde::Deserialize;

use crate::{Error, ErrorKind, Result};

/// How a client wants to hear of its export; read from a job's specification without the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusTerms {
    /// The version of the standard in which the manifest is written.
    pub wire: Wire,
    /// The status of the export is told apart from that of the answer (K-23).
    pub separate_status: bool,
    /// Finished files may be shown while the export goes on (M-20).
    pub allow_partial_manifests: bool,
}

impl StatusTerms {
    /// Reads them from the specification of an export's job.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is no specification.
    pub fn parse(spec: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Spec {
            #[serde(default)]
            request: StatusTerms,
        }
        let spec: Spec = serde_json::from_slice(spec).map_err(|source| {
            Error::new(ErrorKind::Corrupt, "reading what an export was asked for").with_source(source)
        })?;
        Ok(spec.request)
    }
}
