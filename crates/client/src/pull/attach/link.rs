//! Writes a file anew, its lines leading to the attachments that are there.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fhirhose_fhir::attachment::{Attachment, Change, absolute_url, rewrite};
use sha2::{Digest, Sha256};

use super::keep::name_content;
use super::known::{Content, Known};
use super::rules::{Rules, key};
use super::scan::each_line;
use super::{ATTACHMENT_PARTIAL, Links};
use crate::pull::event::PullEvent;
use crate::pull::folder::PullFolder;
use crate::pull::journal::{Journal, Record};
use crate::pull::report::PulledFile;
use crate::pull::run::{Run, blocking, held};
use crate::receipt::hex;
use crate::{Error, ErrorKind, Result};

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 128 << 10;

/// What the members around an inlined content may add, in bytes.
const MEMBERS_BYTES: u64 = 300;

/// A file that is written anew.
struct Linking {
    folder: PullFolder,
    file: PulledFile,
    rules: Arc<Rules>,
    known: Arc<Mutex<Known>>,
    journal: Arc<Mutex<Journal>>,
}

/// Why a file is not written anew.
enum Stop {
    /// It links to something that could not be had.
    Missing,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Run<'_> {
    /// Has the lines of a file lead to its attachments, if all of them are there.
    ///
    /// # Errors
    /// The disk; [`ErrorKind::Corrupt`] for a file that is not as it came.
    pub(super) async fn link(
        &self,
        file: PulledFile,
        rules: &Arc<Rules>,
        known: &Arc<Mutex<Known>>,
    ) -> Result<()> {
        let linking = Linking {
            folder: self.folder.clone(),
            file,
            rules: Arc::clone(rules),
            known: Arc::clone(known),
            journal: Arc::clone(&self.journal),
        };
        let Some((file, links)) = blocking(move || linking.link()).await? else {
            return Ok(());
        };
        held(&self.attached.linked).insert(file.name.clone(), links);
        if let Some((known, _)) = held(&self.done).get_mut(&file.name) {
            *known = file.clone();
        }
        self.watch.hear(&PullEvent::FileLinked {
            name: &file.name,
            sha256: &file.sha256,
            bytes: file.bytes,
        });
        Ok(())
    }
}

impl Linking {
    /// Writes the file anew and gives it its name; `None` where something that it links to is missing.
    fn link(&self) -> Result<Option<(PulledFile, Links)>> {
        let partial = self.folder.linked_partial(&self.file.name);
        let written = self.write(&partial);
        let (file, links) = match written {
            Ok(written) => written,
            Err(stop) => {
                // It is written from its beginning the next time.
                let _ = fs::remove_file(&partial);
                return match stop {
                    Stop::Missing => Ok(None),
                    Stop::Failed(error) => Err(error),
                };
            }
        };
        let linking = Record::Linking {
            file: file.clone(),
            links,
        };
        held(&self.journal).keep(&linking)?;
        if file == self.file {
            let _ = fs::remove_file(&partial);
        } else {
            name_content(&partial, &self.folder.path(&file.name))?;
        }
        let linked = Record::Linked {
            file: file.name.clone(),
        };
        held(&self.journal).note(&linked)?;
        Ok(Some((file, links)))
    }

