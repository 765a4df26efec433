//! How the trail is kept: [`AuditSettings`].

use super::trail::TrailSettings;

/// How the audit trail is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// How its files are written.
    pub trail: TrailSettings,
    /// Whether entries are kept as AuditEvents in the store too, to be searched there. Default: yes.
    pub store_copy: bool,
    /// For how long requests that are refused alike are counted instead of told one by one, in seconds. Default: 60.
    pub refusal_window_secs: u64,
    /// Sorts of refused requests that are told apart at a time; all further ones are one. Default: 1,000.
    pub refusals_tracked_max: usize,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            trail: TrailSettings::default(),
            store_copy: true,
            refusal_window_secs: 60,
            refusals_tracked_max: 1_000,
        }
    }
}

impl AuditSettings {
    /// Settings for tests: entries are in the trail only, so that a store holds what the test put there.
    pub fn for_testing() -> Self {
        Self {
            store_copy: false,
            ..Self::default()
        }
    }
}
