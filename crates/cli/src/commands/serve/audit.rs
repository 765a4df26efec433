//! The flags of `fhirhose serve` about the audit trail.

use clap::{Args, ValueEnum};
use fhirhose_server::audit::AuditSettings;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Whether entries of the audit trail are kept as AuditEvents in the store too
    #[arg(long, env = "FHIRHOSE_AUDIT_STORE", value_enum, default_value_t = StoreCopy::On)]
    audit_store: StoreCopy,

    /// The length of an audit file, in bytes, from which on a new one is begun
    #[arg(long, env = "FHIRHOSE_AUDIT_FILE_BYTES_MAX", value_name = "BYTES")]
    audit_file_bytes_max: Option<u64>,

    /// For how long requests that are refused alike are told in one entry of the audit trail, in seconds
    #[arg(long, env = "FHIRHOSE_AUDIT_REFUSAL_WINDOW_SECS", value_name = "SECONDS")]
    audit_refusal_window_secs: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreCopy {
    /// They can be read and searched with the scope system/AuditEvent.rs
    On,
    /// They are in the files only
    Off,
}

impl Audit {
    /// Takes over what is given; the rest keeps its defaults.
    pub(super) fn set(&self, settings: &mut AuditSettings) {
        settings.store_copy = self.audit_store == StoreCopy::On;
        let trail = &mut settings.trail;
        trail.file_bytes_max = self.audit_file_bytes_max.unwrap_or(trail.file_bytes_max);
        settings.refusal_window_secs = self
            .audit_refusal_window_secs
            .unwrap_or(settings.refusal_window_secs);
    }
}