    /// Writes the lines to the temporary file, synced.
    fn write(&self, partial: &Path) -> Result<(PulledFile, Links), Stop> {
        let failed = |source| Stop::Failed(Error::disk("writing", partial, source));
        let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(partial).map_err(failed)?);
        let path = self.folder.path(&self.file.name);
        let (mut before, mut after) = (Sha256::new(), Sha256::new());
        let (mut links, mut bytes, mut changed) = (Links::default(), 0, Vec::new());
        let mut is_missing = false;
        let read = each_line(&path, self.rules.line_bytes_max, |line| {
            before.update(line.text);
            changed.clear();
            if let Some(resource) = line.resource {
                let at = resource.as_ptr() as usize - line.text.as_ptr() as usize;
                changed.extend_from_slice(&line.text[..at]);
                let rewritten = self.rewrite(resource, &mut links, &mut changed);
                if rewritten.map_err(|stop| self.stopped(stop, &mut is_missing))? {
                    changed.extend_from_slice(&line.text[at + resource.len()..]);
                } else {
                    changed.clear();
                }
            }
            let text = if changed.is_empty() { line.text } else { &changed };
            after.update(text);
            bytes += text.len() as u64;
            out.write_all(text)
                .map_err(|source| Error::disk("writing", partial, source))
        });
        if is_missing {
            return Err(Stop::Missing);
        }
        read?;
        if hex(&before.finalize()) != self.file.sha256 {
            let problem = format!(
                "{} is not as it came: remove it, and the same command fetches it again",
                path.display()
            );
            return Err(Error::new(ErrorKind::Corrupt, problem).into());
        }
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(failed)?;
        let file = PulledFile {
            bytes,
            sha256: hex(&after.finalize()),
            ..self.file.clone()
        };
        Ok((file, links))
    }

    /// Ends the reading; whether something is missing is told beside.
    fn stopped(&self, stop: Stop, is_missing: &mut bool) -> Error {
        match stop {
            Stop::Failed(error) => error,
            Stop::Missing => {
                *is_missing = true;
                Error::new(
                    ErrorKind::Unreachable,
                    format!("{} has attachments that are missing", self.file.name),
                )
            }
        }
    }

    /// Appends a resource with its attachments changed; `false` where nothing is to be changed.
    fn rewrite(&self, resource: &[u8], links: &mut Links, out: &mut Vec<u8>) -> Result<bool, Stop> {
        let mut room = (self.rules.line_bytes_max as u64).saturating_sub(resource.len() as u64);
        rewrite(
            resource,
            |attachment| {
                let Some(url) = self.rules.url(attachment) else {
                    return Ok(Change::Keep);
                };
                let content = held(&self.known).content(&key(&url)).cloned();
                match content {
                    Some(content) => self.change(attachment, &content, &mut room, links),
                    None if self.rules.settings.ignores_errors => {
                        links.ignored += 1;
                        let absolute = absolute_url(&attachment.url, &self.rules.base);
                        Ok(match absolute == attachment.url {
                            true => Change::Keep,
                            false => Change::Url(absolute.into_owned()),
                        })
                    }
                    None => Err(Stop::Missing),
                }
            },
            out,
        )
    }

    fn change(
        &self,
        attachment: &Attachment<'_>,
        content: &Content,
        room: &mut u64,
        links: &mut Links,
    ) -> Result<Change, Stop> {
        let media_type = attachment
            .content_type
            .as_deref()
            .or(content.media_type.as_deref());
        let inline_bytes = content.bytes.div_ceil(3) * 4 + MEMBERS_BYTES;
        if self.rules.inlines(media_type, content.bytes) && inline_bytes <= *room {
            *room -= inline_bytes;
            links.inlined += 1;
            let own_type = content
                .media_type
                .as_deref()
                .filter(|_| attachment.content_type.is_none());
            return Ok(Change::Data {
                base64: STANDARD.encode(self.read(content)?),
                bytes: content.bytes,
                content_type: own_type.map(str::to_owned),
            });
        }
        self.show(content)?;
        links.links += 1;
        Ok(Change::Url(format!("{}{}", self.way_up(), content.name.path())))
    }

    /// From the file's folder to the one of the pull.
    fn way_up(&self) -> String {
        match self.file.name.matches('/').count() {
            0 => "./".to_owned(),
            folders => "../".repeat(folders),
        }
    }

    fn read(&self, content: &Content) -> Result<Vec<u8>> {
        let gone = || Error::new(ErrorKind::Disk, format!("{} is not there any more", content.name));
        let path = content.found(&self.folder).ok_or_else(gone)?;
        fs::read(&path).map_err(|source| Error::disk("reading", &path, source))
    }

    /// Sees that a content lies where links lead, also one that was first met where it is put into its resource.
    fn show(&self, content: &Content) -> Result<()> {
        let path = content.path(&self.folder);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == content.bytes) {
            return Ok(());
        }
        let bytes = self.read(content)?;
        let partial = format!("{ATTACHMENT_PARTIAL}{}.partial", content.name);
        let partial = self.folder.hidden(&partial);
        let mut file = File::create(&partial).map_err(|source| Error::disk("opening", &partial, source))?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| Error::disk("writing", &partial, source))?;
        name_content(&partial, &path)
    }
}

/// The SHA-256 of a file in lower-case hex, if it is there.
pub(super) fn sha256(path: &Path) -> Result<Option<String>> {
    let failed = |source| Error::disk("reading", path, source);
    let mut file = match File::open(path) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let (mut hash, mut block) = (Sha256::new(), vec![0; WRITE_BYTES]);
    loop {
        match file.read(&mut block).map_err(failed)? {
            0 => return Ok(Some(hex(&hash.finalize()))),
            length => hash.update(&block[..length]),
        }
    }
}
