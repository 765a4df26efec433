//! The reader of output files: streams of bytes in each encoding, with bounded read-ahead.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::index::{self, BlockIndex};
use super::usage::ReadGuard;
use super::writer::hex;
use super::{Encoding, blocks, gzip};
use crate::{Error, ErrorKind, Result};

/// What is read of an unknown file at first: the index of a file of some gigabytes, mostly.
const TAIL_BYTES: u64 = 64 << 10;

/// An index longer than this is not believed.
const INDEX_BYTES_MAX: usize = 256 << 20;

/// How much text, or how much at rest if it is sent as it is, is fetched and sent at once.
const STEP_BYTES: u64 = 1 << 20;

/// How many such steps are under way for one download.
const STEPS_AHEAD: usize = 2;

/// A finished output file, open for reading: cheap to clone, and its job stays until all clones and streams are gone.
#[derive(Debug, Clone)]
pub struct OutputReader {
    file: Arc<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    objects: Arc<dyn ObjectStore>,
    path: ObjectPath,
    index: BlockIndex,
    /// Never read, only dropped: as long as it lives the job's files stay.
    _guard: ReadGuard,
}

/// The bytes of a download. After an error it ends: the download is broken and must not look finished.
pub struct OutputStream(BoxStream<'static, Result<Bytes>>);

impl OutputReader {
    pub(super) async fn open(
        objects: Arc<dyn ObjectStore>,
        path: ObjectPath,
        guard: ReadGuard,
    ) -> Result<Self> {
        let failed = |source| Error::object(format!("open output {path}"), source);
        let options = GetOptions::new().with_range(Some(GetRange::Suffix(TAIL_BYTES)));
        let tail = objects.get_opts(&path, options).await.map_err(failed)?;
        let file_bytes = tail.meta.size;
        let mut tail = tail.bytes().await.map_err(failed)?;
        let index_bytes = index::frame_bytes(&tail).map_err(|error| in_file(&path, error))?;
        if index_bytes > tail.len() {
            if index_bytes > INDEX_BYTES_MAX || index_bytes as u64 > file_bytes {
                let error = Error::new(ErrorKind::Corrupt, "the index is longer than it can be");
                return Err(in_file(&path, error));
            }
            tail = objects
                .get_range(&path, file_bytes - index_bytes as u64..file_bytes)
                .await
                .map_err(failed)?;
        }
        let frame = tail
            .len()
            .checked_sub(index_bytes)
            .map(|at| &tail[at..])
            .unwrap_or_default();
        let index = BlockIndex::decode(frame, file_bytes).map_err(|error| in_file(&path, error))?;
        Ok(Self {
            file: Arc::new(OpenFile {
                objects,
                path,
                index,
                _guard: guard,
            }),
        })
    }

    /// How many lines the text has.
    pub fn rows(&self) -> u64 {
        self.file.index.facts.rows
    }

    /// The SHA-256 of the text in lower-case hex, if the writer was asked for it.
    pub fn sha256(&self) -> Option<String> {
        self.file.index.facts.sha256.as_ref().map(|digest| hex(digest))
    }

    /// The length of the file in this encoding, if it is known before it is made.
    pub fn length(&self, encoding: Encoding) -> Option<u64> {
        let index = &self.file.index;
        match encoding {
            Encoding::Identity => Some(index.facts.bytes),
            Encoding::Zstd => Some(index.stored_at(index.blocks())),
            Encoding::Gzip => None,
        }
    }

    /// A strong entity tag, with its quotes: it tells text and encoding apart, and is the same after a file was made again.
    pub fn etag(&self, encoding: Encoding) -> String {
        format!(
            "\"{}-{}\"",
            hex(&self.file.index.facts.fingerprint),
            encoding.token()
        )
    }

    /// Streams the whole file in this encoding. Must be polled within a tokio runtime.
    ///
    /// Every block's checksum is verified. Memory: a few MiB, however slowly the client reads.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] or [`ErrorKind::Storage`], as the last item.
    pub fn stream(&self, encoding: Encoding) -> OutputStream {
        let stream = match encoding {
            Encoding::Identity => return self.range(0..self.file.index.facts.bytes),
            Encoding::Zstd => self.stored(),
            Encoding::Gzip => self.gzip(),
        };
        OutputStream::new(stream)
    }

    /// Streams a range of the identity form, decompressing only the blocks that hold it. What lies behind the end is
    /// left out.
    ///
    /// # Errors
    /// As [`OutputReader::stream`].
    pub fn range(&self, range: Range<u64>) -> OutputStream {
        let index = &self.file.index;
        let end = range.end.min(index.facts.bytes);
        let range = range.start.min(end)..end;
        let steps = steps(index.holding(&range), |block| index.text_at(block));
        OutputStream::new(self.each(steps, move |file, blocks, stored| {
            let text_at = file.index.text_at(blocks.start);
            let mut text = Bytes::from(blocks::text(&file.index, blocks, &stored)?);
            // Only the first and the last step reach beyond the range.
            text.truncate(usize::try_from(range.end - text_at).unwrap_or(usize::MAX));
            let skip = usize::try_from(range.start.saturating_sub(text_at)).unwrap_or(usize::MAX);
            Ok(text.slice(skip.min(text.len())..))
        }))
    }

    fn stored(&self) -> BoxStream<'static, Result<Bytes>> {
        let index = &self.file.index;
        let steps = steps(0..index.blocks(), |block| index.stored_at(block));
        self.each(steps, |file, blocks, stored| {
            blocks::verify(&file.index, blocks, &stored)?;
            Ok(stored)
        })
    }

    fn gzip(&self) -> BoxStream<'static, Result<Bytes>> {
        let index = &self.file.index;
        let steps = steps(0..index.blocks(), |block| index.text_at(block));
        let pieces = self.each(steps, |file, blocks, stored| {
            gzip::deflate(&blocks::text(&file.index, blocks, &stored)?)
        });
        let whole = (pieces, Some((crc32fast::Hasher::new(), 0)));
        let body = stream::try_unfold(whole, |(mut pieces, so_far)| async move {
            let Some((mut checksum, text_bytes)) = so_far else {
                return Ok(None);
            };
            Ok(match pieces.try_next().await? {
                Some(piece) => {
                    checksum.combine(&piece.checksum);
                    let so_far = Some((checksum, text_bytes + piece.text_bytes));
                    Some((Bytes::from(piece.deflated), (pieces, so_far)))
                }
                None => Some((Bytes::from(gzip::trailer(checksum, text_bytes)), (pieces, None))),
            })
        });
        stream::once(async { Ok(Bytes::from_static(&gzip::HEADER)) })
            .chain(body)
            .boxed()
    }

    /// Fetches each step and works on it on a blocking thread, a few steps at a time, in order.
    fn each<T: Send + 'static>(
        &self,
        steps: Vec<Range<usize>>,
        work: impl Fn(&OpenFile, Range<usize>, Bytes) -> Result<T> + Clone + Send + Sync + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let file = Arc::clone(&self.file);
        stream::iter(steps)
            .map(move |blocks| {
                let (file, work) = (Arc::clone(&file), work.clone());
                async move {
                    let at = file.index.stored_at(blocks.start)..file.index.stored_at(blocks.end);
                    let stored = file.objects.get_range(&file.path, at).await;
                    let stored = stored
                        .map_err(|source| Error::object(format!("read output {}", file.path), source))?;
                    let worked = tokio::task::spawn_blocking(move || {
                        work(&file, blocks, stored).map_err(|error| in_file(&file.path, error))
                    });
                    worked.await.map_err(|error| {
                        Error::new(ErrorKind::Storage, "decode an output file").with_source(error)
                    })?
                }
            })
            .buffered(STEPS_AHEAD)
            .boxed()
    }
}

impl OutputStream {
    fn new(stream: BoxStream<'static, Result<Bytes>>) -> Self {
        let until_error = stream.scan(true, |whole, item| {
            let item = whole.then_some(item);
            *whole = matches!(item, Some(Ok(_)));
            futures::future::ready(item)
        });
        Self(until_error.boxed())
    }
}

impl Stream for OutputStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for OutputStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputStream")
    }
}

/// Groups consecutive blocks into steps of about [`STEP_BYTES`], measured by where each block begins.
fn steps(blocks: Range<usize>, begins_at: impl Fn(usize) -> u64) -> Vec<Range<usize>> {
    let mut steps = Vec::new();
    let (mut start, end) = (blocks.start, blocks.end);
    for block in blocks {
        if begins_at(block + 1) - begins_at(start) >= STEP_BYTES {
            steps.push(start..block + 1);
            start = block + 1;
        }
    }
    if start < end {
        steps.push(start..end);
    }
    steps
}

fn in_file(path: &ObjectPath, error: Error) -> Error {
    let kind = error.kind();
    Error::new(kind, format!("read output {path}")).with_source(error)
}
