//! How much single requests over resources may ask for: [`RestSettings`].

/// Limits of searches, histories and Bundles. Each is of one request, but for `searches_parallel`.
#[derive(Debug, Clone, Copy)]
pub struct RestSettings {
    /// Matches on a page when `_count` is not given. Default: 100.
    pub page_entries: u32,
    /// Matches on a page at most; a greater `_count` gets this. Default: 1,000.
    pub page_entries_max: u32,
    /// Text of resources on a page, in bytes, after which it ends early with a link to the next. Default: 16 MiB.
    pub page_bytes_max: usize,
    /// Rows that a search looks at; then its page ends early with a link to the next. Default: 1,000,000.
    pub search_rows_max: u64,
    /// Text that a search looks at, in bytes, as the rows. Default: 1 GiB.
    pub search_bytes_max: u64,
    /// Searches that scan at a time, of all clients; further ones wait. Default: 4.
    pub searches_parallel: usize,
    /// Resources that a page of `$digest` names; how many it looks at is as for searches. Default: 10,000.
    pub digest_entries_max: usize,
    /// Resources that `_include` and `_revinclude` add to a page; what is left out is told. Default: 1,000.
    pub included_max: usize,
    /// Entries of a batch or transaction. Default: 10,000.
    pub bundle_entries_max: usize,
    /// Rows that all searches and conditions of a batch or transaction look at together; further ones look at one row each, and tell
    /// that it was not enough. Default: 10,000,000.
    pub bundle_rows_max: u64,
    /// Text that they look at together, in bytes, as the rows. Default: 10 GiB.
    pub bundle_bytes_max: u64,
    /// Text with which the reads of a batch or transaction are answered, in bytes; the read that passes it is the last,
    /// and conditional creates that find their resource are answered without it from then on. Default: 64 MiB.
    pub bundle_reads_bytes_max: usize,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self {
            page_entries: 100,
            page_entries_max: 1_000,
            page_bytes_max: 16 << 20,
            search_rows_max: 1_000_000,
            search_bytes_max: 1 << 30,
            searches_parallel: 4,
            digest_entries_max: 10_000,
            included_max: 1_000,
            bundle_entries_max: 10_000,
            bundle_rows_max: 10_000_000,
            bundle_bytes_max: 10 << 30,
            bundle_reads_bytes_max: 64 << 20,
        }
    }
}

impl RestSettings {
    /// The limits with their names; none may be 0.
    pub(crate) fn limits(&self) -> [(&'static str, u64); 12] {
        [
            ("page_entries", self.page_entries.into()),
            ("page_entries_max", self.page_entries_max.into()),
            ("page_bytes_max", self.page_bytes_max as u64),
            ("search_rows_max", self.search_rows_max),
            ("search_bytes_max", self.search_bytes_max),
            ("searches_parallel", self.searches_parallel as u64),
            ("digest_entries_max", self.digest_entries_max as u64),
            ("included_max", self.included_max as u64),
            ("bundle_entries_max", self.bundle_entries_max as u64),
            ("bundle_rows_max", self.bundle_rows_max),
            ("bundle_bytes_max", self.bundle_bytes_max),
            ("bundle_reads_bytes_max", self.bundle_reads_bytes_max as u64),
        ]
    }
}
