//! Small files that are on the disk whole or not at all, whatever happens: [`put`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file under another name in a folder that is there, and gives it its own when it is whole and synced.
///
/// # Errors
/// [`ErrorKind::Disk`](crate::ErrorKind::Disk), [`ErrorKind::DiskFull`](crate::ErrorKind::DiskFull).
pub(crate) fn put(path: &Path, partial: &Path, bytes: &[u8]) -> Result<()> {
    let written = || {
        let mut file = File::create(partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(partial, path)?;
        sync_folder(path.parent().unwrap_or(Path::new("")))
    };
    written().map_err(|source| Error::disk("writing", path, source))
}

/// Makes the names in a folder last; an empty path is the folder of the process.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    File::open(folder)?.sync_all()
}
