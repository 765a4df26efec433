//! An object store in memory that has only so much space, and says so as a disk does.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// Fails the write that goes beyond its space, and every one after it.
#[derive(Debug)]
pub(crate) struct FullDisk {
    inner: InMemory,
    space: Arc<Space>,
}

#[derive(Debug)]
struct Space {
    left: AtomicU64,
}

#[derive(Debug)]
struct FullDiskUpload {
    inner: Box<dyn MultipartUpload>,
    space: Arc<Space>,
}

impl FullDisk {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            inner: InMemory::new(),
            space: Arc::new(Space {
                left: AtomicU64::new(bytes),
            }),
        }
    }
}

impl Space {
    fn take(&self, bytes: usize) -> Result<()> {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(bytes as u64))
            });
        if taken.expect("the update always gives a value") >= bytes as u64 {
            return Ok(());
        }
        let source = io::Error::from(io::ErrorKind::StorageFull).into();
        Err(object_store::Error::Generic {
            store: "FullDisk",
            source,
        })
    }
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FullDisk")
    }
}

#[async_trait]
impl ObjectStore for FullDisk {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.space.take(payload.content_length())?;
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(FullDiskUpload {
            inner,
            space: Arc::clone(&self.space),
        }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartUpload for FullDiskUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.space.take(data.content_length()) {
            Ok(()) => self.inner.put_part(data),
            Err(full) => futures::future::ready(Err(full)).boxed(),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
