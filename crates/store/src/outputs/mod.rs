//! Finished output files: export files, import reports, reject files.
//!
//! An [`OutputStore`] keeps them compressed in independent blocks, named `{job}/{file}`, on the local disk or any
//! other object store. An [`OutputWriter`] makes one in a stream and bounded memory, and nothing shows under its name
//! before [`OutputWriter::finish`]; with [`OutputKeys`] they are encrypted. An [`OutputReader`] serves it as zstd, gzip or identity, whole or by byte range.
//! [`PlainFolder`] makes plain files through the same writer, for an export without HTTP.
//!
//! It does not know which files belong to a finished job: the job's checkpoint names them. It counts the readers of
//! this process only.
//!
//! ```no_run
//! # use fhirhose_store::{OutputName, OutputSettings, OutputStore, Encoding, Result};
//! # async fn example(outputs: OutputStore) -> Result<()> {
//! let name = OutputName::new("job-1", "1.Patient.ndjson")?;
//! let mut writer = outputs.create(&name, &OutputSettings::default())?;
//! let file = tokio::task::spawn_blocking(move || {
//!     writer.write(b"{\"resourceType\":\"Patient\",\"id\":\"1\"}\n")?;
//!     writer.finish()
//! });
//! let file = file.await.expect("the writer does not panic")?;
//! assert_eq!(file.rows, 1);
//! let reader = outputs.open(&name).await?;
//! let gzip = reader.stream(Encoding::Gzip);
//! # drop(gzip); Ok(()) }
//! ```

mod blocks;
mod cipher;
mod gzip;
mod index;
mod name;
mod plain;
mod reader;
mod upload;
mod usage;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};

pub use cipher::OutputKeys;
pub use name::OutputName;
pub use plain::{Durability, PlainFolder};
pub use reader::{OutputReader, OutputStream};
pub use upload::Upload;
pub use writer::OutputWriter;

use crate::folder::local_store;
use crate::{Error, Result};
use usage::JobUsage;

/// The form in which a file is sent. The media type is the same in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it was written.
    Identity,
    /// One gzip member, compressed on the way out: the length is not known before.
    Gzip,
    /// As it lies at rest: zstd frames one after another, none of them skippable.
    Zstd,
}

impl Encoding {
    /// The token of `Accept-Encoding` and `Content-Encoding`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What is computed of the text besides its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// SHA-256 of the text: a core does 1.8 GB/s with the processor's own instructions, a quarter of that without.
    Sha256,
    /// Nothing: the fingerprint behind the ETag is enough.
    FingerprintOnly,
}

/// How an output file is made.
#[derive(Debug, Clone)]
pub struct OutputSettings {
    /// How much text a block holds, at least: it goes on to the end of a line. 1 to 4,194,304.
    pub block_bytes: usize,
    /// The zstd level, 1 to 19.
    pub zstd_level: i32,
    /// How many stored bytes are sent at once. Two such parts are in memory. Cloud stores want 5 MiB or more.
    pub part_bytes: usize,
    /// What is computed of the text.
    pub hashing: Hashing,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            block_bytes: 256 << 10,
            zstd_level: 1,
            part_bytes: 8 << 20,
            hashing: Hashing::Sha256,
        }
    }
}

/// A finished file, as a checkpoint records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The file's name inside its job or folder.
    pub name: String,
    /// How many lines it has: the `count` of a manifest.
    pub rows: u64,
    /// The length of the text.
    pub bytes: u64,
    /// The length at rest.
    pub stored_bytes: u64,
    /// The SHA-256 of the text in lower-case hex, if it was asked for.
    pub sha256: Option<String>,
    /// The blocks at rest; 0 in a plain file.
    pub blocks: u32,
}

/// What became of a request to delete a job's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// None of the job's files is left.
    Deleted,
    /// Somebody is downloading one of them; nothing was touched. Ask again later.
    InUse,
}

