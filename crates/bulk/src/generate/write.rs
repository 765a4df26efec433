//! Writing a population to files: parts are made by several threads and written in order, each by the thread that made it.
//!
//! A thread whose part is not next waits, so that memory is bounded by one part per thread.

use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::kind::{KINDS, Kind, NAMES};
use super::plan::Plan;
use super::text::Sheets;
use super::{GenerateError, Generated, Population, Summary, TypeSummary};

/// Writes a population as `out/Type.ndjson`, one file for each of the 23 types, replacing files of these names.
///
/// The bytes depend on the population alone, not on `threads`. Files are written as `.Type.ndjson.partial` and renamed
/// when all are whole; after an error the partial files are removed and no final name has changed, unless renaming itself
/// failed. Nothing is synced to disk. Memory is bounded by about 8 MB a thread, besides the largest Group's line.
/// `progress` is called after each part, from any of the threads but never from two at once.
///
/// # Errors
/// [`GenerateError::NoPatients`] for an empty population; otherwise what the file system refused, with the path.
pub fn write_population(
    population: &Population,
    out: &Path,
    threads: NonZeroUsize,
    progress: &(dyn Fn(Generated) + Sync),
) -> Result<Summary, GenerateError> {
    if population.patients == 0 {
        return Err(GenerateError::NoPatients);
    }
    fs::create_dir_all(out).map_err(|source| GenerateError::Folder {
        path: out.to_owned(),
        source,
    })?;
    let run = Run {
        plan: Plan::new(*population),
        claimed: AtomicU32::new(0),
        queue: Mutex::new(Queue::open(out)?),
        moved: Condvar::new(),
        progress,
    };
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| run.work());
        }
    });
    let queue = run.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    queue.close(population.patients)
}

struct Run<'p> {
    plan: Plan,
    /// The next part that nobody makes yet.
    claimed: AtomicU32,
    queue: Mutex<Queue>,
    /// Signalled when a part was written or the run has failed.
    moved: Condvar,
    progress: &'p (dyn Fn(Generated) + Sync),
}

impl Run<'_> {
    fn work(&self) {
        let _alarm = Alarm { run: self };
        let mut sheets = Sheets::default();
        loop {
            let position = self.claimed.fetch_add(1, Ordering::Relaxed);
            let Some(part) = self.plan.part(position) else {
                return;
            };
            sheets.clear();
            self.plan.write(&part, &mut sheets);
            let waiting = |queue: &mut Queue| queue.next != position && !queue.stopped;
            let mut queue = self
                .moved
                .wait_while(self.lock(), waiting)
                .unwrap_or_else(PoisonError::into_inner);
            if queue.stopped {
                return;
            }
            queue.append(&sheets);
            (self.progress)(queue.generated);
            drop(queue);
            self.moved.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere is raised again by the scope; here it must only not hide the first error.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the run when its thread panics, because the others would wait for its part for ever.
struct Alarm<'r, 'p> {
    run: &'r Run<'p>,
}

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.run.lock().stopped = true;
            self.run.moved.notify_all();
        }
    }
}

/// The files, and whose turn it is to write them.
struct Queue {
    out: PathBuf,
    files: Vec<File>,
    /// The part that is written next.
    next: u32,
    stopped: bool,
    failure: Option<GenerateError>,
    generated: Generated,
    types: [TypeSummary; KINDS],
}

impl Queue {
    fn open(out: &Path) -> Result<Self, GenerateError> {
        let mut queue = Self {
            out: out.to_owned(),
            files: Vec::with_capacity(KINDS),
            next: 0,
            stopped: false,
            failure: None,
            generated: Generated::default(),
            types: NAMES.map(TypeSummary::empty),
        };
        for name in NAMES {
            let path = queue.partial(name);
            match File::create(&path) {
                Ok(file) => queue.files.push(file),
                Err(source) => {
                    queue.discard();
                    return Err(GenerateError::Write { path, source });
                }
            }
        }
        Ok(queue)
    }

    fn append(&mut self, sheets: &Sheets) {
        self.next += 1;
        for (at, text) in sheets.texts().iter().enumerate() {
            let bytes = text.as_bytes();
            if let Err(source) = self.files[at].write_all(bytes) {
                let path = self.partial(NAMES[at]);
                self.failure = Some(GenerateError::Write { path, source });
                self.stopped = true;
                return;
            }
            let resources = sheets.resources()[at];
            self.types[at].resources += resources;
            self.types[at].bytes += bytes.len() as u64;
            self.generated.resources += resources;
            self.generated.bytes += bytes.len() as u64;
        }
        self.generated.patients += sheets.resources()[Kind::Patient as usize];
    }

    /// Gives the files their names, or removes them after a failure.
    fn close(mut self, patients: u32) -> Result<Summary, GenerateError> {
        if let Some(failure) = self.failure.take() {
            self.discard();
            return Err(failure);
        }
        for name in NAMES {
            let path = self.out.join(format!("{name}.ndjson"));
            if let Err(source) = fs::rename(self.partial(name), &path) {
                self.discard();
                return Err(GenerateError::Rename { path, source });
            }
        }
        Ok(Summary {
            patients,
            types: self.types.to_vec(),
        })
    }

    /// Removes the partial files.
    fn discard(&self) {
        for name in NAMES {
            // The failure that led here is the one to report; a file that cannot be removed says by its name what it is.
            drop(fs::remove_file(self.partial(name)));
        }
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.out.join(format!(".{name}.ndjson.partial"))
    }
}
