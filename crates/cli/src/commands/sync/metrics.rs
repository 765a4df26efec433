//! Metrics of a sync: a file for a collector, or a port on this machine.

use anyhow::{Context, Result};
use clap::Args;
use fhirhose_bulk::sync::{StateFolder, Sync, render_metrics};
use fhirhose_client::{Clock, SystemClock};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tokio::net::TcpListener;

/// Where metrics go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Writes metrics after each round into this file, in the text form of Prometheus
    #[arg(long, env = "FHIRHOSE_SYNC_METRICS_FILE", value_name = "FILE")]
    metrics_file: Option<PathBuf>,

    /// Answers with metrics at this address of this machine, such as 127.0.0.1:9102; with --every and --cron
    #[arg(long, env = "FHIRHOSE_SYNC_METRICS_LISTEN", value_name = "ADDR", value_parser = own_address)]
    metrics_listen: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Writes the file, in one step, for the collector to read: it runs as another user, and these are numbers only.
    pub(super) fn write(&self, sync: &Sync) -> Result<()> {
        let Some(file) = &self.metrics_file else {
            return Ok(());
        };
        let text = render_metrics(&sync.state()?, SystemClock.now());
        let partial = file.with_extension("partial");
        let readable = Permissions::from_mode(0o644);
        let written = std::fs::write(&partial, text)
            .and_then(|()| std::fs::set_permissions(&partial, readable))
            .and_then(|()| std::fs::rename(&partial, file));
        written.with_context(|| format!("writing {}", file.display()))
    }

    /// Whether an address is given.
    pub(super) fn listens(&self) -> bool {
        self.metrics_listen.is_some()
    }

    /// Answers until the end of time; never, where no address is given.
    pub(super) async fn serve(&self, sync: &Sync) -> Result<()> {
        let Some(address) = self.metrics_listen else {
            return std::future::pending().await;
        };
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listening at {address}"))?;
        let folder = sync.folder().path().to_owned();
        let render = move || match StateFolder::look(&folder) {
            Ok(state) => render_metrics(&state, SystemClock.now()),
            Err(_) => String::new(),
        };
        fhirhose_server::serve_metrics(listener, render, &fhirhose_jobs::SystemClock).await;
        Ok(())
    }
}

/// Reads an address that is of this machine only.
fn own_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok();
    let own = address.filter(|address: &SocketAddr| address.ip().is_loopback());
    own.ok_or_else(|| "an address of this machine only is taken, such as 127.0.0.1:9102".to_owned())
}
