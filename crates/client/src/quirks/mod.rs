//! How servers in the field differ from the standard: [`QuirkProfile`], data files on known servers, and [`Quirks`], what they make us
//! do differently.

mod adapt;
mod profile;

pub use profile::{Difference, QuirkProfile, Signs};

use serde::{Deserialize, Serialize};

/// What is to be done differently with one kind of server. The default is the standard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Quirks {
    /// What the server is called.
    pub name: String,
    /// The levels at which it exports: another is refused before it is asked. Empty: all.
    pub levels: Vec<QuirkLevel>,
    /// Whether it takes a kick-off by POST. Where it does not, what only a POST carries is refused before it is asked.
    pub takes_post: bool,
    /// Kick-off parameters that it refuses or, worse, ignores: they are refused before it is asked.
    pub unsupported_parameters: Vec<String>,
    /// How several types, elements and kinds of associated data are sent in the query of a GET (K-07).
    pub lists: ListForm,
    /// How several `_typeFilter` are sent in the query of a GET.
    pub type_filters: ListForm,
    /// Whether commas inside a `_typeFilter` are percent-encoded once more in a query (`%252C` there), for a server that cuts at every
    /// comma that it sees (K-07).
    pub escapes_filter_commas: bool,
    /// `_since` of an export that is asked for without: for a server that takes its absence as "since the last time".
    pub since_when_none: Option<String>,
    /// The longest wait that its `Retry-After` may ask for, in seconds.
    pub retry_after_secs_max: u64,
    /// The shortest wait between two polls, in seconds, whatever it says.
    pub poll_secs_min: u64,
    /// How long a kick-off that it answers with 429 is tried again, in seconds: it has one export at a time. 0: as for other trouble.
    pub busy_kick_off_secs_max: u64,
    /// Files that are fetched from it at a time, at most. 0: as many as the pull's settings say.
    pub parallel_downloads_max: usize,
    /// Its byte ranges are wrong: a file that broke off is fetched from its beginning.
    pub no_ranges: bool,
    /// A client has few exports of it, such as one of a Group in a day: none is begun just to look.
    pub exports_are_scarce: bool,
    /// It has no `_since` that can be relied upon: what changed is found by comparing two pulls.
    pub no_since: bool,
}

/// A level of export, as far as servers differ in having it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuirkLevel {
    /// `$export`.
    System,
    /// `Patient/$export`.
    Patient,
    /// `Group/[id]/$export`.
    Group,
}

/// How several values of one parameter are written in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListForm {
    /// In one parameter, parted by commas.
    Commas,
    /// In one parameter each.
    Repeats,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            name: "standard".to_owned(),
            levels: Vec::new(),
            takes_post: true,
            unsupported_parameters: Vec::new(),
            lists: ListForm::Commas,
            type_filters: ListForm::Repeats,
            escapes_filter_commas: false,
            since_when_none: None,
            retry_after_secs_max: 300,
            poll_secs_min: 0,
            busy_kick_off_secs_max: 0,
            parallel_downloads_max: 0,
            no_ranges: false,
            exports_are_scarce: false,
            no_since: false,
        }
    }
}
