//! The subcommands, one a file.

pub(crate) mod audit;
pub(crate) mod client;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod jobs;
pub(crate) mod load;
pub(crate) mod pull;
pub(crate) mod reconcile;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod verify;

use crate::arguments::Command;
pub(crate) use crate::logging::say;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a subcommand.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Generate(generate) => generate.run(),
        Command::Demo(demo) => runtime()?.block_on(demo.run()),
        Command::Load(load) => runtime()?.block_on(load.run()),
        Command::Export(export) => runtime()?.block_on(export.run()),
        Command::Pull(pull) => runtime()?.block_on(pull.run()),
        Command::Doctor(doctor) => runtime()?.block_on(doctor.run()),
        Command::Reconcile(reconcile) => runtime()?.block_on(reconcile.run()),
        Command::Sync(sync) => runtime()?.block_on(Box::pin(sync.run())),
        Command::Serve(serve) => runtime()?.block_on(serve.run()),
        Command::Client(client) => runtime()?.block_on(client.run()),
        Command::Jobs(jobs) => runtime()?.block_on(jobs.run()),
        Command::Audit(audit) => audit.run(),
        Command::Store(store) => runtime()?.block_on(store.run()),
        Command::Verify(verify) => verify.run(),
        Command::Diff(diff) => diff.run(),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// How a command goes on that remembers where it was.
pub(crate) const AGAIN: &str = "run the same command again and it goes on where it stopped";

/// Runs until it ends or the user, or the machine, wants it to stop; `again` says what becomes of it then. From here on the process hears of a stop
/// only while something runs in this.
pub(crate) async fn interruptible<T>(running: impl Future<Output = T>, again: &str) -> Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let running = Box::pin(running);
    tokio::select! {
        ended = running => Ok(ended),
        signal = tokio::signal::ctrl_c() => {
            signal.context("listening for Ctrl-C")?;
            bail!("interrupted; {again}")
        }
        _ = terminate.recv() => bail!("stopped; {again}"),
    }
}

/// Writes data to stdout; everything else goes to stderr.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("writing to stdout")
}
