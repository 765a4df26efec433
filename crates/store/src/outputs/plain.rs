//! Plain files in a local folder, for an export without HTTP: written beside their name, then renamed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Hashing, OutputWriter, name};
use crate::folder::sync_folder;
use crate::{Error, Result};

/// Small writes are gathered to this size; larger ones pass.
const BUFFER_BYTES: usize = 256 << 10;

/// What a finished plain file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power loss: each file and the folder are synced before it is finished.
    Synced,
    /// A crash of the process: the operating system writes the file out when it likes.
    Cached,
}

/// A local folder that takes plain NDJSON files.
#[derive(Debug, Clone)]
pub struct PlainFolder {
    root: PathBuf,
    durability: Durability,
}

impl PlainFolder {
    /// Takes a local folder, which is made with its parents if it is not there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] or [`crate::ErrorKind::DiskFull`] if it cannot be made.
    pub fn open(root: &Path, durability: Durability) -> Result<Self> {
        fs::create_dir_all(root)
            .map_err(|error| Error::io(format!("create folder {}", root.display()), error))?;
        Ok(Self {
            root: root.to_path_buf(),
            durability,
        })
    }

    /// Starts a file; until it is finished it is called `.{file}.partial`. A file of that name is replaced at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the name is not one that [`super::OutputName`] allows, otherwise as for writing.
    pub fn create(&self, file: &str, hashing: Hashing) -> Result<OutputWriter> {
        let file = name::check(file)?;
        Ok(OutputWriter::plain(file, hashing, PlainFile::create(self, file)?))
    }
}

/// One plain file under way. Dropped unfinished, it is removed.
#[derive(Debug)]
pub(super) struct PlainFile {
    file: BufWriter<File>,
    partial: PathBuf,
    finished: PathBuf,
    durability: Durability,
}

impl PlainFile {
    fn create(folder: &PlainFolder, name: &str) -> Result<Self> {
        let partial = folder.root.join(format!(".{name}.partial"));
        let file = File::create(&partial)
            .map_err(|error| Error::io(format!("create {}", partial.display()), error))?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            partial,
            finished: folder.root.join(name),
            durability: folder.durability,
        })
    }

    pub(super) fn write(&mut self, text: &[u8]) -> Result<()> {
        self.file
            .write_all(text)
            .map_err(|error| Error::io(format!("write {}", self.finished.display()), error))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let synced = self.durability == Durability::Synced;
        let mut publish = || {
            self.file.flush()?;
            if synced {
                self.file.get_ref().sync_all()?;
            }
            fs::rename(&self.partial, &self.finished)
        };
        publish().map_err(|error| Error::io(format!("write {}", self.finished.display()), error))?;
        match self.finished.parent() {
            Some(folder) if synced => sync_folder(folder),
            _ => Ok(()),
        }
    }
}

impl Drop for PlainFile {
    fn drop(&mut self) {
        // After finish there is nothing under the partial name; otherwise what is there is of no use to anybody.
        let _ = fs::remove_file(&self.partial);
    }
}
