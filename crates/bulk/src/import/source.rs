//! Opening inputs: files and URLs, plain, gzip or zstd, told by their first bytes and never by a name.
//!
//! [`Fetch`] is what an import needs of an HTTP client. [`OpenInput`] gives the text of one input, from any offset on, and
//! notices when the input is not the one that the import began with.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use fhirhose_jobs::{Failure, StopSignal};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::links::open_unlinked;
use super::settings::ImportSettings;
use super::spec::{InputSpec, Location};
use crate::{Error, ErrorKind, Result};

/// Fetches inputs over HTTP.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Requests the bytes of `url` from the offset `from` on; with `if_range`, only if the entity tag is still this one.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] for what may pass, [`ErrorKind::NotFound`] for an answer that says that there is nothing
    /// to be had; the error carries no part of the URL's query.
    async fn fetch(&self, url: &str, from: u64, if_range: Option<&str>) -> Result<Fetched>;
}

/// The answer to a request for an input.
pub struct Fetched {
    /// The offset of the first byte that follows: the one that was asked for, or 0 when all of the input does.
    pub from: u64,
    /// A strong entity tag, if there is one.
    pub etag: Option<String>,
    /// The length of the whole input in bytes, if it is known.
    pub length: Option<u64>,
    /// The bytes as they were sent, without transparent decompression. A body that ends short is an error.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// What tells whether an input is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The length as it lies there, in bytes.
    pub(super) length: Option<u64>,
    /// An entity tag, or the time of a file's last change.
    pub(super) tag: Option<String>,
}

/// How an input is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

/// Where an interrupted import goes on within an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resume {
    /// The offset in the text of the line that is next.
    pub(super) offset: u64,
    /// That line's number, from 1.
    pub(super) line: u64,
    /// What the input was like when it was opened first.
    pub(super) facts: InputFacts,
}

/// What is known of an input once it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InputFacts {
    pub(super) identity: Identity,
    pub(super) coding: Coding,
}

impl InputFacts {
    /// Of an input that could not be opened.
    pub(super) fn unknown() -> Self {
        Self {
            identity: Identity::default(),
            coding: Coding::Plain,
        }
    }
}

/// What inputs are opened with.
pub(super) struct Opener<'a> {
    pub(super) fetch: Option<&'a dyn Fetch>,
    pub(super) runtime: &'a Handle,
    /// Ends waiting for the network.
    pub(super) halt: &'a StopSignal,
}

/// Why an input gives no more text.
#[derive(Debug)]
pub(super) enum ReadFailure {
    /// The input itself is at fault: it is reported, and the import goes on with the next.
    Input { rule: &'static str, message: String },
    /// The import cannot go on now, or not at all.
    Job(Error),
}

impl ReadFailure {
    fn input(rule: &'static str, message: impl Into<String>) -> Self {
        Self::Input {
            rule,
            message: message.into(),
        }
    }

    fn changed(input: &InputSpec) -> Self {
        let problem = format!(
            "input {} is not what it was when the import began",
            input.short_name()
        );
        Self::Job(Error::new(ErrorKind::InputChanged, problem))
    }
}

/// The text of one input.
pub(super) struct OpenInput {
    text: Box<dyn Read + Send>,
    pub(super) facts: InputFacts,
    raw: RawMeter,
    text_bytes: u64,
    limits: TextLimits,
}

/// How much text an input may have.
#[derive(Clone, Copy)]
pub(super) struct TextLimits {
    expansion_max: u64,
    bytes_max: u64,
}

impl TextLimits {
    pub(super) fn of(settings: &ImportSettings) -> Self {
        Self {
            expansion_max: settings.expansion_max,
            bytes_max: settings.input_bytes_max.unwrap_or(u64::MAX),
        }
    }
}

/// Below this, no expansion is too much.
const EXPANSION_FREE_BYTES: u64 = 64 << 20;

/// A zstd input may make us keep 128 MiB of what went before, as `zstd --long` does, and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

const BUFFER_BYTES: usize = 256 << 10;

impl OpenInput {
    /// Opens an input, at the place where an earlier attempt stopped if there was one.
    pub(super) fn open(
        input: &InputSpec,
        resume: Option<&Resume>,
        opener: &Opener<'_>,
        limits: TextLimits,
    ) -> Result<Self, ReadFailure> {
        let raw = match &input.location {
            Location::Path(path) => {
                let opened = match input.is_of_request() {
                    true => open_unlinked(path),
                    false => File::open(path),
                };
                RawInput::of_file(input, opened, resume)?
            }
            Location::Url(url) => RawInput::of_url(input, url, resume, opener)?,
        };
        let meter = RawMeter::default();
        meter.bytes.store(raw.starts_at, Ordering::Relaxed);
        let mut bytes = Metered {
            inner: raw.bytes,
            meter: meter.clone(),
        };
        let mut head = Vec::new();
        let coding = match resume {
            Some(resume) if raw.starts_at > 0 => resume.facts.coding,
            _ => {
                read_head(&mut bytes, &mut head).map_err(|error| meter.failure(&error))?;
                coding_of(&head)
            }
        };
        let facts = InputFacts {
            identity: raw.identity,
            coding,
        };
        let text =
            decode(coding, Read::chain(Cursor::new(head), bytes)).map_err(|error| meter.failure(&error))?;
        let mut open = Self {
            text,
            facts,
            raw: meter,
            text_bytes: raw.starts_at,
            limits,
        };
        if let Some(resume) = resume {
            open.skip_to(resume.offset, input)?;
        }
        Ok(open)
    }

