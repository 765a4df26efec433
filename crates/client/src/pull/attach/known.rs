//! Which URL has which content, in this run and in those before: [`Known`].
//!
//! The ledger is a file of lines as the journal has them, of its own because there may be millions. It is read line by line; what it says is
//! believed where a file of that length is there. URLs are in it as digests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pull::folder::{PullFolder, private_file};
use crate::pull::journal::{line, parse};
use crate::receipt::{AttachmentName, hex};
use crate::{Error, ErrorKind, Result};

/// The ledger, in the pull's own folder.
pub(super) const LEDGER: &str = "attachments.journal";

/// Contents that are put into resources lie there, in the pull's own folder.
pub(super) const CONTENTS: &str = "contents";

/// The beginning of a URL's SHA-256.
pub(super) type UrlKey = [u8; 16];

/// A content that lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) name: AttachmentName,
    pub(super) bytes: u64,
    /// Its type, where the attachment does not say one and the server does.
    pub(super) media_type: Option<Box<str>>,
    /// Whether the attachment says another size.
    pub(super) other_size: bool,
}

impl Content {
    /// Where it lies, or would lie, for resources that link to it.
    pub(super) fn path(&self, folder: &PullFolder) -> PathBuf {
        folder.path(&self.name.path())
    }

    /// Where it lies, or would lie, for resources that it is put into.
    pub(super) fn hidden_path(&self, folder: &PullFolder) -> PathBuf {
        folder.hidden(CONTENTS).join(self.name.to_string())
    }

    /// The one of these files that is there, and as long as it should be.
    pub(super) fn found(&self, folder: &PullFolder) -> Option<PathBuf> {
        let mut paths = [self.path(folder), self.hidden_path(folder)].into_iter();
        let length = |path: &PathBuf| std::fs::metadata(path).map(|metadata| metadata.len());
        paths.find(|path| length(path).ok() == Some(self.bytes))
    }
}

/// What is known of a URL.
#[derive(Debug, Clone)]
enum State {
    /// An earlier run had it.
    Noted(Content),
    /// It is being fetched.
    Wanted,
    Had(Content),
    Failed,
}

/// What a line of the ledger says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Noted {
    url: String,
    name: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    other_size: bool,
}

/// All URLs of a run.
#[derive(Debug)]
pub(super) struct Known {
    states: HashMap<UrlKey, State>,
    /// How many URLs there may be.
    max: usize,
    /// How many were met in this run.
    met: u64,
    done: u64,
    folder: PullFolder,
    ledger: File,
}

impl Known {
    /// Opens the ledger of a folder and reads what it says.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`].
    pub(super) fn open(folder: PullFolder, max: usize) -> Result<Self> {
        let path = folder.hidden(LEDGER);
        let failed = |source| Error::disk("reading", &path, source);
        let ledger = private_file(&path)?;
        let mut states = HashMap::new();
        let (mut text, mut read, mut whole) = (BufReader::new(&ledger), Vec::new(), 0);
        while text.read_until(b'\n', &mut read).map_err(failed)? > 0 {
            let Some((key, content)) = parse(&read).and_then(of_ledger) else {
                break;
            };
            whole += read.len() as u64;
            states.insert(key, State::Noted(content));
            read.clear();
        }
        let mut ledger = ledger;
        ledger
            .set_len(whole)
            .and_then(|()| ledger.seek(SeekFrom::Start(whole)))
            .map_err(failed)?;
        Ok(Self {
            states,
            max,
            met: 0,
            done: 0,
            folder,
            ledger,
        })
    }

    /// Meets a URL; whether it is to be fetched, which is said once.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when there are more than there may be.
    pub(super) fn meet(&mut self, key: UrlKey) -> Result<bool> {
        let state = match self.states.get(&key) {
            Some(State::Noted(content)) if content.found(&self.folder).is_some() => {
                self.done += 1;
                State::Had(content.clone())
            }
            Some(State::Noted(_)) | None => State::Wanted,
            Some(_) => return Ok(false),
        };
        let is_wanted = matches!(state, State::Wanted);
        if self.met >= self.max as u64 {
            let problem = format!("the resources link to more than {} attachments", self.max);
            return Err(Error::new(ErrorKind::Protocol, problem));
        }
        self.met += 1;
        self.states.insert(key, state);
        Ok(is_wanted)
    }

    /// Notes that a content is there; says how many are, and how many are known.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`].
    pub(super) fn had(&mut self, key: UrlKey, content: Content) -> Result<(u64, u64)> {
        let noted = Noted {
            url: hex(&key),
            name: content.name.to_string(),
            bytes: content.bytes,
            media_type: content.media_type.clone(),
            other_size: content.other_size,
        };
        // A power cut may take the line: then the content comes again.
        let written = self.ledger.write_all(line(&noted).as_bytes());
        written.map_err(|source| Error::disk("writing", &self.folder.hidden(LEDGER), source))?;
        self.states.insert(key, State::Had(content));
        self.done += 1;
        Ok((self.done, self.met))
    }

    pub(super) fn failed(&mut self, key: UrlKey) {
        self.states.insert(key, State::Failed);
    }

    /// The content of a URL, if it is there.
    pub(super) fn content(&self, key: &UrlKey) -> Option<&Content> {
        match self.states.get(key) {
            Some(State::Had(content)) => Some(content),
            _ => None,
        }
    }

    /// How many contents are not as long as was said.
    pub(super) fn other_size(&self) -> u64 {
        let is_other = |state: &&State| match state {
            State::Had(content) | State::Noted(content) => content.other_size,
            _ => false,
        };
        self.states.values().filter(is_other).count() as u64
    }
}

fn of_ledger(noted: Noted) -> Option<(UrlKey, Content)> {
    let mut key = UrlKey::default();
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(noted.url.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    let content = Content {
        name: AttachmentName::parse(&noted.name)?,
        bytes: noted.bytes,
        media_type: noted.media_type,
        other_size: noted.other_size,
    };
    Some((key, content))
}
