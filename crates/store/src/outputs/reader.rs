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

use super::blocks::Blocks;
use super::cipher::{self, OutputKeys, Piece, TAG_BYTES, TRAILER_BYTES, Trailer};
use super::index::{self, BlockIndex};
use super::usage::ReadGuard;
use super::writer::hex;
use super::{Encoding, OutputName, blocks, gzip};
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
    blocks: Blocks,
    /// Never read, only dropped: as long as it lives the job's files stay.
    _guard: ReadGuard,
}

/// The bytes of a download. After an error it ends: the download is broken and must not look finished.
pub struct OutputStream(BoxStream<'static, Result<Bytes>>);

impl OutputReader {
    pub(super) async fn open(
        objects: Arc<dyn ObjectStore>,
        name: &OutputName,
        keys: Option<&OutputKeys>,
        guard: ReadGuard,
    ) -> Result<Self> {
        let path = name.path();
        let blocks = read_index(&*objects, name, keys).await;
        let blocks = blocks.map_err(|error| in_file(&path, error))?;
        Ok(Self {
            file: Arc::new(OpenFile {
                objects,
                path,
                blocks,
                _guard: guard,
            }),
        })
    }

    /// How many lines the text has.
    pub fn rows(&self) -> u64 {
        self.file.blocks.index.facts.rows
    }

    /// The SHA-256 of the text in lower-case hex, if the writer was asked for it.
    pub fn sha256(&self) -> Option<String> {
        self.file
            .blocks
            .index
            .facts
            .sha256
            .as_ref()
            .map(|digest| hex(digest))
    }

    /// The length of the file in this encoding, if it is known before it is made.
    pub fn length(&self, encoding: Encoding) -> Option<u64> {
        let index = &self.file.blocks.index;
        match encoding {
            Encoding::Identity => Some(index.facts.bytes),
            Encoding::Zstd => Some(self.file.blocks.frames_bytes()),
            Encoding::Gzip => None,
        }
    }

    /// A strong entity tag, with its quotes: it tells text and encoding apart, and is the same after a file was made again. That of the
    /// zstd form tells its frames too, for ranges of it are served.
    pub fn etag(&self, encoding: Encoding) -> String {
        let blocks = &self.file.blocks;
        let form = match encoding {
            Encoding::Zstd => format!("zstd-{:08x}", blocks.layout()),
            other => other.token().to_owned(),
        };
        format!("\"{}-{form}\"", hex(&blocks.index.facts.fingerprint))
    }

    /// Streams the whole file in this encoding. Must be polled within a tokio runtime.
    ///
    /// Every block's checksum is verified. Memory: a few MiB, however slowly the client reads.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] or [`ErrorKind::Storage`], as the last item.
    pub fn stream(&self, encoding: Encoding) -> OutputStream {
        let stream = match encoding {
            Encoding::Identity => return self.range(0..self.file.blocks.index.facts.bytes),
            Encoding::Zstd => return self.frames(0..self.file.blocks.frames_bytes()),
            Encoding::Gzip => self.gzip(),
        };
        OutputStream::new(stream)
    }

    /// Streams a range of the file in this encoding, if it has fixed bytes: gzip is made anew each time.
    ///
    /// # Errors
    /// As [`OutputReader::stream`].
    pub fn part(&self, encoding: Encoding, range: Range<u64>) -> Option<OutputStream> {
        match encoding {
            Encoding::Identity => Some(self.range(range)),
            Encoding::Zstd => Some(self.frames(range)),
            Encoding::Gzip => None,
        }
    }

    /// Streams a range of the identity form, decompressing only the blocks that hold it. What lies behind the end is
    /// left out.
    ///
    /// # Errors
    /// As [`OutputReader::stream`].
    pub fn range(&self, range: Range<u64>) -> OutputStream {
        let index = &self.file.blocks.index;
        let end = range.end.min(index.facts.bytes);
        let range = range.start.min(end)..end;
        let steps = steps(index.holding(&range), |block| index.text_at(block));
        OutputStream::new(self.each(steps, move |file, blocks, stored| {
            let text_at = file.blocks.index.text_at(blocks.start);
            let text = Bytes::from(blocks::text(&file.blocks, blocks, &stored)?);
            Ok(clipped(text, text_at, &range))
        }))
    }

    /// Streams a range of the zstd form, which lies there as it is sent, but for what seals it.
    fn frames(&self, range: Range<u64>) -> OutputStream {
        let blocks = &self.file.blocks;
        let end = range.end.min(blocks.frames_bytes());
        let range = range.start.min(end)..end;
        let steps = steps(blocks.holding_frames(&range), |block| blocks.frame_at(block));
        OutputStream::new(self.each(steps, move |file, blocks, stored| {
            let frames_at = file.blocks.frame_at(blocks.start);
            let frames = blocks::frames(&file.blocks, blocks, stored)?;
            Ok(clipped(frames, frames_at, &range))
        }))
    }

    fn gzip(&self) -> BoxStream<'static, Result<Bytes>> {
        let index = &self.file.blocks.index;
        let steps = steps(0..index.blocks(), |block| index.text_at(block));
        let pieces = self.each(steps, |file, blocks, stored| {
            gzip::deflate(&blocks::text(&file.blocks, blocks, &stored)?)
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
                    let at =
                        file.blocks.index.stored_at(blocks.start)..file.blocks.index.stored_at(blocks.end);
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

/// Reads the index at the end of a file, and what opens the file if it is sealed.
async fn read_index(
    objects: &dyn ObjectStore,
    name: &OutputName,
    keys: Option<&OutputKeys>,
) -> Result<Blocks> {
    let path = name.path();
    let failed = |source| Error::object("read the end", source);
    let options = GetOptions::new().with_range(Some(GetRange::Suffix(TAIL_BYTES)));
    let tail = objects.get_opts(&path, options).await.map_err(failed)?;
    let file_bytes = tail.meta.size;
    let tail = tail.bytes().await.map_err(failed)?;
    let last = async |bytes: usize| {
        if bytes <= tail.len() {
            return Ok(tail.slice(tail.len() - bytes..));
        }
        if bytes > INDEX_BYTES_MAX || bytes as u64 > file_bytes {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the index is longer than it can be",
            ));
        }
        let place = file_bytes - bytes as u64..file_bytes;
        objects.get_range(&path, place).await.map_err(failed)
    };
    let Some(trailer) = Trailer::read(&tail)? else {
        let frame = last(index::frame_bytes(&tail)?).await?;
        let index = BlockIndex::decode(&frame, file_bytes)?;
        return Ok(Blocks { index, cipher: None });
    };
    let cipher = cipher::open(keys, &trailer, name)?;
    let sealed_bytes = trailer.index_bytes as usize;
    let sealed = last(sealed_bytes + TRAILER_BYTES).await?;
    let frame = cipher.open(Piece::Index(trailer.index_bytes), &sealed[..sealed_bytes]);
    let frame = frame.ok_or_else(|| {
        let problem = "the index of an encrypted file is not what was written under this name";
        Error::new(ErrorKind::Corrupt, problem)
    })?;
    let index = BlockIndex::decode(&frame, file_bytes - (TAG_BYTES + TRAILER_BYTES) as u64)?;
    Ok(Blocks {
        index,
        cipher: Some(cipher),
    })
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

/// Cuts off what the first and the last step have beyond the range; `bytes` begin at `at`.
fn clipped(mut bytes: Bytes, at: u64, range: &Range<u64>) -> Bytes {
    bytes.truncate(usize::try_from(range.end - at).unwrap_or(usize::MAX));
    let skip = usize::try_from(range.start.saturating_sub(at)).unwrap_or(usize::MAX);
    bytes.slice(skip.min(bytes.len())..)
}

fn in_file(path: &ObjectPath, error: Error) -> Error {
    let kind = error.kind();
    Error::new(kind, format!("read output {path}")).with_source(error)
}
