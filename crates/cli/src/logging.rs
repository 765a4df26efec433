//! What the process says on stderr: logs, one event a line, with fields, and what commands tell. Never resource content, ids of patients, or
//! credentials.
//!
//! A command waits until its words are taken. One that serves others does not: [`detach`].

use crate::waiting_lines::WaitingLines;
use anyhow::{Context, Result};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// How long the end of the process waits for stderr to take what is still to be said.
const END_WAIT: Duration = Duration::from_secs(3);

/// There once lines wait in memory for stderr to take them.
static DETACHED: OnceLock<WaitingLines> = OnceLock::new();

/// Starts logging at a level; `FHIRHOSE_LOG` (as `tracing` filters are written) wins.
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_from_env("FHIRHOSE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        .with_ansi(colours)
        .init();
}

/// From here on nothing waits for stderr: what it does not take at once waits in memory, up to a limit, behind which lines are dropped,
/// counted and told of. [`end`] has to be the last that the process does.
///
/// # Errors
/// A system that gives neither threads nor file descriptors.
pub(crate) fn detach() -> Result<()> {
    // Not by way of the standard library's stderr, which whoever waits in it holds locked.
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let lines = stderr.and_then(|stderr| WaitingLines::start(File::from(stderr)));
    let lines = lines.context("preparing the log")?;
    if DETACHED.set(lines).is_ok() {
        std::panic::set_hook(Box::new(tell_of_panic));
    }
    Ok(())
}

/// Says some lines.
pub(crate) fn say(text: &str) {
    // A closed stderr is no reason to stop.
    let _ = Stderr.write_all(format!("{text}\n").as_bytes());
}

/// Waits until everything is said, but not for ever.
pub(crate) fn end() {
    if let Some(lines) = DETACHED.get() {
        lines.flush(END_WAIT);
    }
}

/// Says what the standard library would, which would wait.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => say(&format!("thread '{name}' {panic}\n{backtrace}")),
        _ => say(&format!("thread '{name}' {panic}")),
    }
    // It ends the process.
    if name == "main" {
        end();
    }
}

/// Takes whole lines at each call.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match DETACHED.get() {
            None => io::stderr().write_all(lines)?,
            Some(waiting) => waiting.push(lines),
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
