//! The limits of a pull: [`PullSettings`].

/// How much a pull does at a time, and how long it tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSettings {
    /// Files that are fetched at a time.
    pub parallel_downloads: usize,
    /// How often one file is tried.
    pub file_attempts_max: u32,
    /// The longest line, in bytes.
    pub line_bytes_max: usize,
    /// How long an export may take, in seconds, before it is given up.
    pub export_secs_max: u64,
    /// Whether the server is told at the end that its files can go.
    pub deletes_job: bool,
}

impl Default for PullSettings {
    fn default() -> Self {
        Self {
            parallel_downloads: 5,
            file_attempts_max: 5,
            line_bytes_max: 64 << 20,
            export_secs_max: 30 * 24 * 60 * 60,
            deletes_job: true,
        }
    }
}
