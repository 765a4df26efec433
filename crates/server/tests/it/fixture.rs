//! A server on a free port with a store in memory, a small population, and what tests do again and again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fhirhose_bulk::import::Fetch;
use fhirhose_client::{Http, HttpSettings};
use fhirhose_jobs::{
    Checkpoint, Claim, Clock, Failure, Finish, JobId, Lease, NewJob, Outcome, Progress, Release, SystemClock,
    SystemEntropy,
};
use fhirhose_server::audit::{AuditFiles, MemoryFiles};
use fhirhose_server::{Bound, Components, Result, ServerSettings};
use fhirhose_store::{Store, StoreSettings};
use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::http::{Answer, Ask};

/// A running server; it stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) base: String,
    pub(crate) store: Store,
    /// What was told of all that was done, unless another trail was given.
    pub(crate) audit: Arc<MemoryFiles>,
    /// Below which imports may read `file` URLs.
    pub(crate) root: TempDir,
    /// The access token that all requests bring, if they bring one.
    pub(crate) token: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<()>>>,
}

/// How often something that takes its time is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// After this long what did not come is taken not to come: much longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until there is something, and fails when it does not come.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: nothing in {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Two patients with what belongs to them, a Group with the first of them, and a Practitioner.
pub(crate) const POPULATION: [&str; 9] = [
    r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"female"}"#,
    r#"{"resourceType":"Patient","id":"p2","active":true}"#,
    r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"weight"},"subject":{"reference":"Patient/p1"},"valueQuantity":{"value":1.00}}"#,
    r#"{"resourceType":"Observation","id":"o2","status":"final","code":{"text":"weight"},"subject":{"reference":"Patient/p2"}}"#,
    r#"{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"}}"#,
    r#"{"resourceType":"Device","id":"d1","patient":{"reference":"Patient/p1"}}"#,
    r#"{"resourceType":"Practitioner","id":"dr1","active":true}"#,
    r#"{"resourceType":"Group","id":"g1","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}}]}"#,
    r#"{"resourceType":"Organization","id":"org1","name":"Ward"}"#,
];

pub(crate) fn memory_store() -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Store::in_memory(clock, StoreSettings::default()).expect("a store in memory")
}

