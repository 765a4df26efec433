//! Holds `attachments/` to the receipt: the set by the list that it binds, each file by its own name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::attachment_name::AttachmentName;
use super::attachments::{ATTACHMENTS_LIST, Attachments, Few, ReceiptAttachments, parse_line};
use super::files::open_plain;
use super::folder::PulledFolder;
use super::prove::{Extra, Proof};
use super::seal::hex;
use crate::{Error, Result};

/// Read at a time, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// The longest line of the list that is looked at, in bytes; a longer one is damage.
const LINE_BYTES_MAX: u64 = 1_024;

/// Where attachments of which it cannot be told which ones are told.
const FOLDER: &str = "attachments/";

/// What is there, held to the list.
struct Listed {
    /// Of each name that is there, in order, whether it is listed.
    is_listed: Vec<bool>,
    missing: Few,
}

impl PulledFolder {
    /// Proves the attachments, if the receipt says which there are; else they are told as extra files.
    pub(super) fn prove_attachments(
        &self,
        there: &Attachments,
        jobs: NonZeroUsize,
        heard: &(dyn Fn(u64) + Sync),
        proof: &mut Proof,
    ) -> Result<()> {
        let expected = self.receipt().and_then(|receipt| receipt.attachments.as_ref());
        let mut extra = Few::default();
        let listed = match expected {
            None => vec![false; there.names.len()],
            Some(expected) => match self.hold_to_list(expected, there, proof)? {
                Some(listed) => {
                    proof.damage_few(listed.missing, "is not there", "are not there");
                    listed.is_listed
                }
                // Their own names still say what they must be.
                None => vec![true; there.names.len()],
            },
        };
        for (name, _) in there
            .names
            .iter()
            .zip(&listed)
            .filter(|(_, is_listed)| !**is_listed)
        {
            extra.add(|| name.path());
        }
        proof.extra_few(extra, expected.is_some());
        proof.extra_few(there.strangers.clone(), expected.is_some());
        let contents = read_all(self.path(), &there.names, &listed, jobs, heard)?;
        proof.attachments += contents.files;
        proof.attachment_bytes += contents.bytes;
        let mut damaged = Few::default();
        for number in contents.damaged {
            damaged.add(|| there.names[number].path());
        }
        proof.damage_few(
            damaged,
            "has another SHA-256 than its name",
            "have another SHA-256 than their names",
        );
        Ok(())
    }

    /// Reads the list; `None` when it is not the one that the receipt binds, which is told.
    fn hold_to_list(
        &self,
        expected: &ReceiptAttachments,
        there: &Attachments,
        proof: &mut Proof,
    ) -> Result<Option<Listed>> {
        let path = self.path().join(ATTACHMENTS_LIST);
        let why = match open_plain(&path).and_then(|list| read_list(list, there)) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => "is not there",
            Err(source) => return Err(Error::disk("reading", &path, source)),
            Ok((_, digest)) if digest != expected.sha256 => "has another SHA-256 than is written down",
            Ok((None, _)) => "has a line that is not that of an attachment",
            Ok((listed, _)) => return Ok(listed),
        };
        proof.damage(ATTACHMENTS_LIST, None, why);
        if there.digest() != expected.sha256 {
            let why =
                "has not the files that the receipt was made of; which ones differ only the list can tell";
            proof.damage(FOLDER, None, why);
        }
        Ok(None)
    }
}

/// Holds what is there to a list, and gives the digest of the list; nothing but that for a list with other lines.
fn read_list(list: File, there: &Attachments) -> io::Result<(Option<Listed>, String)> {
    let (mut list, mut digest) = (BufReader::with_capacity(PIECE_BYTES, list), Sha256::new());
    let mut listed = Some(Listed {
        is_listed: vec![false; there.names.len()],
        missing: Few::default(),
    });
    let mut line = Vec::new();
    while (&mut list).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
        digest.update(&line);
        let name = line.strip_suffix(b"\n").and_then(parse_line);
        match (name, &mut listed) {
            (Some(name), Some(listed)) => match there.names.binary_search(&name) {
                Ok(number) => listed.is_listed[number] = true,
                Err(_) => listed.missing.add(|| name.path()),
            },
            _ => listed = None,
        }
        line.clear();
    }
    Ok((listed, hex(&digest.finalize())))
}

/// What the files turned out to be.
#[derive(Default)]
struct Contents {
    files: u64,
    bytes: u64,
    /// The numbers of those whose names are not true, in order.
    damaged: Vec<usize>,
    failure: Option<Error>,
}

/// Reads those that are listed, several at a time.
fn read_all(
    folder: &Path,
    names: &[AttachmentName],
    is_listed: &[bool],
    jobs: NonZeroUsize,
    heard: &(dyn Fn(u64) + Sync),
) -> Result<Contents> {
    let next = AtomicUsize::new(0);
    let contents = Mutex::new(Contents::default());
    let held = || contents.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..jobs.get().min(names.len()) {
            scope.spawn(|| {
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = names.get(number).filter(|_| held().failure.is_none()) else {
                        return;
                    };
                    if !is_listed[number] {
                        continue;
                    }
                    let path = folder.join(name.path());
                    let read = digest_of(&path, &mut piece, heard);
                    held().take(
                        number,
                        name,
                        read.map_err(|source| Error::disk("reading", &path, source)),
                    );
                }
            });
        }
    });
    let mut contents = contents.into_inner().unwrap_or_else(PoisonError::into_inner);
    contents.damaged.sort_unstable();
    match contents.failure.take() {
        Some(failure) => Err(failure),
        None => Ok(contents),
    }
}

impl Contents {
    fn take(&mut self, number: usize, name: &AttachmentName, read: Result<([u8; 32], u64)>) {
        match read {
            Err(failure) => self.failure = Some(failure),
            Ok((sha256, bytes)) => {
                self.files += 1;
                self.bytes += bytes;
                if sha256 != *name.sha256() {
                    self.damaged.push(number);
                }
            }
        }
    }
}

fn digest_of(path: &Path, piece: &mut [u8], heard: &(dyn Fn(u64) + Sync)) -> io::Result<([u8; 32], u64)> {
    let (mut file, mut digest, mut bytes) = (open_plain(path)?, Sha256::new(), 0);
    loop {
        let read = file.read(piece)?;
        if read == 0 {
            return Ok((digest.finalize().into(), bytes));
        }
        digest.update(&piece[..read]);
        bytes += read as u64;
        heard(read as u64);
    }
}

impl Proof {
    fn damage_few(&mut self, few: Few, is: &str, are: &str) {
        for file in few.named {
            self.damage(&file, None, is);
        }
        if few.further > 0 {
            self.damage(FOLDER, None, &format!("{} further files {are}", few.further));
        }
    }

    fn extra_few(&mut self, few: Few, is_data: bool) {
        let rest = (few.further > 0).then(|| FOLDER.to_owned());
        let files = few.named.into_iter().chain(rest);
        self.extra.extend(files.map(|file| Extra { file, is_data }));
    }
}
