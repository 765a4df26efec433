//! The data folder: its layout on disk, its format number, and the lock that gives it to one process.
//!
//! [`DataFolder::open`] makes or checks the folder and holds it until it is dropped. It knows where runs, the
//! catalog, outputs and scratch files lie, and nothing of what is in them.
//!
//! ```text
//! format     the format number and a line that says what this folder is
//! lock       who holds the folder
//! runs/      run files, synced before the catalog names them
//! catalog/   the embedded catalog's own files
//! outputs/   finished export files, import reports, reject files: outputs/{job}/{file}
//! audit/     the audit trail, of which this module knows nothing
//! scratch/   emptied whenever the folder is opened
//! ```

mod durable;
mod format;
mod lock;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

pub(crate) use durable::sync_folder;
pub use lock::Holder;

use crate::outputs::OutputStore;
use crate::{Error, ErrorKind, Result};
use lock::FolderLock;

/// The folders inside a data folder, made in this order.
const PARTS: [&str; 5] = ["runs", "catalog", "outputs", "scratch", "audit"];

/// What to do about a folder that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Makes it, with its parents. A folder that holds anything else is refused.
    Create,
    /// Refuses it as not found.
    Existing,
}

/// One file of `runs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Where it lies, relative to [`DataFolder::runs`].
    pub path: ObjectPath,
    /// How long it is.
    pub stored_bytes: u64,
}

/// An open data folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    runs: Arc<dyn ObjectStore>,
    scratch: Arc<dyn ObjectStore>,
    outputs: OutputStore,
    /// Released last: fields drop in order, and nothing below may be touched by another process before.
    _lock: FolderLock,
}

impl DataFolder {
    /// Opens the folder at `root` and holds it; `holder` is what another process is told meanwhile.
    ///
    /// Group and others are shut out of it. Leftovers of uploads that a crash cut off are removed, and `scratch/` is emptied. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is there and `mode` is [`OpenMode::Existing`]; [`ErrorKind::Invalid`] if the
    /// folder holds something else; [`ErrorKind::InUse`] if a process holds it, which the message names;
    /// [`ErrorKind::NewerFormat`] if a newer fhirhose wrote it; [`ErrorKind::Corrupt`] if the format number is
    /// unreadable, or missing beside data.
    pub fn open(root: impl AsRef<Path>, mode: OpenMode, holder: &Holder) -> Result<Self> {
        let root = root.as_ref();
        if !format::is_present(root)? {
            prepare_new(root, mode)?;
        }
        let lock = FolderLock::take(root, holder)?;
        // Again, under the lock: another process may have finished making the folder meanwhile.
        if format::is_present(root)? {
            format::check(root)?;
        }
        keep_for_owner(root)?;
        make_parts(root)?;
        if !format::is_present(root)? {
            format::write(root)?;
        }
        remove_cut_off_uploads(&root.join("runs"))?;
        remove_cut_off_uploads(&root.join("outputs"))?;
        empty_folder(&root.join("scratch"))?;
        Ok(Self {
            root: root.to_path_buf(),
            runs: Arc::new(local_store(&root.join("runs"))?.with_fsync(true)),
            scratch: Arc::new(local_store(&root.join("scratch"))?),
            outputs: OutputStore::local(&root.join("outputs"))?,
            _lock: lock,
        })
    }

    /// Where the folder lies, as it was given to [`DataFolder::open`].
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store of run files, rooted at `runs/`. Whatever it has put is synced, file and folder.
    pub fn runs(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.runs)
    }

    /// Where a run file lies on the disk.
    pub(crate) fn run_path(&self, run: &ObjectPath) -> PathBuf {
        self.root.join("runs").join(run.as_ref())
    }

    /// The store of files that nobody needs after a restart, rooted at `scratch/`. Nothing in it is synced.
    pub fn scratch(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.scratch)
    }

    /// The store of finished output files. Clones share the count of readers.
    pub fn outputs(&self) -> OutputStore {
        self.outputs.clone()
    }

    /// The folder that belongs to the embedded catalog.
    pub fn catalog_path(&self) -> PathBuf {
        self.root.join("catalog")
    }

    /// Lists the finished run files, sorted by path: those that the catalog does not name are garbage of a crash.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the folder cannot be read.
    pub async fn list_runs(&self) -> Result<Vec<RunFile>> {
        let mut runs: Vec<RunFile> = self
            .runs
            .list(None)
            .map_ok(|meta| RunFile {
                path: meta.location,
                stored_bytes: meta.size,
            })
            .try_collect()
            .await
            .map_err(|source| Error::object("list the run files", source))?;
        runs.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(runs)
    }
}

