//! What resources link to: [`AttachmentArgs`].

use crate::failure::usage;
use crate::typed::Typed;
use anyhow::Result;
use clap::Args;
use fhirhose_client::pull::AttachmentSettings;

/// Which attachments are downloaded, and where they go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Attachments")]
pub(crate) struct AttachmentArgs {
    /// Downloads what DocumentReferences, DiagnosticReports and Media link to into attachments/, and has their lines lead there; with media
    /// types only what is of one, or begins so
    #[arg(
        long,
        alias = "downloadAttachments",
        env = "FHIRHOSE_DOWNLOAD_ATTACHMENTS",
        value_name = "MIME,…",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    download_attachments: Option<String>,

    /// Puts attachments of fewer bytes into their resources, and not into attachments/
    #[arg(
        long,
        alias = "inlineDocRefAttachmentsSmallerThan",
        default_value_t = 0,
        value_name = "BYTES"
    )]
    inline_attachments_below: u64,

    /// Media types of which attachments are put into their resources
    #[arg(
        long,
        alias = "inlineDocRefAttachmentTypes",
        default_values = ["text/plain", "application/pdf"],
        value_delimiter = ',',
        value_name = "MIME,…"
    )]
    inline_attachment_types: Vec<String>,

    /// Leaves attachments that cannot be had at the server: nothing is missing then
    #[arg(long, alias = "ignoreAttachmentDownloadErrors")]
    ignore_attachment_errors: bool,
}

impl AttachmentArgs {
    /// Reads the flags; refuses those that would change nothing.
    pub(super) fn settings(&self, typed: &Typed, is_into_store: bool) -> Result<Option<AttachmentSettings>> {
        if is_into_store {
            let why = "is for --out: in a store of --into, links to files would lead nowhere. Pull into a folder, which keeps both";
            typed.refuse(&["download_attachments"], why)?;
        }
        let types = match self.download_attachments.as_deref().map(str::trim) {
            // A variable that names them for all commands counts less.
            Some(types) if !is_into_store => read(types)?,
            _ => None,
        };
        let Some(types) = types else {
            let others = [
                "inline_attachments_below",
                "inline_attachment_types",
                "ignore_attachment_errors",
            ];
            typed.refuse(&others, "is for --download-attachments")?;
            return Ok(None);
        };
        if self.inline_attachments_below == 0 {
            typed.refuse(
                &["inline_attachment_types"],
                "is for --inline-attachments-below BYTES",
            )?;
        }
        Ok(Some(AttachmentSettings {
            types,
            inline_below_bytes: self.inline_attachments_below,
            inline_types: self.inline_attachment_types.clone(),
            ignores_errors: self.ignore_attachment_errors,
            ..AttachmentSettings::default()
        }))
    }
}

/// The types that are wanted, none of them meaning all; `None` where no attachment is.
fn read(types: &str) -> Result<Option<Vec<String>>> {
    match types {
        "" | "false" => return Ok(None),
        "true" => return Ok(Some(Vec::new())),
        _ => {}
    }
    let types: Vec<String> = types.split(',').map(|each| each.trim().to_owned()).collect();
    match types.iter().any(String::is_empty) {
        true => Err(usage(
            "--download-attachments takes media types, such as application/pdf,text/",
        )),
        false => Ok(Some(types)),
    }
}
