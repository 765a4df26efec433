//! How a server behaves: [`ServerSettings`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use fhirhose_bulk::export::{ExportSettings, FILE_BYTES_MAX, GroupJoiners};
use fhirhose_bulk::import::ImportSettings;
use fhirhose_client::FetchPolicy;
use url::Url;

use crate::audit::AuditSettings;
use crate::flood_settings::FloodSettings;
use crate::listener::settings::{ConnectionSettings, TransportSettings, check_transport};
use crate::{AuthSettings, Error, ErrorKind, RestSettings, Result};

/// What a kick-off without `Accept` or `Prefer` gets (K-20, K-21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderMode {
    /// A refusal: certification suites test for it.
    #[default]
    Strict,
    /// `Accept: application/fhir+json` and `Prefer: respond-async` are taken for granted.
    Default,
}

/// How a server behaves. Limits are of one request, connection or job, as their names say.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where to listen: without authorization, a loopback address. Port 0 takes a free one. Default: 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Who decides what a request may do. Default: nobody, so that only this machine is served.
    pub auth: AuthSettings,
    /// How requests reach the server: TLS, proxies. Default: plain HTTP on loopback.
    pub transport: TransportSettings,
    /// What connections may take.
    pub connections: ConnectionSettings,
    /// What each client and address may do in a minute and at a time.
    pub floods: FloodSettings,
    /// Where the operator's Unix socket is made, if there is to be one. Default: none.
    pub operator_socket: Option<PathBuf>,
    /// The public FHIR base, with `/fhir`, from which every URL in an answer is made. Default: `http://`, or with TLS `https://`, and
    /// the listener's address.
    pub base_url: Option<Url>,
    /// What a kick-off without the headers of the standard gets. Default: a refusal.
    pub headers: HeaderMode,
    /// The folder below which imports may read `file` URLs. Default: none, and `file` URLs are refused.
    pub import_root: Option<PathBuf>,
    /// Which `http` and `https` URLs imports may read, as far as can be seen at the kick-off; what fetches them holds to the same.
    /// Default: `https` anywhere on the internet, and this machine.
    pub import_fetch: FetchPolicy,
    /// The longest request body, in bytes. Default: 16 MiB.
    pub body_bytes_max: usize,
    /// How long a client may take to send a body, in seconds. Default: 60.
    pub body_timeout_secs: u64,
    /// Jobs of one kind that may wait to be run; further kick-offs get 429 (K-43). Default: 100.
    pub jobs_queued_max: usize,
    /// Jobs of one client that wait, run or are paused at a time; further kick-offs get 429 (K-43). Default: 50.
    pub jobs_live_per_client_max: usize,
    /// Jobs of all clients that wait, run or are paused at a time; further kick-offs get 429 (K-43). Default: 500.
    pub jobs_live_max: usize,
    /// Jobs that are kept, ended ones too; further kick-offs get 429 until some have expired. Default: 10,000.
    pub jobs_kept_max: usize,
    /// What the requests of all kept jobs come to, in bytes, after which further kick-offs get 429 until some have expired: they are
    /// all looked at whenever a job is chosen. Default: 256 MiB.
    pub jobs_request_bytes_max: usize,
    /// Jobs of one client that are kept, ended ones too; its further kick-offs get 429 until some have expired or it has deleted
    /// them, so that no client uses up the room of all. Default: 2,500.
    pub jobs_kept_per_client_max: usize,
    /// What the requests of all kept jobs of one client come to, in bytes, after which its further kick-offs get 429. Default: 64 MiB.
    pub jobs_request_bytes_per_client_max: usize,
    /// How long a job runs before it gives its place to one that waits, in seconds; doubled each time. Default: 5.
    pub turn_secs: u64,
    /// The longest such turn, in seconds. Default: 60.
    pub turn_secs_max: u64,
    /// The longest `Retry-After` of a poll, in seconds. Default: 30.
    pub retry_after_secs_max: u64,
    /// How long after its kick-off an export answers 202 at least, in milliseconds, though it be done: certification suites ask
    /// once, at once, and want to see one. Default: 0, so that nobody waits for nothing.
    pub status_hold_millis: u64,
    /// How long an ended job and its files are kept, in seconds. Default: 24 hours.
    pub retention_secs: u64,
    /// How often the store is asked whether a flush or compaction is due, in seconds; after each import comes earlier. Default: 10.
    pub maintenance_secs: u64,
    /// How long requests and jobs may go on after the shutdown began, in seconds. Default: 30.
    pub drain_secs: u64,
    /// Exports that run at a time. Default: 2.
    pub exports_parallel: usize,
    /// Imports that run at a time. Default: 1; each uses all processors.
    pub imports_parallel: usize,
    /// How imports use the machine.
    pub import: ImportSettings,
    /// How exports use the machine.
    pub export: ExportSettings,
    /// Whether exports of patients come with the Practitioners, Organizations … that their resources refer to (K-08). Default: yes.
    pub export_helper_resources: bool,
    /// What an export of a Group with `_since` has of members who joined since then (G-04). Default: all that there is of them.
    pub export_group_joiners: GroupJoiners,
    /// How much searches, histories and Bundles may ask for.
    pub rest: RestSettings,
    /// How it is told who did what.
    pub audit: AuditSettings,
    /// The most text of one export file, in bytes. Default: 256 MiB.
    pub export_file_bytes_max: u64,
    /// The name under which this process holds jobs. All processes that open one data folder, one after another, use the
    /// same, so that jobs of a crashed one go on at once. Default: `local`.
    pub worker: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            auth: AuthSettings::default(),
            transport: TransportSettings::default(),
            connections: ConnectionSettings::default(),
            floods: FloodSettings::default(),
            operator_socket: None,
            base_url: None,
            headers: HeaderMode::default(),
            import_root: None,
            import_fetch: FetchPolicy::default(),
            body_bytes_max: 16 << 20,
            body_timeout_secs: 60,
            jobs_queued_max: 100,
            jobs_live_per_client_max: 50,
            jobs_live_max: 500,
            jobs_kept_max: 10_000,
            jobs_request_bytes_max: 256 << 20,
            jobs_kept_per_client_max: 2_500,
            jobs_request_bytes_per_client_max: 64 << 20,
            turn_secs: 5,
            turn_secs_max: 60,
            retry_after_secs_max: 30,
            status_hold_millis: 0,
            retention_secs: 24 * 60 * 60,
            maintenance_secs: 10,
            drain_secs: 30,
            exports_parallel: 2,
            imports_parallel: 1,
            import: ImportSettings::default(),
            export: ExportSettings::default(),
            export_helper_resources: true,
            export_group_joiners: GroupJoiners::WholeHistory,
            rest: RestSettings::default(),
            audit: AuditSettings::default(),
            export_file_bytes_max: FILE_BYTES_MAX,
            worker: "local".to_owned(),
        }
    }
}