/// Puts `bytes` at `path` and returns when they survive a power loss: a catalog row may name the file then.
///
/// `store` must be one that is durable when a put returns, as [`DataFolder::runs`] and cloud stores are. Larger files
/// go through [`crate::Upload`], with the same promise.
///
/// # Errors
/// [`ErrorKind::DiskFull`] or [`ErrorKind::Storage`]; nothing is at `path` then.
pub async fn put_durable(store: &dyn ObjectStore, path: &ObjectPath, bytes: Bytes) -> Result<()> {
    let put = store.put(path, bytes.into()).await;
    put.map_err(|source| Error::object(format!("write {path}"), source))?;
    Ok(())
}

/// Opens a local object store rooted at an existing folder.
pub(crate) fn local_store(root: &Path) -> Result<LocalFileSystem> {
    LocalFileSystem::new_with_prefix(root)
        .map_err(|source| Error::object(format!("open folder {}", root.display()), source))
}

/// Makes the empty folder where nothing is, and refuses one that holds something else, before a lock file is put there.
fn prepare_new(root: &Path, mode: OpenMode) -> Result<()> {
    if mode == OpenMode::Existing {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no fhirhose data folder at {}", root.display()),
        ));
    }
    durable::create_folders(root)?;
    for entry in read_folder(root)? {
        let name = entry.file_name();
        let part = PARTS.iter().any(|part| name == *part);
        if part && (name == "runs" || name == "catalog") && !read_folder(&entry.path())?.is_empty() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("data folder {} has data but no format file", root.display()),
            ));
        }
        if !part && name != "lock" && name != format::PARTIAL {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} is neither empty nor a fhirhose data folder", root.display()),
            ));
        }
    }
    Ok(())
}

/// Shuts group and others out of the folder, and so of all that is in it, whatever the modes of files of earlier versions.
fn keep_for_owner(root: &Path) -> Result<()> {
    let failed = |error| {
        Error::io(
            format!("shut others out of data folder {}", root.display()),
            error,
        )
    };
    let mode = fs::metadata(root).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(root, fs::Permissions::from_mode(mode & 0o700)).map_err(failed)?;
    tracing::warn!(
        folder = %root.display(),
        mode = format!("{mode:03o}"),
        "others could look into the data folder; now only its owner can"
    );
    Ok(())
}

fn make_parts(root: &Path) -> Result<()> {
    let mut made = 0;
    for part in PARTS {
        match fs::create_dir(root.join(part)) {
            Ok(()) => made += 1,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(format!("create {}/{part}", root.display()), error)),
        }
    }
    if made > 0 {
        sync_folder(root)?;
    }
    Ok(())
}

/// Removes what an interrupted put leaves beside its final name: `{name}#{number}`, which listings do not show.
fn remove_cut_off_uploads(folder: &Path) -> Result<()> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in read_folder(&folder)? {
            let path = entry.path();
            let kind = entry
                .file_type()
                .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
            if kind.is_dir() {
                folders.push(path);
            } else if is_cut_off_upload(&entry.file_name().to_string_lossy()) {
                fs::remove_file(&path)
                    .map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
            }
        }
    }
    Ok(())
}

fn is_cut_off_upload(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn empty_folder(folder: &Path) -> Result<()> {
    for entry in read_folder(folder)? {
        let path = entry.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
    }
    Ok(())
}

fn read_folder(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = || fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>();
    read().map_err(|error| Error::io(format!("read folder {}", folder.display()), error))
}
