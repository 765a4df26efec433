//! A synchronous, streaming write into an object store: parts of equal size, at most two of them in memory.

use std::mem;
use std::sync::Arc;

use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::{Error, ErrorKind, Result};

/// Writes one object in a stream, from a blocking thread: run files and output files alike.
///
/// Nothing shows under the name before [`Upload::finish`] returns; if the upload is dropped or fails, nothing ever
/// does. One part travels while the next one fills. An object that fits into one part is put in one request.
///
/// [`Upload::write`] and [`Upload::finish`] wait for the store: call them in `spawn_blocking` or on a thread of one's
/// own. On a thread that drives the runtime they panic.
#[derive(Debug)]
pub struct Upload {
    objects: Arc<dyn ObjectStore>,
    path: ObjectPath,
    runtime: Handle,
    part: Vec<u8>,
    part_bytes: usize,
    stored_bytes: u64,
    /// Begun with the first full part; taken when the upload completes or is given up.
    multipart: Option<Box<dyn MultipartUpload>>,
    /// The part before the one that fills; joined before the next one is sent.
    travelling: Option<JoinHandle<object_store::Result<()>>>,
    /// Set before each wait and cleared after it went well: a part that is missing can never be overlooked.
    broken: bool,
}

impl Upload {
    /// Prepares an upload in the runtime that is current; nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] outside a tokio runtime, or if `part_bytes` is 0.
    pub fn new(objects: Arc<dyn ObjectStore>, path: ObjectPath, part_bytes: usize) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Invalid, "an upload needs a tokio runtime").with_source(error)
        })?;
        if part_bytes == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the parts of an upload must not be empty",
            ));
        }
        Ok(Self {
            objects,
            path,
            runtime,
            part: Vec::new(),
            part_bytes,
            stored_bytes: 0,
            multipart: None,
            travelling: None,
            broken: false,
        })
    }

    /// Appends bytes; waits while two parts are full.
    ///
    /// # Errors
    /// [`ErrorKind::DiskFull`] or [`ErrorKind::Storage`]; the upload is of no use then and must be dropped.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.stored_bytes += bytes.len() as u64;
        // Strictly more than what fits: the last part stays here, so that a small object is put in one request.
        while bytes.len() > self.part_bytes - self.part.len() {
            let (fitting, rest) = bytes.split_at(self.part_bytes - self.part.len());
            self.part.extend_from_slice(fitting);
            bytes = rest;
            self.send_part()?;
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    /// Completes the object and returns its length, when it is durable and shows under its name.
    ///
    /// # Errors
    /// [`ErrorKind::DiskFull`] or [`ErrorKind::Storage`]; nothing shows under the name then.
    pub fn finish(mut self) -> Result<u64> {
        if self.multipart.is_some() {
            self.send_part()?;
            self.join_travelling()?;
            let mut multipart = self
                .multipart
                .take()
                .expect("the upload has begun and nothing has ended it");
            if let Err(source) = self.runtime.block_on(multipart.complete()) {
                self.multipart = Some(multipart);
                return Err(self.error(source));
            }
        } else {
            self.check_whole()?;
            let part = mem::take(&mut self.part);
            let put = self.runtime.block_on(self.objects.put(&self.path, part.into()));
            put.map_err(|source| self.error(source))?;
        }
        Ok(self.stored_bytes)
    }

    fn send_part(&mut self) -> Result<()> {
        self.join_travelling()?;
        self.broken = true;
        if self.multipart.is_none() {
            let begun = self.runtime.block_on(self.objects.put_multipart(&self.path));
            self.multipart = Some(begun.map_err(|source| self.error(source))?);
        }
        let multipart = self.multipart.as_mut().expect("it was begun just now");
        let part = mem::replace(&mut self.part, Vec::with_capacity(self.part_bytes));
        self.travelling = Some(self.runtime.spawn(multipart.put_part(part.into())));
        self.broken = false;
        Ok(())
    }

    fn join_travelling(&mut self) -> Result<()> {
        self.check_whole()?;
        let Some(travelling) = self.travelling.take() else {
            return Ok(());
        };
        self.broken = true;
        match self.runtime.block_on(travelling) {
            Ok(Ok(())) => self.broken = false,
            Ok(Err(source)) => return Err(self.error(source)),
            // The runtime is going down, or the store panicked.
            Err(error) => {
                return Err(Error::new(ErrorKind::Storage, format!("write {}", self.path)).with_source(error));
            }
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        if self.broken {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("write {} after a part of it failed", self.path),
            ));
        }
        Ok(())
    }

    fn error(&self, source: object_store::Error) -> Error {
        Error::object(format!("write {}", self.path), source)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut multipart) = self.multipart.take() else {
            return;
        };
        let (path, travelling) = (self.path.clone(), self.travelling.take());
        // A drop cannot wait. Cloud stores keep the parts of an upload that nobody aborts; a disk forgets them with it.
        self.runtime.spawn(async move {
            if let Some(travelling) = travelling {
                let _ = travelling.await;
            }
            if let Err(error) = multipart.abort().await {
                tracing::debug!(%path, %error, "an upload that was given up could not be aborted");
            }
        });
    }
}
