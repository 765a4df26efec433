//! Puts the content of one attachment on the disk: [`keep`].
//!
//! It runs in a thread of its own. The content goes to a temporary file as it comes; a Binary as FHIR JSON is taken apart when it is there.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{Context as Sha1, SHA1_FOR_LEGACY_USE_ONLY};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::ATTACHMENT_PARTIAL;
use super::known::Content;
use super::rules::{Rules, essence, extension};
use super::scan::Wanted;
use crate::decode::{Coding, DecodeLimits, Decoder, RestartPoint};
use crate::http::name;
use crate::pull::folder::PullFolder;
use crate::pull::run::held;
use crate::receipt::{AttachmentName, hex};
use crate::{Error, ErrorKind, Result};

/// What comes.
pub(super) enum Piece {
    Bytes(Bytes),
    /// All has come.
    End,
}

/// What is kept, and how.
pub(super) struct Keeping {
    pub(super) folder: PullFolder,
    pub(super) wanted: Wanted,
    pub(super) rules: Arc<Rules>,
    pub(super) coding: Coding,
    /// The media type of the answer.
    pub(super) answered_type: Option<String>,
    pub(super) binaries: Arc<Mutex<()>>,
}

/// A content in the temporary file.
struct Written {
    bytes: u64,
    sha256: Sha256,
    sha1: Sha1,
    file: File,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBinary<'a> {
    #[serde(borrow)]
    resource_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

/// Writes a content to the disk, holds it to what its attachment says, and gives it its name. Blocks the thread.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for what cannot be the content; [`ErrorKind::Disk`], [`ErrorKind::DiskFull`].
pub(super) fn keep(keeping: &Keeping, pieces: mpsc::Receiver<Piece>) -> Result<Content> {
    let partial = format!("{ATTACHMENT_PARTIAL}{}.partial", hex(&keeping.wanted.key));
    let partial = keeping.folder.hidden(&partial);
    let kept = keeping.take(&partial, pieces);
    if kept.is_err() {
        // It begins again from its first byte.
        let _ = fs::remove_file(&partial);
    }
    kept
}

impl Keeping {
    fn take(&self, partial: &Path, pieces: mpsc::Receiver<Piece>) -> Result<Content> {
        let mut written = self.write(partial, pieces)?;
        let mut answered_type = self.answered_type.clone();
        if self.may_be_binary() {
            let _one = held(&self.binaries);
            if let Some((content, media_type)) = self.of_binary(partial, written.bytes)? {
                written = Written::create(partial)?;
                written.push(&content, partial)?;
                answered_type = media_type;
            } else if self.wanted.content_type.as_deref().is_some_and(is_no_json) {
                return Err(self.wrong("answers with a resource that is no Binary"));
            }
        }
        let own_type = answered_type.filter(|_| self.wanted.content_type.is_none());
        self.publish(partial, written, own_type)
    }

    fn write(&self, partial: &Path, mut pieces: mpsc::Receiver<Piece>) -> Result<Written> {
        let bytes_max = self.rules.settings.attachment_bytes_max;
        let mut written = Written::create(partial)?;
        let mut decoder = Decoder::new(self.coding, RestartPoint::default(), DecodeLimits::default())?;
        while let Some(piece) = pieces.blocking_recv() {
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::End => {
                    decoder.finish()?;
                    return Ok(written);
                }
            };
            decoder.push(&bytes, &mut |text| {
                if written.bytes + text.len() as u64 > bytes_max {
                    return Err(self.wrong(&format!("is longer than {bytes_max} bytes")));
                }
                written.push(text, partial)
            })?;
        }
        Err(Error::new(ErrorKind::Unreachable, "an attachment was left"))
    }

    /// Whether the answer is JSON that was not asked for as such.
    fn may_be_binary(&self) -> bool {
        match essence(self.answered_type.as_deref().unwrap_or_default()).as_str() {
            "application/fhir+json" | "application/json+fhir" => true,
            "application/json" => self.wanted.content_type.as_deref().is_none_or(is_no_json),
            _ => false,
        }
    }

