//! `fhirhose serve`: Bulk Data over HTTP.

mod audit;
mod authorization;
mod floods;
mod imports;
mod transport;

use super::say;
use crate::logging;
use crate::operator_access::OPERATOR_SOCKET;
use crate::output_key::OutputKeyArgs;
use crate::workspace::{self, WORKER};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use fhirhose_bulk::export::GroupJoiners;
use fhirhose_bulk::import::HttpFetch;
use fhirhose_client::Http;
use fhirhose_jobs::SystemEntropy;
use fhirhose_server::audit::FolderFiles;
use fhirhose_server::{Components, HeaderMode, ServerSettings};
use fhirhose_store::OpenMode;
use imports::ImportArgs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use url::Url;

/// Serves Bulk Data over HTTP: export, import, read and write
///
/// Stops at Ctrl-C or SIGTERM: requests end, jobs stop at their next checkpoint and go on at the next start.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose serve --data store
  curl -i -H 'Accept: application/fhir+json' -H 'Prefer: respond-async' 'http://127.0.0.1:8080/fhir/$export'")]
pub(crate) struct Serve {
    /// Data folder; made when absent
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    #[command(flatten)]
    output_key: OutputKeyArgs,

    /// Where to listen; without authorization only addresses of this machine
    #[arg(
        long,
        env = "FHIRHOSE_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    listen: SocketAddr,

    /// Where the operator's Unix socket is made [default: operator.sock in the data folder]
    #[arg(long, env = "FHIRHOSE_OPERATOR_SOCKET", value_name = "PATH")]
    operator_socket: Option<PathBuf>,

    /// The public FHIR base, with /fhir [default: from the listener]
    #[arg(long, env = "FHIRHOSE_BASE_URL", value_name = "URL")]
    base_url: Option<Url>,

    #[command(flatten)]
    authorization: authorization::Authorization,

    /// What a kick-off without Accept or Prefer gets: a refusal, or the standard's values
    #[arg(long, env = "FHIRHOSE_HEADERS", value_enum, default_value_t = Headers::Strict)]
    headers: Headers,

    #[command(flatten)]
    imports: ImportArgs,

    /// How long a finished job and its files are kept, in seconds
    #[arg(long, env = "FHIRHOSE_RETENTION_SECS", default_value_t = 24 * 60 * 60, value_name = "SECONDS")]
    retention_secs: u64,

    /// Jobs of one client that may wait or run; further kick-offs get 429
    #[arg(long, env = "FHIRHOSE_CLIENT_JOBS_MAX", value_name = "JOBS")]
    client_jobs_max: Option<usize>,

    /// Jobs of all clients that may wait or run; further kick-offs get 429
    #[arg(long, env = "FHIRHOSE_JOBS_MAX", value_name = "JOBS")]
    jobs_max: Option<usize>,

    /// Jobs that are kept, finished ones too; further kick-offs get 429
    #[arg(long, env = "FHIRHOSE_JOBS_KEPT_MAX", value_name = "JOBS")]
    jobs_kept_max: Option<usize>,

    /// Jobs of one client that are kept, finished ones too; its further kick-offs get 429
    #[arg(long, env = "FHIRHOSE_CLIENT_JOBS_KEPT_MAX", value_name = "JOBS")]
    client_jobs_kept_max: Option<usize>,

    /// How long after its kick-off an export answers 202 at least, in milliseconds, for certification suites that ask once
    #[arg(long, env = "FHIRHOSE_STATUS_HOLD_MILLIS", value_name = "MILLISECONDS")]
    status_hold_millis: Option<u64>,

    /// How long a job runs before it lets waiting ones go first, in seconds; doubled each time, up to a minute
    #[arg(long, env = "FHIRHOSE_TURN_SECS", value_name = "SECONDS")]
    turn_secs: Option<u64>,

    /// Exports that run at a time
    #[arg(long, env = "FHIRHOSE_EXPORTS_PARALLEL", value_name = "JOBS")]
    exports_parallel: Option<usize>,

    /// Exports patients without the Practitioners, Organizations and so on that their resources refer to
    #[arg(long, env = "FHIRHOSE_NO_HELPER_RESOURCES")]
    no_helper_resources: bool,

    /// What a Group export with _since has of members who joined since then
    #[arg(long, env = "FHIRHOSE_GROUP_JOINERS", value_enum, default_value_t = Joiners::WholeHistory)]
    group_joiners: Joiners,

    /// Text of one import chunk, in bytes: one run, one commit
    #[arg(long, env = "FHIRHOSE_CHUNK_BYTES", value_name = "BYTES")]
    chunk_bytes: Option<usize>,

    /// The most text that an export file holds, in bytes
    #[arg(long, env = "FHIRHOSE_FILE_BYTES_MAX", value_name = "BYTES")]
    file_bytes_max: Option<u64>,

    /// The longest request body, in bytes: it bounds what a transaction can hold
    #[arg(long, env = "FHIRHOSE_BODY_BYTES_MAX", value_name = "BYTES")]
    body_bytes_max: Option<usize>,

