//! The server as a whole: [`bind`] takes the port, [`Bound::serve`] answers requests and runs jobs.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_bulk::export::{EXPORT, ExportHandler};
use fhirhose_bulk::import::{Fetch, IMPORT, ImportHandler};
use fhirhose_client::Http;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{
    Entropy, Handler, JobStore, Lane, Leftover, Runner, RunnerSettings, StopReason, StopSignal, Turns, Wake,
};
use fhirhose_store::{MAINTENANCE, Maintenance, Store};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, OnceCell, Semaphore};
use tracing::info;

use crate::app::App;
use crate::audit::{self, Audit, AuditFiles, AuditedJobs};
use crate::authority::Authority;
use crate::create_job::{CREATE, CreateHandler};
use crate::floods::Floods;
use crate::listener::{Entrance, Tls, http, listen};
use crate::operator_socket::OperatorSocket;
use crate::upkeep::{Nudging, Upkeep};
use crate::{Error, ErrorKind, Result, ServerSettings, routes};

/// So often a job may take the process down with it, at the same point, before it is given up: a server that is restarted
/// in haste must not lose the job that it was killed in.
const ATTEMPTS_MAX: u32 = 20;

/// What a server works with. The time comes from the store's clock.
pub struct Components {
    /// Where resources, jobs and files are.
    pub store: Store,
    /// What fetches the inputs of imports; without it, imports of `http` and `https` URLs fail.
    pub fetch: Option<Arc<dyn Fetch>>,
    /// What fetches the keys of clients and of another authorization server; without it, only keys that are registered here count.
    pub http: Option<Http>,
    /// Where ids come from; they must be unguessable.
    pub entropy: Arc<dyn Entropy>,
    /// Where the audit trail lies.
    pub audit: Arc<dyn AuditFiles>,
}

/// A server that has its port and does not answer yet; connections wait.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    base_url: String,
    tls: Option<Arc<Tls>>,
    settings: ServerSettings,
}

/// Checks the settings and takes the port.
///
/// # Errors
/// [`ErrorKind::Settings`] for an address that is reachable from others without authorization or in plain text, a base URL that cannot
/// be one, a certificate that cannot be used, or a limit of 0;
/// [`ErrorKind::Listen`] when the address cannot be had.
pub async fn bind(settings: ServerSettings) -> Result<Bound> {
    settings.check()?;
    let tls = settings.transport.tls.as_ref().map(Tls::load).transpose()?;
    let failed =
        |source| Error::new(ErrorKind::Listen, format!("listening on {}", settings.listen)).caused_by(source);
    let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let base_url = match &settings.base_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None if tls.is_some() => format!("https://{address}/fhir"),
        None => format!("http://{address}/fhir"),
    };
    Ok(Bound {
        listener,
        address,
        base_url,
        tls: tls.map(Arc::new),
        settings,
    })
}

impl Bound {
    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The public FHIR base, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Answers requests and runs jobs until `shutdown` is ready; then stops accepting, lets requests and jobs come to a safe
    /// point within `drain_secs`, and returns.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for lanes or leases that cannot work; [`ErrorKind::Listen`] when the operator's socket cannot be
    /// made; [`ErrorKind::Authority`] when the keys of the authorization server cannot be used; [`ErrorKind::Jobs`] when the job
    /// runner failed; [`ErrorKind::Audit`] when the audit trail cannot be written.
    pub async fn serve(
        self,
        components: Components,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let socket = self.settings.operator_socket.as_deref();
        let socket = socket.map(OperatorSocket::bind).transpose()?;
        let nudge = Arc::new(Notify::new());
        let audit = audit::start(&components, &self.settings.audit, &self.base_url).await?;
        let runner = runner(&components, &self.settings, &nudge, &audit)?;
        let upkeep = Upkeep {
            store: components.store.clone(),
            entropy: Arc::clone(&components.entropy),
            wake: runner.wake(),
            period: Duration::from_secs(self.settings.maintenance_secs),
            nudge,
        };
        let entrance = self.entrance();
        let clock = Arc::clone(components.store.clock());
        let (address, listener, tls) = (self.address, self.listener, self.tls);
        let (settings, wake) = ((self.settings, self.base_url), runner.wake());
        let app = Arc::new(app(components, settings, wake, audit.clone()).await?);
        info!(%address, base_url = app.base_url, "serving");
        let shared = Arc::clone(&app);
        let answer = move |request| routes::answer(Arc::clone(&shared), request);
        let stop = StopSignal::new();
        let running = run_jobs(runner, &stop);
        let telling = async {
            tokio::select! {
                () = shutdown => stop.stop(StopReason::Shutdown),
                _ = stop.stopped() => {}
            }
        };
        let conversing = (http(&entrance.settings), entrance.drain);
        let operating = async {
            if let Some(socket) = socket {
                socket
                    .listen(conversing, answer.clone(), &*clock, stop.clone())
                    .await;
            }
        };
        let listening = listen(listener, entrance, answer.clone(), &*clock, stop.clone());
        let reloading = async {
            if let Some(tls) = tls {
                tls.watch(&*clock, stop.clone()).await;
            }
        };
        let (ended, (), (), (), (), (), (), ()) = tokio::join!(
            running,
            listening,
            operating,
            upkeep.run(stop.clone()),
            app.authority.upkeep(stop.clone()),
            reloading,
            audit.keep(stop.clone()),
            telling
        );
        audit.stop().await?;
        ended.map_err(|source| Error::new(ErrorKind::Jobs, "running jobs").caused_by(source))
    }