impl ServerSettings {
    /// Makes settings for tests: any free port of this machine, a small machine's share of threads, and all as often as a test in
    /// a hurry likes.
    pub fn for_testing() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            import: ImportSettings {
                chunk_bytes: 1 << 20,
                ..ImportSettings::with_threads(2)
            },
            floods: FloodSettings::for_testing(),
            audit: AuditSettings::for_testing(),
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_transport(self)?;
        self.auth.check()?;
        if let Some(url) = &self.base_url {
            check_base_url(url)?;
        }
        let at_least_one = [
            ("body_bytes_max", self.body_bytes_max as u64),
            ("body_timeout_secs", self.body_timeout_secs),
            ("jobs_queued_max", self.jobs_queued_max as u64),
            ("jobs_live_per_client_max", self.jobs_live_per_client_max as u64),
            ("jobs_live_max", self.jobs_live_max as u64),
            ("jobs_kept_max", self.jobs_kept_max as u64),
            ("jobs_request_bytes_max", self.jobs_request_bytes_max as u64),
            ("jobs_kept_per_client_max", self.jobs_kept_per_client_max as u64),
            (
                "jobs_request_bytes_per_client_max",
                self.jobs_request_bytes_per_client_max as u64,
            ),
            ("turn_secs", self.turn_secs),
            ("retry_after_secs_max", self.retry_after_secs_max),
            ("retention_secs", self.retention_secs),
            ("maintenance_secs", self.maintenance_secs),
            ("export_file_bytes_max", self.export_file_bytes_max),
            ("audit.trail.file_bytes_max", self.audit.trail.file_bytes_max),
            (
                "audit.refusals_tracked_max",
                self.audit.refusals_tracked_max as u64,
            ),
        ];
        match at_least_one
            .iter()
            .chain(&self.rest.limits())
            .chain(&self.connections.limits())
            .chain(&self.floods.limits())
            .find(|(_, value)| *value == 0)
        {
            Some((name, _)) => Err(Error::new(ErrorKind::Settings, format!("{name} is 0"))),
            None => Ok(()),
        }
    }
}

fn check_base_url(url: &Url) -> Result<()> {
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        return Ok(());
    }
    let problem = "the base URL must be http or https with a host, and without user, query and fragment";
    Err(Error::new(ErrorKind::Settings, problem))
}
