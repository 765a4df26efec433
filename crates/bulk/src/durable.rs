//! Small files that are whole or as before, whatever happens: written beside, synced, renamed, and the folder synced. And [`Lock`]s.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// Makes an empty file for this user alone; what was there goes.
pub(crate) fn create(path: &Path) -> Result<File> {
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    made.map_err(|source| Error::io(format!("making {}", path.display()), source))
}

/// Opens a file for this user alone at its end, or makes it.
pub(crate) fn open_end(path: &Path) -> Result<File> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    opened.map_err(|source| Error::io(format!("opening {}", path.display()), source))
}

/// Replaces a file in one step.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let failed = |source| Error::io(format!("writing {}", path.display()), source);
    let mut file = create(&partial)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)?;
    sync_parent(path)
}

/// Adds to a file that is open and has this length, durably. What a write has left behind it that failed is cut off first.
pub(crate) fn append(file: &mut File, length: u64, bytes: &[u8]) -> std::io::Result<()> {
    if file.metadata()?.len() != length {
        file.set_len(length)?;
    }
    file.seek(SeekFrom::Start(length))?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Makes what was created, renamed or removed beside this path durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let synced = File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::io(format!("syncing {}", parent.display()), source))
}

/// Makes a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .map_err(|source| Error::io(format!("making folder {}", path.display()), source))
}

/// Removes a file or folder; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(source) => Err(source),
    };
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()), source))
        }
        _ => Ok(()),
    }
}

/// A lock file that this process holds until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock; `in_use` says what another process does that has it.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`].
    pub(crate) fn take(path: &Path, in_use: impl FnOnce() -> String) -> Result<Self> {
        let failed = |source| Error::io(format!("locking {}", path.display()), source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::InUse, in_use())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

impl Drop for Lock {
    /// Closing alone is not enough: a process that is just being started by another thread holds the lock until it runs its program.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}