    fn entrance(&self) -> Entrance {
        Entrance {
            settings: self.settings.connections,
            drain: Duration::from_secs(self.settings.drain_secs),
            tls: self.tls.clone(),
            proxy: self.settings.transport.proxy.clone(),
        }
    }
}

/// Runs jobs until `stop`. A runner that fails takes the server with it: jobs that nobody runs must not be accepted.
async fn run_jobs(runner: Runner, stop: &StopSignal) -> std::result::Result<(), fhirhose_jobs::Error> {
    let stopped = stop.clone();
    let until = async move {
        stopped.stopped().await;
    };
    let ended = runner.run(until).await;
    stop.stop(StopReason::Shutdown);
    ended
}

/// Makes what all requests share.
async fn app(
    components: Components,
    (settings, base_url): (ServerSettings, String),
    wake: Wake,
    audit: Audit,
) -> Result<App> {
    let authority = Authority::open(
        &settings.auth,
        &components.store,
        Arc::clone(&components.entropy),
        components.http,
        &base_url,
    )
    .await?;
    Ok(App {
        authority,
        audit,
        wake,
        floods: Floods::new(settings.floods),
        started: Instant::from_micros(components.store.clock().now().as_micros()),
        searches: Semaphore::new(settings.rest.searches_parallel),
        conditional: Mutex::new(()),
        cursor_key: OnceCell::new(),
        store: components.store,
        entropy: components.entropy,
        settings,
        base_url,
        statement: std::sync::OnceLock::new(),
    })
}

/// Makes the runner with its three lanes, so that neither a long import nor maintenance keeps exports waiting.
fn runner(
    components: &Components,
    settings: &ServerSettings,
    nudge: &Arc<Notify>,
    audit: &Audit,
) -> Result<Runner> {
    let store = &components.store;
    let import = ImportHandler::new(store.clone(), components.fetch.clone(), settings.import.clone());
    let handlers: Vec<Arc<dyn Handler>> = vec![
        audited(ExportHandler::new(store.clone(), settings.export.clone()), audit),
        audited(
            Nudging {
                handler: import,
                nudge: Arc::clone(nudge),
            },
            audit,
        ),
        // It changes no resource and sends nothing out.
        Arc::new(Maintenance::new(store.clone())),
        audited(CreateHandler { store: store.clone() }, audit),
    ];
    let lane = |kind: &str, parallel, turns| Lane {
        kinds: vec![kind.to_owned()],
        parallel,
        turns,
    };
    let lanes = vec![
        lane(EXPORT, settings.exports_parallel, Turns::Always),
        // Of two imports of one client the later one is to win, so they keep their order.
        lane(IMPORT, settings.imports_parallel, Turns::BetweenClients),
        lane(MAINTENANCE, 1, Turns::Never),
        lane(CREATE, 1, Turns::Never),
    ];
    let settings = RunnerSettings {
        leftover: Leftover::TakeOver,
        attempts_max: ATTEMPTS_MAX,
        drain_secs: settings.drain_secs,
        retention_secs: settings.retention_secs,
        turn_secs: settings.turn_secs,
        turn_secs_max: settings.turn_secs_max,
        ..RunnerSettings::new(&settings.worker, lanes)
    };
    let jobs: Arc<dyn JobStore> = Arc::clone(store.catalog()) as Arc<dyn JobStore>;
    Runner::new(jobs, Arc::clone(store.clock()), handlers, settings)
        .map_err(|source| Error::new(ErrorKind::Settings, "setting up the job runner").caused_by(source))
}

/// Tells of the ends of a handler's jobs.
fn audited(handler: impl Handler + 'static, audit: &Audit) -> Arc<dyn Handler> {
    Arc::new(AuditedJobs {
        handler,
        audit: audit.clone(),
    })
}