    /// Reads some text; 0 bytes at the end of the input.
    pub(super) fn read(&mut self, buffer: &mut [u8], input: &InputSpec) -> Result<usize, ReadFailure> {
        let read = loop {
            match self.text.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| self.raw.failure(&error))?,
            }
        };
        self.text_bytes += read as u64;
        if read == 0
            && self
                .facts
                .identity
                .length
                .is_some_and(|length| length != self.raw_bytes())
        {
            return Err(ReadFailure::changed(input));
        }
        self.check_size()?;
        Ok(read)
    }

    fn check_size(&self) -> Result<(), ReadFailure> {
        let TextLimits {
            expansion_max,
            bytes_max,
        } = self.limits;
        let free = EXPANSION_FREE_BYTES.max(self.raw_bytes().saturating_mul(expansion_max));
        if self.facts.coding != Coding::Plain && self.text_bytes > free {
            let message = format!("the input unfolds to more than {expansion_max} times its size");
            return Err(ReadFailure::input("input-expansion", message));
        }
        if self.text_bytes > bytes_max {
            let message = format!("the input has more than {bytes_max} bytes of text, the limit for one");
            return Err(ReadFailure::input("input-too-long", message));
        }
        Ok(())
    }

    /// Bytes of the input read so far, as they lie there.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of text read so far.
    pub(super) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    fn skip_to(&mut self, offset: u64, input: &InputSpec) -> Result<(), ReadFailure> {
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.text_bytes < offset {
            let left = usize::try_from(offset - self.text_bytes)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            if self.read(&mut buffer[..left], input)? == 0 {
                return Err(ReadFailure::changed(input));
            }
        }
        Ok(())
    }
}

/// The bytes of an input as they lie there.
struct RawInput {
    bytes: Box<dyn Read + Send>,
    identity: Identity,
    /// The offset of the first byte.
    starts_at: u64,
}

impl RawInput {
    fn of_file(
        input: &InputSpec,
        opened: io::Result<File>,
        resume: Option<&Resume>,
    ) -> Result<Self, ReadFailure> {
        let unreadable = |error: io::Error| {
            let rule = if error.kind() == io::ErrorKind::NotFound {
                "input-not-found"
            } else {
                "input-unreadable"
            };
            ReadFailure::input(rule, format!("the input cannot be read: {error}"))
        };
        let mut file = opened.map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let identity = Identity {
            length: metadata.is_file().then_some(metadata.len()),
            tag: changed.map(|since| since.as_nanos().to_string()),
        };
        let mut starts_at = 0;
        if let Some(resume) = resume {
            if resume.facts.identity != identity {
                return Err(ReadFailure::changed(input));
            }
            if resume.facts.coding == Coding::Plain {
                starts_at = file.seek(SeekFrom::Start(resume.offset)).map_err(unreadable)?;
            }
        }
        Ok(Self {
            bytes: Box::new(file),
            identity,
            starts_at,
        })
    }

    fn of_url(
        input: &InputSpec,
        url: &str,
        resume: Option<&Resume>,
        opener: &Opener<'_>,
    ) -> Result<Self, ReadFailure> {
        let Some(fetch) = opener.fetch else {
            let problem = "an input is a URL, and fetching is not set up";
            return Err(ReadFailure::Job(Error::new(ErrorKind::Invalid, problem)));
        };
        let known = resume.map(|resume| &resume.facts);
        let tag = known.and_then(|facts| facts.identity.tag.as_deref());
        // Only a plain input can be taken up in the middle, and only a strong tag tells that it is the same.
        let from = match (known, tag) {
            (Some(facts), Some(_)) if facts.coding == Coding::Plain => {
                resume.map_or(0, |resume| resume.offset)
            }
            _ => 0,
        };
        if let Some(facts) = known.filter(|facts| from > 0 && facts.identity.length == Some(from)) {
            // All of it is read; a range that begins at the end is one that servers refuse.
            return Ok(Self {
                bytes: Box::new(io::empty()),
                identity: facts.identity.clone(),
                starts_at: from,
            });
        }
        let if_range = tag.filter(|_| from > 0);
        let answer = opener
            .wait(fetch.fetch(url, from, if_range))
            .and_then(|answer| answer);
        let answer = answer.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ReadFailure::input(
                "input-not-found",
                Failure::from_error(error.kind().code(), &error).message,
            ),
            _ => ReadFailure::Job(error),
        })?;
        let identity = Identity {
            length: answer.length,
            tag: answer.etag,
        };
        if known.is_some_and(|facts| facts.identity != identity) || (answer.from != 0 && answer.from != from)
        {
            return Err(ReadFailure::changed(input));
        }
        let stream = StreamRead {
            stream: answer.stream,
            piece: Bytes::new(),
            runtime: opener.runtime.clone(),
            halt: opener.halt.clone(),
        };
        Ok(Self {
            bytes: Box::new(stream),
            identity,
            starts_at: answer.from,
        })
    }
}

