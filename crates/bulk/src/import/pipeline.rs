//! The threads of an import: one reads, some prepare, and the job's own task commits.
//!
//! Items carry a permit each from the reader to the commit, so that at most `chunks_in_flight` of them take memory; the
//! queues between need no bound of their own.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use fhirhose_jobs::{JobContext, StopReason};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::commit::Committer;
use super::environment::Environment;
use super::prepare::{Item, Prepared, Preparer};
use super::reader::read_inputs;
use super::rows::ResourceSet;
use super::state::State;
use crate::{Error, ErrorKind, Result};

/// Reads and commits all inputs from `state` on; gives the state at the end. All threads have ended when it returns.
pub(super) async fn run(environment: &Arc<Environment>, context: &JobContext, state: State) -> Result<State> {
    let (items_in, items_out) = channel();
    let (prepared_in, mut prepared_out) = unbounded_channel();
    let queue = Arc::new(Mutex::new(items_out));
    let in_flight = Arc::new(Semaphore::new(environment.settings.chunks_in_flight));
    let mut threads = JoinSet::new();
    for _ in 0..environment.settings.threads {
        let (environment, queue, prepared) =
            (Arc::clone(environment), Arc::clone(&queue), prepared_in.clone());
        threads.spawn_blocking(move || halting(&environment, || work(&environment, &queue, &prepared)));
    }
    drop((prepared_in, queue));
    let (reading, begin) = (Arc::clone(environment), state.clone());
    threads
        .spawn_blocking(move || halting(&reading, || read_inputs(&reading, &begin, &in_flight, &items_in)));

    let mut committer = Committer::new(environment, context, state);
    let committed = committer.commit_all(&mut prepared_out).await;
    if committed.is_err() {
        environment
            .halt
            .stop(context.stopping().unwrap_or(StopReason::Shutdown));
    }
    let joined = join(threads).await;
    let state = committer.into_state(&mut prepared_out).await;
    first_cause(context, committed, joined).map(|()| state)
}

/// Prepares items until there are no more.
fn work(
    environment: &Environment,
    queue: &Mutex<Receiver<Item>>,
    prepared: &UnboundedSender<Prepared>,
) -> Result<()> {
    let mut preparer = Preparer::new(environment);
    let nothing = ResourceSet::new();
    loop {
        let item = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(item) = item else { return Ok(()) };
        let done = preparer.prepare(item, &nothing)?;
        if prepared.send(done).is_err() {
            return Ok(());
        }
    }
}

/// Makes all threads end when one fails.
fn halting(environment: &Environment, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = work();
    if done.is_err() {
        environment.halt.stop(StopReason::Shutdown);
    }
    done
}

/// Waits for all threads; gives the first error that is not just the echo of another's.
async fn join(mut threads: JoinSet<Result<()>>) -> Result<()> {
    let mut cause = Ok(());
    while let Some(ended) = threads.join_next().await {
        let ended = ended.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Storage, "running a thread of the import").with_source(panic))
        });
        if ended.is_err() && !is_real(&cause) {
            cause = ended;
        }
    }
    cause
}

fn is_real(ended: &Result<()>) -> bool {
    ended
        .as_ref()
        .is_err_and(|error| !matches!(error.kind(), ErrorKind::Stopped(_)))
}

/// Says why the pipeline ended: a thread's own error, else the committer's, else the signal to stop.
fn first_cause(context: &JobContext, committed: Result<()>, joined: Result<()>) -> Result<()> {
    if is_real(&joined) {
        return joined;
    }
    match context.stopping() {
        Some(reason) if committed.is_err() => Err(Error::stopped(reason)),
        _ => committed.and(joined),
    }
}
