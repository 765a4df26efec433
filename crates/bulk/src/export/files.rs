//! Writes lines into files of bounded size: [`Place`], [`FileCutter`].

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::{
    Hashing, OutputFile, OutputName, OutputSettings, OutputStore, OutputWriter, PlainFolder,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::parts::{Crew, Event};
use super::side::{Gathered, Side};
use super::state::Next;

/// Lines are gathered to so many bytes before they are hashed and written: they stay in the processor's cache.
const BUFFER_BYTES: usize = 256 << 10;

/// A buffer that a huge resource made grow beyond this is given back.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// Where the files of one export are made.
pub(super) enum Place {
    /// The store's outputs, below the job's name.
    Outputs {
        outputs: OutputStore,
        job: String,
        settings: OutputSettings,
    },
    /// A folder beside the finished files.
    Folder { staging: PlainFolder, hashing: Hashing },
}

impl Place {
    /// Starts a file. On a blocking thread, within the runtime.
    pub(super) fn create(&self, name: &str) -> fhirhose_store::Result<OutputWriter> {
        match self {
            Self::Outputs {
                outputs,
                job,
                settings,
            } => outputs.create(&OutputName::new(job, name)?, settings),
            Self::Folder { staging, hashing } => staging.create(name, *hashing),
        }
    }
}

/// Takes the lines of a part, and begins another file where the next line would make one too long.
///
/// A file is begun with its first line, so none is empty. Finished files are told to the coordinator in their order, once they
/// are in their place; meanwhile the part goes on.
pub(super) struct FileCutter<'a> {
    crew: &'a Arc<Crew>,
    part: usize,
    type_name: &'static str,
    /// Lines of the present file that are not written yet.
    buffer: Vec<u8>,
    /// How many they are.
    buffer_rows: u64,
    file: Option<OutputWriter>,
    /// The text of the present file, the buffer included.
    file_bytes: u64,
    files: usize,
    /// The file before, on its way to its place; says in the end whether it was told, and all before it.
    finishing: Option<JoinHandle<bool>>,
    /// Whether the part is made again from its beginning when it is not ended.
    is_one_piece: bool,
    /// What later stages need of the present file's resources.
    side: Option<Side>,
}

