//! How a server always is: [`Manner`].

use std::time::Duration;

use fhirhose_auth::Jwks;

/// How a server always is. The default is a good one of STU3 that needs no token and is done at once.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The shape of its manifests.
    pub shape: ManifestShape,
    /// How long an export takes.
    pub takes: Duration,
    /// What a status under way says in `Retry-After`.
    pub retry_after: RetryAfter,
    /// What it says in `X-Progress`.
    pub progress: Option<String>,
    /// The status that a job ends with instead of a manifest.
    pub job_fails: Option<u16>,
    /// Tokens that it wants.
    pub tokens: Option<TokenManner>,
    /// Whether files want a token; where they do not, they take none (F-05).
    pub files_want_token: bool,
    /// Where its files are.
    pub file_host: FileHost,
    /// How long a link to a file is good; for ever when `None`.
    pub links_last: Option<Duration>,
    /// How it says that a link is good no more.
    pub expired_link: ExpiredLink,
    /// Its entity tags of files.
    pub entity_tag: EntityTag,
    /// Whether it hears `Range` not at all.
    pub ignores_ranges: bool,
    /// How its files are coded.
    pub coding: FileCoding,
    /// What its manifest says of its files.
    pub counts: Counts,
    /// Whether the manifest has checksums.
    pub checksums: bool,
    /// Its manifest's pages.
    pub pages: Pages,
    /// Whether it offers `separate-export-status` (CL-06).
    pub separate_status: bool,
    /// Whether its `Content-Location` and links to files are relative.
    pub relative_urls: bool,
    /// What its manifests have as `transactionTime`; the time of the kick-off when `None`.
    pub transaction_time: Option<String>,
    /// Whether it refuses a repeated `_type`.
    pub refuses_repeated_type: bool,
    /// Whether it takes no kick-off while an earlier job is not deleted.
    pub one_export_at_a_time: bool,
    /// What a DELETE is answered instead of 202.
    pub delete_status: Option<u16>,
    /// How slowly it sends files, in real time.
    pub slow_bodies: Option<SlowBodies>,
}

/// A manifest's shape by the version of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManifestShape {
    /// No `deleted`, no counts.
    Stu1,
    /// With `deleted` and counts.
    Stu2,
    /// With `link`.
    #[default]
    Stu3,
    /// `outcome`, no `request`, `fileSize`, extensions as an array.
    Stu4,
}

/// `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryAfter {
    /// None.
    #[default]
    None,
    /// Seconds.
    Secs(u64),
    /// A date so many seconds ahead.
    Date(u64),
    /// Something that nobody can read.
    Nonsense,
}

/// How it gives tokens.
#[derive(Debug, Clone)]
pub struct TokenManner {
    /// The client that it knows.
    pub client_id: String,
    /// That client's keys.
    pub keys: Jwks,
    /// How long tokens are good, in seconds.
    pub lifetime_secs: u64,
}

/// Where files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileHost {
    /// At the FHIR server.
    #[default]
    Own,
    /// At another host, by their links.
    Other,
    /// At another host, by a redirect with this status.
    Redirected(u16),
}

/// How it is said that a link is good no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiredLink {
    /// 403 with the XML of an object store.
    #[default]
    Forbidden,
    /// 404.
    NotFound,
    /// 410.
    Gone,
}

/// Entity tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EntityTag {
    /// One a file, strong.
    #[default]
    Strong,
    /// One a file, weak.
    Weak,
    /// None.
    None,
    /// Another one in each answer.
    Restless,
}

/// How files are coded for a client that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileCoding {
    /// Not at all.
    #[default]
    Identity,
    /// gzip, one member.
    Gzip,
    /// gzip, a member for each few lines.
    GzipMembers,
    /// zstd, one frame.
    Zstd,
    /// zstd, a frame for each few lines.
    ZstdFrames,
    /// gzip of gzip.
    GzipTwice,
    /// One that nobody knows.
    Unknown,
}

/// What the manifest says of the number of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counts {
    /// The truth.
    #[default]
    True,
    /// Nothing.
    None,
    /// One more than there are.
    TooMany,
}

/// A manifest's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pages {
    /// Files on each; all on one when `None`.
    pub files_each: Option<usize>,
    /// Whether each page lists the last file of the page before again.
    pub repeats: bool,
    /// Whether the order of the files on a page is another one each time that it is fetched.
    pub restless: bool,
}

/// How slowly files are sent, in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowBodies {
    /// So many bytes at once.
    pub bytes: usize,
    /// Then this pause.
    pub pause: Duration,
}
