//! Files and folders that survive a power loss: a file is synced, then named, then its folder is synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Syncs a folder, so that names made or removed in it survive a power loss.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io(format!("sync folder {}", folder.display()), error))
}

/// Makes a folder with its parents and syncs every folder that got a new entry.
pub(super) fn create_folders(folder: &Path) -> Result<()> {
    let mut changed = Vec::new();
    let mut missing = folder;
    while !missing.exists() {
        match missing.parent() {
            Some(parent) if parent.as_os_str().is_empty() => {
                changed.push(Path::new("."));
                break;
            }
            Some(parent) => {
                changed.push(parent);
                missing = parent;
            }
            None => break,
        }
    }
    fs::create_dir_all(folder)
        .map_err(|error| Error::io(format!("create folder {}", folder.display()), error))?;
    changed.into_iter().try_for_each(sync_folder)
}

/// Writes a small file under its partial name, syncs it, and gives it its name.
pub(super) fn write_file(folder: &Path, partial: &str, name: &str, text: &str) -> Result<()> {
    let write = || {
        let mut file = File::create(folder.join(partial))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(folder.join(partial), folder.join(name))
    };
    write().map_err(|error| Error::io(format!("write {}", folder.join(name).display()), error))?;
    sync_folder(folder)
}