impl Server {
    /// Starts with an empty store.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::over(memory_store(), change).await
    }

    /// Starts over a store.
    pub(crate) async fn over(store: Store, change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::fetching(store, None, change).await
    }

    /// Starts over a store, with what fetches the inputs of imports.
    pub(crate) async fn fetching(
        store: Store,
        fetch: Option<Arc<dyn Fetch>>,
        change: impl FnOnce(&mut ServerSettings),
    ) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut settings = ServerSettings {
            import_root: Some(root.path().to_path_buf()),
            ..ServerSettings::for_testing()
        };
        change(&mut settings);
        let bound = fhirhose_server::bind(settings).await.expect("a free port");
        Self::run(bound, store, fetch, root)
    }

    /// Starts over a store, and tells another trail of what is done.
    pub(crate) async fn auditing(
        store: Store,
        trail: Arc<dyn AuditFiles>,
        change: impl FnOnce(&mut ServerSettings),
    ) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut settings = ServerSettings {
            import_root: Some(root.path().to_path_buf()),
            ..ServerSettings::for_testing()
        };
        change(&mut settings);
        let bound = fhirhose_server::bind(settings).await.expect("a free port");
        Self::telling(bound, (store, None), root, trail)
    }

    fn run(bound: Bound, store: Store, fetch: Option<Arc<dyn Fetch>>, root: TempDir) -> Self {
        let audit = Arc::new(MemoryFiles::default());
        let mut server = Self::telling(bound, (store, fetch), root, audit.clone());
        server.audit = audit;
        server
    }

    fn telling(
        bound: Bound,
        (store, fetch): (Store, Option<Arc<dyn Fetch>>),
        root: TempDir,
        audit: Arc<dyn AuditFiles>,
    ) -> Self {
        let (address, base) = (bound.address(), bound.base_url().to_owned());
        let components = Components {
            store: store.clone(),
            fetch,
            http: Some(Http::new(&HttpSettings::default()).expect("an HTTP client")),
            entropy: Arc::new(SystemEntropy),
            audit,
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(bound.serve(components, async {
            // Sent or dropped: either way the test is over.
            let _ = stopped.await;
        }));
        Self {
            address,
            base,
            store,
            audit: Arc::default(),
            root,
            token: None,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Starts with the small population.
    pub(crate) async fn populated() -> Self {
        let server = Self::start().await;
        server.import_lines(&POPULATION).await;
        server
    }

    /// Tells the server to stop and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        let running = self.running.take().expect("it was not stopped before");
        running.await.expect("the server does not panic")
    }

    pub(crate) fn ask(&self, method: Method, target: &str) -> Ask {
        let target = target
            .strip_prefix(&format!("http://{}", self.address))
            .unwrap_or(target);
        let ask = Ask::new(self.address, method, target);
        match &self.token {
            Some(token) => ask.bearer(token),
            None => ask,
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target).send().await
    }

    pub(crate) async fn delete(&self, target: &str) -> Answer {
        self.ask(Method::DELETE, target).send().await
    }

    pub(crate) async fn put(&self, resource: &Value) -> Answer {
        let text = |name: &str| resource[name].as_str().expect("a text").to_owned();
        let target = format!("/fhir/{}/{}", text("resourceType"), text("id"));
        self.ask(Method::PUT, &target).json(resource).send().await
    }

    /// Kicks an export off by GET; `target` comes after `/fhir/`.
    pub(crate) async fn kick_off(&self, target: &str) -> Answer {
        self.ask(Method::GET, &format!("/fhir/{target}"))
            .asynchronous()
            .send()
            .await
    }

    /// Kicks an export off, waits for its end and gives the status URL with the manifest.
    pub(crate) async fn export(&self, target: &str) -> (String, Value) {
        let accepted = self.kick_off(target).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let status_url = accepted.header("content-location").to_owned();
        let finished = self.finished(&status_url).await;
        assert_eq!(finished.status, 200, "{}", finished.text());
        (status_url, finished.json())
    }

    /// Polls until the answer is not 202 any more.
    pub(crate) async fn finished(&self, status_url: &str) -> Answer {
        eventually("the end of a job", async || {
            Some(self.get(status_url).await).filter(|answer| answer.status != 202)
        })
        .await
    }

    /// Exports and gives everything in `output` as `Type/id`.
    pub(crate) async fn exported(&self, target: &str) -> BTreeSet<String> {
        let (_, manifest) = self.export(target).await;
        self.names(&manifest["output"]).await
    }

    /// Downloads the files of a list in a manifest and names their resources; checks `count` and type on the way.
    pub(crate) async fn names(&self, files: &Value) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for file in files.as_array().expect("a list of files") {
            let answer = self.get(file["url"].as_str().expect("a url")).await;
            assert_eq!(answer.status, 200);
            let lines = answer.lines();
            assert_eq!(file["count"], lines.len());
            for line in lines {
                assert_eq!(line["resourceType"], file["type"]);
                let name = format!(
                    "{}/{}",
                    file["type"].as_str().unwrap(),
                    line["id"].as_str().unwrap()
                );
                assert!(names.insert(name.clone()), "{name} came twice");
            }
        }
        names
    }

    /// Writes a file below the import root and gives its URL.
    pub(crate) fn input(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.root.path().join(name);
        std::fs::write(&path, text).expect("the input can be written");
        format!("file://{}", path.display())
    }

    /// Kicks an import off with the Parameters body of the seeds.
    pub(crate) async fn kick_off_import(&self, inputs: &[(Option<&str>, &str)]) -> Answer {
        let input = |(resource_type, url): &(Option<&str>, &str)| {
            let mut part = vec![json!({"name": "url", "valueUrl": url})];
            part.extend(resource_type.map(|name| json!({"name": "type", "valueString": name})));
            json!({"name": "input", "part": part})
        };
        let mut parameter = vec![json!({"name": "inputFormat", "valueString": "application/fhir+ndjson"})];
        parameter.extend(inputs.iter().map(input));
        let body = json!({"resourceType": "Parameters", "parameter": parameter});
        let ask = self.ask(Method::POST, "/fhir/$import");
        ask.text("application/json", body.to_string()).send().await
    }

    /// Imports and gives the report.
    pub(crate) async fn import(&self, inputs: &[(Option<&str>, &str)]) -> Value {
        let accepted = self.kick_off_import(inputs).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let finished = self.finished(accepted.header("content-location")).await;
        assert_eq!(finished.status, 200, "{}", finished.text());
        finished.json()
    }

    pub(crate) async fn import_lines(&self, lines: &[&str]) {
        let url = self.input("lines.ndjson", lines.join("\n"));
        let report = self.import(&[(None, &url)]).await;
        assert_eq!(report["error"], json!([]), "{report}");
        assert_eq!(report["output"][0]["count"], lines.len());
    }
}

