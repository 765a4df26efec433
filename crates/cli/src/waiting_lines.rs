//! Lines that wait to be written by a thread of their own: [`WaitingLines`]. Who has them written never waits.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What may wait, in bytes.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What a line costs beside its text, in bytes.
const LINE_BYTES: usize = 64;

/// The way to the thread that writes.
pub(crate) struct WaitingLines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something to write; the writing thread waits on it.
    filled: Condvar,
    /// Signalled when everything is written; whoever ends the process waits on it.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// What they cost, the one that is being written too.
    bytes: usize,
    /// Lines that came when there was no room, and of which nothing is told yet. While there are some, all others join them until half of
    /// the room is free: so one line tells of many.
    dropped: u64,
}

impl WaitingLines {
    /// Starts the thread, which lives as long as the process. An output that fails swallows what it is given.
    ///
    /// # Errors
    /// There are no threads to be had.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || theirs.write_to(out))?;
        Ok(Self(shared))
    }

    /// Takes a line, which has its end with it, or counts it as dropped.
    pub(crate) fn push(&self, line: &[u8]) {
        self.0.state().push(line);
        self.0.filled.notify_one();
    }

    /// Waits until everything is written, but no longer than this.
    pub(crate) fn flush(&self, wait: Duration) {
        let is_busy = |state: &mut State| state.bytes > 0 || state.dropped > 0;
        // Whether it was written or not, the end comes now.
        drop(self.0.emptied.wait_timeout_while(self.0.state(), wait, is_busy));
    }
}

impl Shared {
    /// What a panic left is whole: nothing in here panics between two changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        loop {
            let line = self.next();
            // Nobody is left who could be told.
            let _ = out.write_all(&line);
            let mut state = self.state();
            state.bytes -= cost(&line);
            if state.bytes == 0 && state.dropped == 0 {
                self.emptied.notify_all();
            }
        }
    }

    /// Waits for a line; it counts until it is written.
    fn next(&self) -> Vec<u8> {
        let is_idle = |state: &mut State| state.lines.is_empty() && state.dropped == 0;
        let mut state = self
            .filled
            .wait_while(self.state(), is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() {
            state.tell_of_dropped();
        }
        state.lines.pop_front().expect("it is not idle")
    }
}

impl State {
    fn push(&mut self, line: &[u8]) {
        let max = match self.dropped {
            0 => WAITING_BYTES_MAX,
            _ => WAITING_BYTES_MAX / 2,
        };
        if self.bytes + cost(line) > max {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            self.tell_of_dropped();
        }
        self.add(line.to_vec());
    }

    /// Tells where lines are missing how many.
    fn tell_of_dropped(&mut self) {
        let count = std::mem::take(&mut self.dropped);
        let text = format!("warning: lines of the log were dropped, for stderr did not take them: {count}\n");
        self.add(text.into_bytes());
    }

    fn add(&mut self, line: Vec<u8>) {
        self.bytes += cost(&line);
        self.lines.push_back(line);
    }
}

fn cost(line: &[u8]) -> usize {
    line.len() + LINE_BYTES
}
