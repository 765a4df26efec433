//! The output manifest of an export (spec §2.2): written in the shape of STU3 or STU4, read from any server.
//!
//! [`Manifest::to_json`] is the server's side, [`Manifest::parse`] the client's. There is one [`Manifest`] inside; what the versions of
//! the standard write differently is in `write.rs`, what servers in the field write is in `read.rs`.

mod read;
mod write;

use crate::error::{Error, ErrorKind, Result};
use crate::export_request::Wire;
use crate::instant::Instant;
use crate::outcome::Severity;
use crate::resource_type::ResourceType;

/// The extension with the SHA-256 of a file's text, in the form that servers in the field use: `sha256:` and lower-case hex (F-16).
pub const CHECKSUM_EXTENSION: &str = "https://dpc.cms.gov/checksum";

/// The extension with the length of a file's text in bytes, where the version has no `fileSize` (F-16).
pub const LENGTH_EXTENSION: &str = "https://dpc.cms.gov/file_length";

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManifestFile {
    /// The type of every resource in it; `Bundle` in `deleted`, `OperationOutcome` in `error`; `None` in an `output` that is organised by
    /// instance.
    ///
    /// A name of 1 to 64 ASCII letters and digits, not a [`ResourceType`]: a server of another FHIR version may
    /// have types that R4 does not know, and a client wants those files too.
    pub resource_type: Option<String>,
    /// Where it is: absolute when we write it; a foreign server's may be relative to its status URL.
    pub url: String,
    /// The number of lines in it.
    pub count: Option<u64>,
    /// The length of its text in bytes; before STU4 an extension tells it ([`LENGTH_EXTENSION`]).
    pub file_size: Option<u64>,
    /// Where the last block of this file goes on, if it does (spec §2.6).
    pub continues_in_file: Option<String>,
    /// How many issues of each severity an outcome file has; only STU4 tells it.
    pub severities: Vec<(Severity, u64)>,
    /// The SHA-256 of its text in lower-case hex, if it is known ([`CHECKSUM_EXTENSION`]).
    pub sha256: Option<String>,
}

/// What a finished export hands out, or a page of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The snapshot's instant: nothing later is in the files, and everything that matches up to and including it is.
    pub transaction_time: Instant,
    /// The exact kick-off URL; empty when a server leaves it out (STU4).
    pub request: String,
    /// Whether the files want the client's token. A client must not send it when this is `false` (F-05).
    pub requires_access_token: bool,
    /// The type whose instances head the blocks of the output files, if they are organised (spec §2.6).
    pub output_organized_by: Option<ResourceType>,
    /// Files of resources.
    pub output: Vec<ManifestFile>,
    /// Files of transaction Bundles with deletions (M-30, M-31); left out when there are none.
    pub deleted: Vec<ManifestFile>,
    /// Files of OperationOutcomes: `error` before STU4, `outcome` from then on.
    pub error: Vec<ManifestFile>,
    /// The URL of the next page, if there is one (M-24).
    pub next: Option<String>,
}

impl Manifest {
    /// Writes one compact JSON object (`application/json`) in the shape of a version of the standard.
    ///
    /// STU3 has always `request`, `output` and `error`; STU4 has neither `request` nor empty lists, says `outcome` for `error` and
    /// adds `manifestType`, `outputFormat`, `fileSize` and `countSeverity`.
    pub fn to_json(&self, wire: Wire) -> String {
        write::write(self, wire)
    }

    /// Reads the manifest of any server; the caller bounds the size of `body`.
    ///
    /// Tolerated: missing or null lists, `outcome` for `error` (STU4), no `request`, `requiresAccessToken` as a string, items of
    /// `deleted` and `error` without a type, `count` as a string or null, and unknown members. A missing
    /// `requiresAccessToken` is read as `false`, the side on which no token leaks. The caller looks at [`next`](Self::next): there may
    /// be more.
    ///
    /// # Errors
    /// [`Json`](crate::error::ErrorKind::Json) if it is not JSON of that shape; [`Invalid`](crate::error::ErrorKind::Invalid) if
    /// `transactionTime` is no instant, an item has no URL or a type that is no name, or a file of an output that is not organised by
    /// instance has no type; [`Unsupported`](crate::error::ErrorKind::Unsupported) if the output is organised by a type that R4 does
    /// not have, or goes on on several pages at once.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let received = read::read(body)?;
        received.instant.ok_or_else(|| {
            let problem = "the manifest's transactionTime is not an instant";
            Error::new(ErrorKind::Invalid, problem)
        })?;
        Ok(received.manifest)
    }

    /// Reads as [`parse`](Self::parse) does, but takes any text as `transactionTime`: there are servers whose is no instant, and the text
    /// is good for their own `_since` (CL-12).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but for the time.
    pub fn receive(body: &[u8]) -> Result<Received> {
        read::read(body)
    }
}

/// A manifest as it came from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it says. Its `transaction_time` is [`Instant::MIN`] where the text is no instant.
    pub manifest: Manifest,
    /// `transactionTime` as it was written.
    pub transaction_time: String,
    /// The same as an instant, if it is one.
    pub instant: Option<Instant>,
}
