//! `fhirhose verify`: proves that a folder is what it was when it was finished.

use super::{print, say};
use crate::failure::PARTIAL;
use crate::progress::{self, Bar};
use crate::receipt_key::{own_thumbprint, read_key};
use anyhow::{Context, Result, bail};
use clap::Args;
use fhirhose_auth::Jwks;
use fhirhose_client::ErrorKind;
use fhirhose_client::receipt::{
    ATTACHMENTS, Damage, Proof, ProveSettings, PulledFolder, ReceiptAttachments, Sealed, Standing,
};
use fhirhose_jobs::Progress;
use serde_json::json;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keys that a file may name, at most this long.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Proves that a pulled or exported folder is whole and unchanged
///
/// The receipt in manifest.json says what each file was, and a signature binds it. Told are the first damaged files, with the line where
/// it can be found, files that are missing, and files that nobody has named. Attachments are held to their list, which the receipt
/// binds, and to their names, and each link to one must lead somewhere. Folders of other clients have no receipt: then each line is
/// read and the counts of the manifest are compared, which proves less. Exit code 0: whole; 3: not whole; 1: it cannot be read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose verify files
  fhirhose verify files --signer 0fkzbU2J…     only if this key has signed it
  fhirhose verify files --key their-jwks.json --deep
  fhirhose verify files --json | jq .damages")]
pub(crate) struct Verify {
    /// Folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// File with the signer's key: a JWK or JWKS, public or private, or a private key in PEM
    #[arg(
        long,
        env = "FHIRHOSE_VERIFY_KEY",
        value_name = "FILE",
        conflicts_with = "signer"
    )]
    key: Option<PathBuf>,

    /// Thumbprint (RFC 7638, SHA-256) of the signer's key
    #[arg(long, env = "FHIRHOSE_SIGNER", value_name = "THUMBPRINT")]
    signer: Vec<String>,

    /// Reads each line too: it must be a resource of the file's type
    #[arg(long)]
    deep: bool,

    /// Files that are read at a time [default: one a core]
    #[arg(long, env = "FHIRHOSE_JOBS", value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Prints what was found as JSON on stdout
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Proves the folder, prints what was found, and says by the exit code whether it is whole.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut settings = ProveSettings {
            deep: self.deep,
            signers: self.signers()?,
            ..ProveSettings::default()
        };
        if let Some(jobs) = self.jobs {
            settings.jobs = jobs;
        }
        let folder = match PulledFolder::open(&self.folder) {
            Err(error) if error.kind() == ErrorKind::Corrupt => return self.tell_broken(&error.to_string()),
            opened => opened?,
        };
        let proof = prove(&folder, &settings)?;
        if self.json {
            print(&format!("{}\n", to_json(&folder, &proof)))?;
        } else {
            print(&table(&proof))?;
        }
        say(&verdict(&folder, &proof));
        Ok(match proof.is_whole() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(PARTIAL),
        })
    }

    /// Tells of a manifest that is damaged beyond reading.
    fn tell_broken(&self, why: &str) -> Result<ExitCode> {
        if self.json {
            let damages = [Damage {
                file: "manifest.json".to_owned(),
                line: None,
                why: why.to_owned(),
            }];
            print(&format!("{}\n", json!({ "whole": false, "damages": damages })))?;
        } else {
            print(&format!("damaged\tmanifest.json\t\t{why}\n"))?;
        }
        say("not whole: the manifest is damaged, so nothing is known of the files");
        Ok(ExitCode::from(PARTIAL))
    }

    /// The thumbprints of the keys that are trusted; empty where none is named.
    fn signers(&self) -> Result<Vec<String>> {
        let Some(file) = &self.key else {
            return Ok(self.signer.clone());
        };
        let signers = thumbprints(file).with_context(|| format!("reading the key in {}", file.display()))?;
        if signers.is_empty() {
            bail!("{} has no key that signs", file.display());
        }
        Ok(signers)
    }
}