    /// Entries of a batch or transaction at most
    #[arg(long, env = "FHIRHOSE_BUNDLE_ENTRIES_MAX", value_name = "ENTRIES")]
    bundle_entries_max: Option<usize>,

    /// Matches on a page of a search at most, whatever _count says
    #[arg(long, env = "FHIRHOSE_PAGE_ENTRIES_MAX", value_name = "ENTRIES")]
    page_entries_max: Option<u32>,

    /// Resources that one search looks at; then its page ends early
    #[arg(long, env = "FHIRHOSE_SEARCH_ROWS_MAX", value_name = "RESOURCES")]
    search_rows_max: Option<u64>,

    #[command(flatten)]
    transport: transport::Transport,

    #[command(flatten)]
    floods: floods::Floods,

    #[command(flatten)]
    audit: audit::Audit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Headers {
    /// Refuse, as certification suites ask
    Strict,
    /// Take `application/fhir+json` and `respond-async` for granted
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Joiners {
    /// All that there is of them
    WholeHistory,
    /// What changed since then, as of all members
    ChangesOnly,
}

impl Serve {
    /// Serves until told to stop.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        logging::detach()?;
        let settings = self.settings()?;
        let http = Http::new(&self.imports.http_settings(settings.import_fetch.clone())?)?;
        let key_http = Http::new(&self.imports.key_http_settings(&settings.auth)?)?;
        let bound = fhirhose_server::bind(settings).await?;
        let store = workspace::open(&self.data, OpenMode::Create, "serve", self.output_key.keys()?).await?;
        let components = Components {
            store,
            fetch: Some(Arc::new(HttpFetch::new(http))),
            http: Some(key_http),
            entropy: Arc::new(SystemEntropy),
            audit: Arc::new(FolderFiles::open(&self.data.join("audit"))?),
        };
        say(&format!(
            "serving {} at {}",
            self.data.display(),
            bound.base_url()
        ));
        bound.serve(components, stop_signal()?).await?;
        Ok(ExitCode::SUCCESS)
    }

    fn settings(&self) -> Result<ServerSettings> {
        let mut settings = ServerSettings {
            listen: self.listen,
            auth: self.authorization.settings()?,
            base_url: self.base_url.clone(),
            operator_socket: Some(self.socket()),
            headers: match self.headers {
                Headers::Strict => HeaderMode::Strict,
                Headers::Default => HeaderMode::Default,
            },
            retention_secs: self.retention_secs,
            export_helper_resources: !self.no_helper_resources,
            export_group_joiners: match self.group_joiners {
                Joiners::WholeHistory => GroupJoiners::WholeHistory,
                Joiners::ChangesOnly => GroupJoiners::ChangesOnly,
            },
            worker: WORKER.to_owned(),
            ..ServerSettings::default()
        };
        if settings.auth.is_none() && !self.listen.ip().is_loopback() {
            bail!(
                "--auth none serves this machine only: {} is reachable from others",
                self.listen
            );
        }
        self.transport.set(&mut settings)?;
        self.floods.set(&mut settings.floods);
        self.audit.set(&mut settings.audit);
        self.set_limits(&mut settings);
        if let Some(bytes) = self.chunk_bytes {
            settings.import.chunk_bytes = bytes;
        }
        if let Some(bytes) = self.file_bytes_max {
            settings.export_file_bytes_max = bytes;
        }
        self.limit_requests(&mut settings);
        // After all that says who the clients are.
        self.imports.apply(&mut settings)?;
        Ok(settings)
    }

    fn socket(&self) -> PathBuf {
        let own = || self.data.join(OPERATOR_SOCKET);
        self.operator_socket.clone().unwrap_or_else(own)
    }

    /// Sets how much one request may ask for.
    fn limit_requests(&self, settings: &mut ServerSettings) {
        let rest = &mut settings.rest;
        rest.bundle_entries_max = self.bundle_entries_max.unwrap_or(rest.bundle_entries_max);
        rest.page_entries_max = self.page_entries_max.unwrap_or(rest.page_entries_max);
        rest.search_rows_max = self.search_rows_max.unwrap_or(rest.search_rows_max);
        settings.body_bytes_max = self.body_bytes_max.unwrap_or(settings.body_bytes_max);
    }

    /// Takes over the limits that are given; the others keep their defaults.
    fn set_limits(&self, settings: &mut ServerSettings) {
        let set = |setting: &mut usize, given: Option<usize>| *setting = given.unwrap_or(*setting);
        set(&mut settings.jobs_live_per_client_max, self.client_jobs_max);
        set(&mut settings.jobs_live_max, self.jobs_max);
        set(&mut settings.jobs_kept_max, self.jobs_kept_max);
        set(&mut settings.jobs_kept_per_client_max, self.client_jobs_kept_max);
        set(&mut settings.exports_parallel, self.exports_parallel);
        settings.status_hold_millis = self.status_hold_millis.unwrap_or(settings.status_hold_millis);
        settings.turn_secs = self.turn_secs.unwrap_or(settings.turn_secs);
    }
}

/// Ready at Ctrl-C or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    })
}