impl Opener<'_> {
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        wait(self.runtime, self.halt, future)
    }
}

/// Waits on a thread of one's own for something of the runtime, or for the signal to stop.
pub(super) fn wait<T>(runtime: &Handle, halt: &StopSignal, future: impl Future<Output = T>) -> Result<T> {
    runtime.block_on(async {
        tokio::select! {
            biased;
            reason = halt.stopped() => Err(Error::stopped(reason)),
            done = future => Ok(done),
        }
    })
}

/// Reads a stream as a file.
struct StreamRead {
    stream: BoxStream<'static, Result<Bytes>>,
    piece: Bytes,
    runtime: Handle,
    halt: StopSignal,
}

impl Read for StreamRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match wait(&self.runtime, &self.halt, self.stream.next()) {
                Ok(Some(Ok(piece))) => self.piece = piece,
                Ok(None) => return Ok(0),
                Ok(Some(Err(error))) | Err(error) => return Err(io::Error::other(error)),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Counts raw bytes, and keeps the error of a raw read: a decoder above would pass it off as its own.
#[derive(Clone, Default)]
struct RawMeter {
    /// The offset of the next byte. Written by the reading thread alone.
    bytes: Arc<AtomicU64>,
    /// Set when a raw read fails, taken by `failure`.
    error: Arc<Mutex<Option<io::Error>>>,
}

impl RawMeter {
    /// Says what a failed read of the text means.
    fn failure(&self, decoding: &io::Error) -> ReadFailure {
        let raw = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(raw) = raw {
            let text = raw.to_string();
            return match raw.into_inner().map(|inner| inner.downcast::<Error>()) {
                // What is refused in the middle, for its length, is refused again when it is tried again.
                Some(Ok(error)) if error.kind() == ErrorKind::NotFound => {
                    let message = Failure::from_error(error.kind().code(), &*error).message;
                    ReadFailure::input("input-unreadable", message)
                }
                Some(Ok(error)) => ReadFailure::Job(*error),
                _ => ReadFailure::input("input-unreadable", format!("the input cannot be read: {text}")),
            };
        }
        match decoding.kind() {
            io::ErrorKind::UnexpectedEof => ReadFailure::input(
                "input-truncated",
                "the compressed input ends before its end: it is cut short",
            ),
            _ => ReadFailure::input(
                "input-corrupt",
                format!("the compressed input is damaged: {decoding}"),
            ),
        }
    }
}

struct Metered {
    inner: Box<dyn Read + Send>,
    meter: RawMeter,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.meter.bytes.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), "reading the input failed");
                *self.meter.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(told)
            }
        }
    }
}

/// Reads enough to tell the coding; less only when the input is shorter.
fn read_head(bytes: &mut impl Read, head: &mut Vec<u8>) -> io::Result<()> {
    bytes.take(4).read_to_end(head).map(|_| ())
}

fn coding_of(head: &[u8]) -> Coding {
    match head {
        [0x1F, 0x8B, ..] => Coding::Gzip,
        // A zstd frame, or one that is to be skipped, as run files and stored outputs begin with.
        [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Coding::Zstd,
        _ => Coding::Plain,
    }
}

fn decode(coding: Coding, bytes: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let buffered = |bytes| BufReader::with_capacity(BUFFER_BYTES, bytes);
    Ok(match coding {
        Coding::Plain => Box::new(bytes),
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(bytes))),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(bytes))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_told_by_the_first_bytes() {
        assert_eq!(coding_of(b"{\"re"), Coding::Plain);
        assert_eq!(coding_of(b""), Coding::Plain);
        assert_eq!(coding_of(&[0x1F, 0x8B, 8, 0]), Coding::Gzip);
        assert_eq!(
            coding_of(&zstd::bulk::compress(b"x", 1).unwrap()[..4]),
            Coding::Zstd
        );
        assert_eq!(coding_of(&[0x5E, 0x2A, 0x4D, 0x18]), Coding::Zstd);
    }
}