/// The keys of a file: a JWKS, a JWK, or a private key in either form.
fn thumbprints(file: &Path) -> Result<Vec<String>> {
    if std::fs::metadata(file)?.len() > KEY_BYTES_MAX {
        bail!("it is longer than {KEY_BYTES_MAX} bytes");
    }
    let text = std::fs::read_to_string(file)?;
    let parsed: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let is_private = |jwk: &serde_json::Value| jwk.get("d").is_some();
    let jwks = match parsed {
        Some(jwks) if jwks.get("keys").is_some() => jwks,
        Some(jwk) if !is_private(&jwk) => json!({ "keys": [jwk] }),
        _ => return Ok(vec![read_key(file)?.verifying_key().thumbprint()]),
    };
    let keys = Jwks::parse(jwks.to_string().as_bytes())?;
    Ok(keys.iter().map(fhirhose_auth::VerifyingKey::thumbprint).collect())
}

fn prove(folder: &PulledFolder, settings: &ProveSettings) -> Result<Proof> {
    let files: u64 = folder.files().iter().filter_map(|file| file.bytes).sum();
    let total = files + attachments(folder).map_or(0, |attachments| attachments.bytes);
    let (bar, done) = (Bar::bytes("verify"), AtomicU64::new(0));
    let proof = folder.prove(settings, &|bytes| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        bar.show(&Progress {
            done,
            total,
            ..Progress::default()
        });
    });
    bar.clear();
    Ok(proof?)
}

/// The attachments that the receipt tells of.
fn attachments(folder: &PulledFolder) -> Option<&ReceiptAttachments> {
    folder.receipt()?.attachments.as_ref()
}

fn to_json(folder: &PulledFolder, proof: &Proof) -> serde_json::Value {
    json!({
        "whole": proof.is_whole(),
        "receipt": folder.standing() == Standing::WithReceipt,
        "transactionTime": folder.transaction_time(),
        "source": folder.source(),
        "sealed": proof.sealed,
        "files": proof.files,
        "lines": proof.lines,
        "bytes": proof.bytes,
        "attachments": proof.attachments,
        "attachmentBytes": proof.attachment_bytes,
        "damages": proof.damages,
        "extra": proof.extra,
    })
}

fn table(proof: &Proof) -> String {
    let mut text = String::new();
    for damage in &proof.damages {
        let line = damage.line.map(|line| line.to_string()).unwrap_or_default();
        let _ = writeln!(text, "damaged\t{}\t{line}\t{}", damage.file, damage.why);
    }
    for extra in &proof.extra {
        let why = match extra.is_data {
            true if Path::new(&extra.file).starts_with(ATTACHMENTS) => {
                "is an attachment that nobody has named"
            }
            true => "is data that nobody has named",
            false => "is not part of it",
        };
        let _ = writeln!(text, "extra\t{}\t\t{why}", extra.file);
    }
    text
}

fn verdict(folder: &PulledFolder, proof: &Proof) -> String {
    let (files, lines) = (progress::count(proof.files), progress::count(proof.lines));
    let bytes = progress::bytes(proof.bytes);
    let mut text = match proof.is_whole() {
        true => "whole".to_owned(),
        false => "not whole".to_owned(),
    };
    let _ = write!(text, ": {files} files, {lines} lines, {bytes}");
    if proof.attachments > 0 {
        let (count, bytes) = (
            progress::count(proof.attachments),
            progress::bytes(proof.attachment_bytes),
        );
        let _ = write!(text, ", {count} attachments of {bytes}");
    }
    if let Some(time) = folder.transaction_time() {
        let _ = write!(text, ", as of {time}");
    }
    if let Some(source) = folder.source() {
        let _ = write!(text, ", from {source}");
    }
    let sealed = match (&proof.sealed, folder.standing()) {
        (Sealed::By(signer), _) if own_thumbprint().as_ref() == Some(signer) => {
            format!("signed by your own key, {signer}")
        }
        (Sealed::By(signer), _) => format!("signed by {signer}; --signer or --key says whom you expect"),
        (Sealed::Digest, _) => {
            "not signed: a digest shows accidents, and no change made on purpose".to_owned()
        }
        (Sealed::Broken, _) => "the receipt does not hold".to_owned(),
        (Sealed::Nothing, Standing::WithoutManifest) => {
            "without a manifest: each line was read, and nothing says whether all are there".to_owned()
        }
        (Sealed::Nothing, _) => {
            "without a receipt: lines and counts were compared, which proves less".to_owned()
        }
    };
    let _ = write!(text, "\n{sealed}");
    text
}
