//! The key that signs receipts, as a flag: [`ReceiptKeyArgs`]. Without the flag it is one of the user's own, made at first use.

use crate::commands::say;
use crate::secret::read_signing_key;
use crate::state_folder::state_folder;
use anyhow::{Context, Result};
use clap::Args;
use fhirhose_auth::{Algorithm, SigningKey};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the user's own key lies, below the folder for state.
const OWN_KEY: &str = "fhirhose/receipt-key.pem";

/// Which key signs receipts.
#[derive(Debug, Args)]
pub(crate) struct ReceiptKeyArgs {
    /// File with the private key that signs the receipt, PEM or JWK [default: a key of your own, made at first use]
    #[arg(long, env = "FHIRHOSE_RECEIPT_KEY", value_name = "FILE")]
    receipt_key: Option<PathBuf>,
}

impl ReceiptKeyArgs {
    /// The key; `None` where none is named and there is no place for one of the user's own: then receipts are not signed.
    pub(crate) fn key(&self) -> Result<Option<SigningKey>> {
        if let Some(file) = &self.receipt_key {
            return read_key(file).map(Some);
        }
        let Some(file) = own_key_file() else {
            tracing::info!(
                "no home folder, so no key of the user's own: the receipt has a digest in place of a signature"
            );
            return Ok(None);
        };
        if !file.exists() {
            make_key(&file).with_context(|| format!("making the receipt key {}", file.display()))?;
            say(&format!("made a key that signs receipts: {}", file.display()));
        }
        read_key(&file).map(Some)
    }
}

/// The thumbprint of the user's own key, if there is one.
pub(crate) fn own_thumbprint() -> Option<String> {
    let file = own_key_file().filter(|file| file.exists())?;
    Some(read_key(&file).ok()?.verifying_key().thumbprint())
}

/// Reads a private key, PEM or JWK.
pub(crate) fn read_key(file: &Path) -> Result<SigningKey> {
    read_signing_key("receipt key", file)
}

fn own_key_file() -> Option<PathBuf> {
    Some(state_folder()?.join(OWN_KEY))
}

/// Makes a key that only its user can read. Of several processes that do so at a time, one wins, and its key is whole when it is seen.
fn make_key(file: &Path) -> Result<()> {
    let folder = file.parent().context("the file lies in no folder")?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = folder.join(format!(".receipt-key.{}", std::process::id()));
    let key = SigningKey::generate(Algorithm::Es384)?;
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    out.write_all(key.to_pem().as_bytes())?;
    out.sync_all()?;
    let linked = fs::hard_link(&draft, file);
    fs::remove_file(&draft)?;
    match linked {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => Err(source.into()),
        _ => Ok(()),
    }
}
