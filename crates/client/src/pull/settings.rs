//! What a pull may do and how long it tries: [`PullSettings`].

use std::sync::Arc;

use fhirhose_auth::SigningKey;
use url::Url;

/// How much a pull does at a time, how long it tries, and what it holds files to.
#[derive(Debug, Clone)]
pub struct PullSettings {
    /// Files that are fetched at a time.
    pub parallel_downloads: usize,
    /// How often one file is tried without getting any further.
    pub file_attempts_max: u32,
    /// How often the server may put one file off (429, 5xx) before it counts as missing.
    pub file_busy_max: u32,
    /// The first wait after a failure, in milliseconds; it doubles each time, and is up to a quarter shorter so that not all come at once.
    pub backoff_ms_min: u64,
    /// The longest wait after a failure, in milliseconds.
    pub backoff_ms_max: u64,
    /// The longest line, in bytes.
    pub line_bytes_max: usize,
    /// The most pages of a manifest.
    pub pages_max: usize,
    /// The most files.
    pub files_max: usize,
    /// The most text of all pages of the manifest, in bytes; it is held in memory.
    pub manifest_bytes_max: u64,
    /// The longest journal, in bytes; pages of the manifest are in it each time that they have grown.
    pub journal_bytes_max: u64,
    /// How long an export may take, in seconds, before it is given up.
    pub export_secs_max: u64,
    /// Whether a file whose lines are not as many as the manifest's `count` is refused.
    pub count_is_binding: bool,
    /// Whether a file of another type than the manifest's is refused.
    pub type_is_binding: bool,
    /// Whether the files of each page of a manifest lie in a folder of their own: `0/`, `1/` …
    pub page_folders: bool,
    /// Whether `log.ndjson` is written.
    pub log: bool,
    /// Whether each answer of the status goes into `log.ndjson`.
    pub log_status_progress: bool,
    /// Goes on with an export that was kicked off elsewhere, by its status URL.
    pub status_url: Option<Url>,
    /// Whether the server is told at the end that its files can go.
    pub deletes_job: bool,
    /// How attachments are downloaded; without it they are not.
    pub attachments: Option<AttachmentSettings>,
    /// What signs the receipt in `manifest.json`; without it the receipt has a bare digest.
    pub receipt_key: Option<Arc<SigningKey>>,
}

impl Default for PullSettings {
    fn default() -> Self {
        Self {
            parallel_downloads: 5,
            file_attempts_max: 5,
            file_busy_max: 50,
            backoff_ms_min: 500,
            backoff_ms_max: 60_000,
            line_bytes_max: 64 << 20,
            pages_max: 100_000,
            files_max: 1_000_000,
            manifest_bytes_max: 1 << 30,
            journal_bytes_max: 4 << 30,
            export_secs_max: 30 * 24 * 60 * 60,
            count_is_binding: true,
            type_is_binding: true,
            page_folders: false,
            log: true,
            log_status_progress: false,
            status_url: None,
            deletes_job: true,
            attachments: None,
            receipt_key: None,
        }
    }
}

/// Which attachments are downloaded, and where their contents go.
#[derive(Debug, Clone)]
pub struct AttachmentSettings {
    /// Media types, or how they begin; every attachment where there is none.
    pub types: Vec<String>,
    /// Contents of fewer bytes are put into their resources, if they are of `inline_types`.
    pub inline_below_bytes: u64,
    /// Media types, or how they begin.
    pub inline_types: Vec<String>,
    /// Whether an attachment that cannot be had is left where it is, and nothing is missing then.
    pub ignores_errors: bool,
    /// The largest content, in bytes.
    pub attachment_bytes_max: u64,
    /// The longest Binary as FHIR JSON, in bytes; one at a time is held in memory.
    pub binary_bytes_max: u64,
    /// The most URLs; about 150 bytes are held in memory for each.
    pub attachments_max: usize,
}

impl Default for AttachmentSettings {
    /// All of them, none of them put into resources.
    fn default() -> Self {
        Self {
            types: Vec::new(),
            inline_below_bytes: 0,
            inline_types: vec!["text/plain".to_owned(), "application/pdf".to_owned()],
            ignores_errors: false,
            attachment_bytes_max: 256 << 20,
            binary_bytes_max: 64 << 20,
            attachments_max: 10_000_000,
        }
    }
}