impl<'a> FileCutter<'a> {
    /// Begins after `files` files of the part.
    pub(super) fn new(crew: &'a Arc<Crew>, part: usize, type_name: &'static str, files: usize) -> Self {
        Self {
            crew,
            part,
            type_name,
            buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4),
            buffer_rows: 0,
            file: None,
            file_bytes: 0,
            files,
            finishing: None,
            is_one_piece: false,
            side: Side::new(&crew.gathering, crew.stage, part, files),
        }
    }

    /// Says that the part cannot go on in its middle: when there is time, it is ended before the export stops.
    pub(super) fn of_one_piece(self) -> Self {
        Self {
            is_one_piece: true,
            ..self
        }
    }

    /// Adds one line: `write` appends it, with its line end; `key` is where the part would go on with it.
    ///
    /// # Errors
    /// What writing gives. It breaks when the export is to stop.
    pub(super) fn line(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        key: impl FnOnce() -> Vec<u8>,
    ) -> fhirhose_store::Result<ControlFlow<()>> {
        self.put(None, write, key)
    }

    /// Adds a resource as [`FileCutter::line`] does, and gathers what later stages need of it.
    pub(super) fn resource(
        &mut self,
        (resource_type, id): (ResourceType, &str),
        write: impl FnOnce(&mut Vec<u8>),
        key: impl FnOnce() -> Vec<u8>,
    ) -> fhirhose_store::Result<ControlFlow<()>> {
        self.put(Some((resource_type, id)), write, key)
    }

    fn put(
        &mut self,
        resource: Option<(ResourceType, &str)>,
        write: impl FnOnce(&mut Vec<u8>),
        key: impl FnOnce() -> Vec<u8>,
    ) -> fhirhose_store::Result<ControlFlow<()>> {
        let start = self.buffer.len();
        write(&mut self.buffer);
        let line_bytes = (self.buffer.len() - start) as u64;
        self.buffer_rows += 1;
        if self.file_bytes > 0 && self.file_bytes + line_bytes > self.crew.file_bytes_max {
            self.write_out(start)?;
            if self.end_file(End::at(Next::Key(key()))).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.file_bytes += line_bytes;
        if let (Some(side), Some((resource_type, id))) = (&mut self.side, resource) {
            let line = &self.buffer[self.buffer.len() - line_bytes as usize..];
            side.add(self.crew, resource_type, id, line)?;
        }
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(ControlFlow::Continue(()));
        }
        self.write_out(self.buffer.len())?;
        Ok(self.crew.go_on_in_file())
    }

    /// The text of the present file so far.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Adds a line, with its end, to the present file however long that is; for a caller who cuts the files.
    pub(super) fn push(&mut self, line: &[u8]) -> fhirhose_store::Result<ControlFlow<()>> {
        self.buffer.extend_from_slice(line);
        self.buffer_rows += 1;
        self.file_bytes += line.len() as u64;
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(ControlFlow::Continue(()));
        }
        self.write_out(self.buffer.len())?;
        Ok(self.crew.go_on_in_file())
    }

    /// Ends the present file; the part goes on at `next`, with the block at hand if it `is_continued`.
    pub(super) fn cut(&mut self, next: Next, is_continued: bool) -> fhirhose_store::Result<ControlFlow<()>> {
        self.write_out(self.buffer.len())?;
        Ok(self.end_file(End { next, is_continued }))
    }

    /// Ends the last file, and with it the part.
    pub(super) fn finish(mut self) -> fhirhose_store::Result<()> {
        self.write_out(self.buffer.len())?;
        // When the export is to stop nobody listens any more, and what was not told was not done.
        let _ = match self.file {
            Some(_) => self.end_file(End::at(Next::Done)),
            None => self.tell_done(),
        };
        Ok(())
    }

    /// Writes the first `end` bytes of the buffer.
    fn write_out(&mut self, end: usize) -> fhirhose_store::Result<()> {
        if end == 0 {
            return Ok(());
        }
        if self.file.is_none() {
            let name = self.crew.file_name(self.part, self.files, self.type_name);
            self.file = Some(self.crew.place.create(&name)?);
        }
        let file = self.file.as_mut().expect("it was begun just now");
        file.write(&self.buffer[..end])?;
        // At most the last line stays.
        let rows_left = u64::from(end < self.buffer.len());
        let rows = self.buffer_rows - rows_left;
        self.buffer_rows = rows_left;
        self.buffer.drain(..end);
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4);
        }
        self.crew.wrote(self.part, end as u64, rows);
        Ok(())
    }

    /// Brings the present file to its place; where that takes its time, another thread does, after the file before.
    fn end_file(&mut self, end: End) -> ControlFlow<()> {
        let Some(file) = self.file.take() else {
            return ControlFlow::Continue(());
        };
        self.file_bytes = 0;
        self.files += 1;
        let gathered = self.side.as_mut().map(Side::take);
        let goes_on = match &self.crew.place {
            Place::Folder { .. } => tell_finished(self.crew, self.part, file.finish(), gathered, end),
            Place::Outputs { .. } => {
                self.finish_elsewhere(file, gathered, end);
                true
            }
        };
        if !goes_on {
            return ControlFlow::Break(());
        }
        match self.is_one_piece {
            true => self.crew.go_on_in_file(),
            false => self.crew.go_on(),
        }
    }

    fn finish_elsewhere(&mut self, file: OutputWriter, gathered: Option<Gathered>, end: End) {
        let runtime = Handle::current();
        let permit = runtime.block_on(Arc::clone(&self.crew.finishing).acquire_owned());
        let permit = permit.expect("nobody closes the semaphore");
        let (crew, part, before) = (Arc::clone(self.crew), self.part, self.finishing.take());
        self.finishing = Some(runtime.clone().spawn_blocking(move || {
            let is_next = before.is_none_or(|before| runtime.block_on(before).is_ok_and(|told| told));
            let is_told = is_next && tell_finished(&crew, part, file.finish(), gathered, end);
            drop(permit);
            is_told
        }));
    }

    /// Tells that the part ends behind its last file.
    fn tell_done(&mut self) -> ControlFlow<()> {
        let before = self.finishing.take();
        if before.is_none_or(|before| Handle::current().block_on(before).is_ok_and(|told| told)) {
            self.crew.tell(Event::Advanced {
                part: self.part,
                file: None,
                is_continued: false,
                side: Vec::new(),
                next: Next::Done,
            });
        }
        self.crew.go_on()
    }
}

/// How a file ends.
struct End {
    /// Where the part goes on.
    next: Next,
    /// Whether its last block goes on in the next file.
    is_continued: bool,
}

impl End {
    fn at(next: Next) -> Self {
        Self {
            next,
            is_continued: false,
        }
    }
}

/// Says whether the file is in its place: when it is not, nothing behind it may be told, or a checkpoint would step over its rows.
fn tell_finished(
    crew: &Crew,
    part: usize,
    finished: fhirhose_store::Result<OutputFile>,
    gathered: Option<Gathered>,
    end: End,
) -> bool {
    let finished = finished.and_then(|file| {
        let side = gathered.map(|gathered| gathered.write(crew)).transpose()?;
        Ok((file, side.unwrap_or_default()))
    });
    let event = match finished {
        Ok((file, side)) => Event::Advanced {
            part,
            file: Some(file),
            is_continued: end.is_continued,
            side,
            next: end.next,
        },
        Err(error) => Event::Failed(error.into()),
    };
    let is_told = !matches!(event, Event::Failed(_));
    crew.tell(event);
    is_told
}
