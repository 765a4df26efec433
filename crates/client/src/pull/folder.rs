//! Where a pull lies on the disk, and who may write there: [`PullFolder`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::durable::{put, sync_folder};
use crate::{Error, ErrorKind, Result};

/// What the pull keeps for itself, below the folder.
const HIDDEN: &str = ".fhirhose-pull";

/// How the files end that are written anew, their lines leading to attachments.
pub(super) const LINKED_PARTIAL: &str = ".linked.partial";

/// Whether a pull has been begun in a folder; it has ended when there is a `manifest.json` too.
pub(crate) fn has_begun(root: &Path) -> bool {
    root.join(HIDDEN).is_dir()
}

/// How long it is waited for another run that is just ending.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A folder that this process holds until the last clone is gone.
#[derive(Debug, Clone)]
pub(super) struct PullFolder {
    root: PathBuf,
    _lock: Arc<File>,
}

impl PullFolder {
    /// Opens the folder, makes it when absent, and locks it. May wait two seconds: call it where that is fine.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] while another process is at work in it; [`ErrorKind::OtherFolder`] when it holds something that is no pull;
    /// [`ErrorKind::Disk`].
    pub(super) fn open(root: &Path) -> Result<Self> {
        let hidden = root.join(HIDDEN);
        if !hidden.is_dir() && !is_empty(root)? {
            let problem = format!("{} holds files that no pull has put there", root.display());
            return Err(Error::new(ErrorKind::OtherFolder, problem));
        }
        let made = DirBuilder::new().recursive(true).create(root);
        made.and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(&hidden))
            .map_err(|source| Error::disk("making", root, source))?;
        // The journal is worth nothing in a folder that is not there after a power cut.
        for folder in root.parent().into_iter().chain([root]) {
            sync_folder(folder).map_err(|source| Error::disk("syncing", folder, source))?;
        }
        let lock = private_file(&hidden.join("lock"))?;
        wait_for_lock(&lock, root)?;
        Ok(Self {
            root: root.to_owned(),
            _lock: Arc::new(lock),
        })
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A file by its name in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A file of the pull's own.
    pub(super) fn hidden(&self, name: &str) -> PathBuf {
        self.root.join(HIDDEN).join(name)
    }

    /// Where a file lies while it is not whole.
    pub(super) fn partial(&self, name: &str) -> PathBuf {
        self.hidden(&format!("{}.partial", name.replace('/', "-")))
    }

    /// Where the lines of a file that lead to its attachments are written.
    pub(super) fn linked_partial(&self, name: &str) -> PathBuf {
        self.hidden(&format!("{}{LINKED_PARTIAL}", name.replace('/', "-")))
    }

    /// Gives a whole file its name.
    pub(super) fn publish(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)
            .and_then(|()| fs::rename(self.partial(name), &path))
            .map_err(|source| Error::disk("naming", &path, source))
    }

    /// Writes a small file so that after a crash it is there whole or not at all.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|source| Error::disk("making", parent, source))?;
        put(&path, &self.partial(name), bytes)
    }

    /// Makes the names of the files in these folders last.
    pub(super) fn sync(&self, names: impl Iterator<Item = String>) -> Result<()> {
        let parents = names.filter_map(|name| self.path(&name).parent().map(Path::to_owned));
        let mut parents: Vec<PathBuf> = parents.collect();
        parents.push(self.root.clone());
        parents.sort_unstable();
        parents.dedup();
        for parent in &parents {
            sync_folder(parent).map_err(|source| Error::disk("syncing", parent, source))?;
        }
        Ok(())
    }
}

/// Opens a file for reading and writing that only its owner may read, for it may hold URLs that are secrets.
pub(super) fn private_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::disk("opening", path, source))
}

fn is_empty(root: &Path) -> Result<bool> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(Error::disk("opening", root, source)),
    };
    for entry in entries {
        let entry = entry.map_err(|source| Error::disk("reading", root, source))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn wait_for_lock(lock: &File, root: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let problem = format!("another process is pulling into {}", root.display());
                return Err(Error::new(ErrorKind::InUse, problem));
            }
            Err(source) => return Err(Error::disk("locking", root, source.into())),
        }
    }
}
