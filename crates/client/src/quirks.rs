//! How servers in the field differ from the standard: [`Quirks`], read from data files.

use serde::{Deserialize, Serialize};

/// What is to be done differently with one kind of server. The default is the standard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Quirks {
    /// What the server is called.
    pub name: String,
    /// The longest wait that its `Retry-After` may ask for, in seconds.
    pub retry_after_secs_max: u64,
    /// It has no `_since` that can be relied upon: what changed is found by comparing two pulls.
    pub no_since: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            name: "standard".to_owned(),
            retry_after_secs_max: 300,
            no_since: false,
        }
    }
}