/// Keeps finished output files in an object store. Clones are the same store and share the count of readers.
#[derive(Debug, Clone)]
pub struct OutputStore {
    objects: Arc<dyn ObjectStore>,
    /// The local folder, where there is one: object stores forget folders and cut-off uploads, a disk does not.
    local_root: Option<PathBuf>,
    usage: Arc<JobUsage>,
    keys: Option<OutputKeys>,
}

impl OutputStore {
    /// Keeps files in any object store, at its root. A put or upload must be durable when it returns, and atomic.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            local_root: None,
            usage: Arc::default(),
            keys: None,
        }
    }

    /// Encrypts what is written from now on, and opens what these keys have sealed. Files that are not sealed open as before.
    #[must_use]
    pub fn with_keys(self, keys: OutputKeys) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }

    /// Keeps files in an existing local folder. A finished file survives a power loss: it and its folders are synced.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] if the folder is not there.
    pub fn local(root: &Path) -> Result<Self> {
        let objects = Arc::new(local_store(root)?.with_fsync(true));
        Ok(Self {
            local_root: Some(root.to_path_buf()),
            ..Self::new(objects)
        })
    }

    /// Starts a file. What it replaces, if anything, stays as it is until [`OutputWriter::finish`].
    ///
    /// Must be called within a tokio runtime; the writer itself then belongs on a blocking thread.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for settings out of bounds, or without a runtime.
    pub fn create(&self, name: &OutputName, settings: &OutputSettings) -> Result<OutputWriter> {
        let upload = Upload::new(Arc::clone(&self.objects), name.path(), settings.part_bytes)?;
        let cipher = self.keys.as_ref().map(|keys| keys.seal(name)).transpose()?;
        OutputWriter::in_blocks(name, settings, upload, cipher)
    }

    /// Opens a finished file: reads its index. The job cannot be deleted while the reader or one of its streams lives.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is no such file, or its job is being deleted;
    /// [`crate::ErrorKind::Corrupt`] if the index is not what was written; [`crate::ErrorKind::NoKey`] if it is encrypted with
    /// a key that this store was not given.
    pub async fn open(&self, name: &OutputName) -> Result<OutputReader> {
        let guard = self.usage.read(name)?;
        OutputReader::open(Arc::clone(&self.objects), name, self.keys.as_ref(), guard).await
    }

    /// Deletes the files of a job, unless one of them is being downloaded from this process. Deleting twice is fine.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if the job's name is not allowed, [`crate::ErrorKind::Storage`] if a file cannot be deleted.
    pub async fn delete_job(&self, job: &str) -> Result<Deletion> {
        let prefix = ObjectPath::from(name::check(job)?);
        let Some(_deleting) = self.usage.delete(job) else {
            return Ok(Deletion::InUse);
        };
        let files = self
            .objects
            .list(Some(&prefix))
            .map_ok(|meta| meta.location)
            .boxed();
        self.objects
            .delete_stream(files)
            .filter(|deleted| {
                // Somebody else deleting the same file has done what was asked.
                let gone = matches!(deleted, Err(object_store::Error::NotFound { .. }));
                futures::future::ready(!gone)
            })
            .try_for_each(|_| futures::future::ok(()))
            .await
            .map_err(|source| Error::object(format!("delete the output files of job {job}"), source))?;
        self.remove_folder(job).await?;
        Ok(Deletion::Deleted)
    }

    /// Lists the jobs that have files, sorted, for a sweep of those that nobody knows any more.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] if the store cannot be read.
    pub async fn jobs(&self) -> Result<Vec<String>> {
        let listing = self.objects.list_with_delimiter(None).await;
        let listing = listing.map_err(|source| Error::object("list the jobs with output files", source))?;
        let mut jobs: Vec<String> = listing.common_prefixes.into_iter().map(String::from).collect();
        jobs.sort();
        Ok(jobs)
    }

    /// Removes a job's folder on a disk, with what uploads that were cut off have left there.
    async fn remove_folder(&self, job: &str) -> Result<()> {
        let Some(root) = &self.local_root else {
            return Ok(());
        };
        match tokio::fs::remove_dir_all(root.join(job)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove the output folder of job {job}"), error))
            }
            _ => Ok(()),
        }
    }
}