/// A job that another worker holds, so that the server under test cannot run it.
pub(crate) struct Held {
    pub(crate) id: JobId,
    lease: Lease,
}

impl Held {
    /// Records a job of this kind and claims it. Do it before a server runs over the store.
    pub(crate) async fn take(store: &Store, kind: &str) -> Self {
        Self::take_with(store, kind, b"{}").await
    }

    /// The same for a job of this client.
    pub(crate) async fn take_of(store: &Store, kind: &str, client: &str) -> Self {
        Self::record(store, kind, (client, b"{}")).await
    }

    /// The same with a specification.
    pub(crate) async fn take_with(store: &Store, kind: &str, spec: &[u8]) -> Self {
        Self::record(store, kind, ("", spec)).await
    }

    /// The same with a specification, of this client.
    pub(crate) async fn take_export_of(store: &Store, client: &str, spec: &[u8]) -> Self {
        Self::record(store, "export", (client, spec)).await
    }

    async fn record(store: &Store, kind: &str, (client, spec): (&str, &[u8])) -> Self {
        let now = SystemClock.now();
        let id = JobId::random(&SystemEntropy);
        let job = NewJob {
            id,
            kind: kind.to_owned(),
            spec: spec.to_vec(),
            owner: client.to_owned(),
            created: now,
        };
        store.catalog().create(job).await.expect("a new job");
        let claim = Claim {
            worker: "elsewhere",
            kinds: &[kind],
            now,
            until: now.plus(Duration::from_secs(3_600)),
        };
        let claimed = store.catalog().claim(claim).await.expect("the store answers");
        let (_, lease) = claimed.expect("the job can be claimed");
        Self { id, lease }
    }

    /// Gives it back, not to be run before long.
    pub(crate) async fn put_off(&self, store: &Store) {
        let why = Release::Retry {
            ready: SystemClock.now().plus(Duration::from_secs(3_600)),
            cause: Failure::new("test", "put off"),
        };
        store
            .catalog()
            .release(&self.lease, why)
            .await
            .expect("the lease holds");
    }

    /// Writes a checkpoint.
    pub(crate) async fn checkpoint(&self, store: &Store, write: Checkpoint) {
        let written = store.catalog().checkpoint(&self.lease, write).await;
        written.expect("the lease holds");
    }

    pub(crate) async fn progress(&self, store: &Store, progress: Progress) {
        let write = Checkpoint::new().progress(progress);
        store
            .catalog()
            .checkpoint(&self.lease, write)
            .await
            .expect("the lease holds");
    }

    /// Ends it; `keep` is how long it is kept from now on.
    pub(crate) async fn finish(&self, store: &Store, outcome: Outcome, keep: Duration) {
        let now = SystemClock.now();
        let end = Finish {
            outcome,
            now,
            expires: now.plus(keep),
        };
        store
            .catalog()
            .finish(&self.lease, end)
            .await
            .expect("the lease holds");
    }
}

/// Names in the form that [`Server::exported`] gives.
pub(crate) fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// A file of the sample population beside the repository: `../shared/data/synthea-100`.
pub(crate) fn sample(resource_type: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100");
    folder.join(format!("{resource_type}.ndjson.zst"))
}