    /// The content of a Binary and its type, if that is what came.
    fn of_binary(&self, partial: &Path, bytes: u64) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let bytes_max = self.rules.settings.binary_bytes_max;
        if bytes > bytes_max {
            return Err(self.wrong(&format!("is a resource of more than {bytes_max} bytes")));
        }
        let text = fs::read(partial).map_err(|source| Error::disk("reading", partial, source))?;
        let binary: WireBinary<'_> =
            serde_json::from_slice(&text).map_err(|_| self.wrong("answers with what is no JSON"))?;
        if binary.resource_type.as_deref() != Some("Binary") {
            return Ok(None);
        }
        let data = binary
            .data
            .ok_or_else(|| self.wrong("is a Binary without `data`"))?;
        let data: Cow<'_, [u8]> = match data.bytes().any(|byte| byte.is_ascii_whitespace()) {
            true => data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect(),
            false => Cow::Borrowed(data.as_bytes()),
        };
        let content = STANDARD.decode(&*data);
        let content = content.map_err(|_| self.wrong("is a Binary whose `data` is no base64"))?;
        Ok(Some((content, binary.content_type.map(Cow::into_owned))))
    }

    /// Gives a content its name, if it can be what the attachment says.
    fn publish(&self, partial: &Path, written: Written, own_type: Option<String>) -> Result<Content> {
        let wanted = &self.wanted;
        let sha256 = written.sha256.finalize();
        if let Some(hash) = &wanted.hash
            && !is_hash(hash, written.sha1.finish().as_ref(), &sha256)
        {
            return Err(self.wrong("is not what the `hash` of the attachment says"));
        }
        if written.bytes == 0 && wanted.size.is_some_and(|size| size > 0) {
            return Err(self.wrong("is empty"));
        }
        let media_type = wanted.content_type.as_deref().or(own_type.as_deref());
        let mut file_name = hex(&sha256);
        let extension = extension(media_type, &wanted.url);
        if !extension.is_empty() {
            file_name = format!("{file_name}.{extension}");
        }
        let content = Content {
            name: AttachmentName::parse(&file_name)
                .expect("a digest, and an extension of letters and digits"),
            bytes: written.bytes,
            other_size: wanted.size.is_some_and(|size| size != written.bytes),
            media_type: own_type.clone().map(Into::into),
        };
        let path = match self.rules.inlines(media_type, content.bytes) {
            true => content.hidden_path(&self.folder),
            false => content.path(&self.folder),
        };
        let synced = written.file.sync_all();
        synced.map_err(|source| Error::disk("writing", partial, source))?;
        name_content(partial, &path)?;
        Ok(content)
    }

    fn wrong(&self, why: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{} {why}", name(&self.wanted.url)))
    }
}

impl Written {
    fn create(partial: &Path) -> Result<Self> {
        Ok(Self {
            bytes: 0,
            sha256: Sha256::new(),
            sha1: Sha1::new(&SHA1_FOR_LEGACY_USE_ONLY),
            file: File::create(partial).map_err(|source| Error::disk("opening", partial, source))?,
        })
    }

    fn push(&mut self, bytes: &[u8], partial: &Path) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        let written = self.file.write_all(bytes);
        written.map_err(|source| Error::disk("writing", partial, source))
    }
}

/// Renames a synced file; its folder is made when absent.
pub(super) fn name_content(partial: &Path, path: &PathBuf) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent)
        .and_then(|()| fs::rename(partial, path))
        .map_err(|source| Error::disk("naming", path, source))
}

fn is_no_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    !(essence.ends_with("/json") || essence.ends_with("+json") || essence == "application/json+fhir")
}

/// Whether a hash can be the one of a content. FHIR has SHA-1 in base64; hex, hex in base64 and SHA-256 are about. What can be none of them
/// says nothing.
fn is_hash(hash: &str, sha1: &[u8], sha256: &[u8]) -> bool {
    let hash = hash.trim();
    let decoded = STANDARD.decode(hash).unwrap_or_default();
    let text = std::str::from_utf8(&decoded).unwrap_or_default();
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for digits in [hash, text] {
        match digits.len() {
            40 if is_digits(digits) => return digits.eq_ignore_ascii_case(&hex(sha1)),
            64 if is_digits(digits) => return digits.eq_ignore_ascii_case(&hex(sha256)),
            _ => {}
        }
    }
    match decoded.len() {
        20 => decoded == sha1,
        32 => decoded == sha256,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_in_each_form_that_is_about() {
        let content = b"hello";
        let mut sha1 = Sha1::new(&SHA1_FOR_LEGACY_USE_ONLY);
        sha1.update(content);
        let (sha1, sha256) = (sha1.finish(), Sha256::digest(content));
        let sha1 = sha1.as_ref();
        for right in [
            STANDARD.encode(sha1),
            hex(sha1).to_uppercase(),
            STANDARD.encode(hex(sha1)),
            STANDARD.encode(sha256),
            hex(&sha256),
            "no hash".to_owned(),
        ] {
            assert!(is_hash(&right, sha1, &sha256), "{right}");
        }
        let other = [1; 32];
        for wrong in [
            STANDARD.encode(&other[..20]),
            hex(&other),
            STANDARD.encode(hex(&other[..20])),
        ] {
            assert!(!is_hash(&wrong, sha1, &sha256), "{wrong}");
        }
    }
}
