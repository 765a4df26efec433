//! The server: [`FaultyEhr`].

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use fhirhose_fhir::instant::Instant;
use serde_json::json;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::asked::{self, Asked, Host};
use super::attachments::SourceAttachment;
use super::clock::SimulatedClock;
use super::connection::{self, Answer, Request};
use super::drawn::Random;
use super::jobs::{Job, outcome, struck};
use super::manifest::SourceFile;
use super::manner::Manner;
use super::script::{Cut, Fault, Place, Script, Strike};
use super::tokens::Tokens;
use crate::clock::{Clock, SystemClock};

/// What a server holds, how it is, and what goes wrong.
#[derive(Debug, Clone, Default)]
pub struct EhrSettings {
    /// What it holds: every export gives just this, in this order.
    pub files: Vec<SourceFile>,
    /// How it always is.
    pub manner: Manner,
    /// What goes wrong at which request.
    pub script: Vec<Strike>,
}

/// A Data Provider with faults, at two ports of this machine: two origins. It ends when it is dropped.
#[derive(Debug)]
pub struct FaultyEhr {
    inner: Arc<Inner>,
    /// Those who take connections.
    listeners: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) files: Vec<SourceFile>,
    /// The files as they are sent to who takes every coding.
    pub(super) coded: Vec<OnceLock<(&'static str, Bytes)>>,
    pub(super) manner: Manner,
    pub(super) fhir_origin: String,
    pub(super) file_origin: String,
    clock: Arc<dyn Clock>,
    simulated: Option<SimulatedClock>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) jobs: Vec<Job>,
    pub(super) tokens: Tokens,
    pub(super) files_given: u64,
    pub(super) attachments: Vec<SourceAttachment>,
    script: Script,
    asked: Vec<Asked>,
}

impl FaultyEhr {
    /// Starts a server in the time of the operating system.
    pub async fn start(settings: EhrSettings) -> Self {
        Self::with_clocks(settings, Arc::new(SystemClock), None).await
    }

    /// Starts a server whose time is a test's.
    pub async fn simulated(settings: EhrSettings, clock: &SimulatedClock) -> Self {
        Self::with_clocks(settings, Arc::new(clock.clone()), Some(clock.clone())).await
    }

    async fn with_clocks(
        settings: EhrSettings,
        clock: Arc<dyn Clock>,
        simulated: Option<SimulatedClock>,
    ) -> Self {
        let (fhir, files) = (listener().await, listener().await);
        let origin = |listener: &TcpListener| {
            let address = listener.local_addr().expect("a listener has an address");
            format!("http://{address}")
        };
        let inner = Arc::new(Inner {
            coded: settings.files.iter().map(|_| OnceLock::new()).collect(),
            files: settings.files,
            manner: settings.manner,
            fhir_origin: origin(&fhir),
            file_origin: origin(&files),
            clock,
            simulated,
            state: Mutex::new(State {
                jobs: Vec::new(),
                tokens: Tokens::default(),
                files_given: 0,
                attachments: Vec::new(),
                script: Script::new(settings.script),
                asked: Vec::new(),
            }),
        });
        let listeners = vec![
            tokio::spawn(listen(fhir, Host::Fhir, Arc::clone(&inner))),
            tokio::spawn(listen(files, Host::Files, Arc::clone(&inner))),
        ];
        Self { inner, listeners }
    }

    /// The FHIR base URL.
    pub fn base(&self) -> String {
        format!("{}/fhir", self.inner.fhir_origin)
    }

    /// The URL of its token endpoint.
    pub fn token_url(&self) -> String {
        self.inner.token_url()
    }

    /// How it always is.
    pub fn manner(&self) -> &Manner {
        &self.inner.manner
    }

    /// What it holds.
    pub fn files(&self) -> &[SourceFile] {
        &self.inner.files
    }

    /// All requests so far, in the order of their answers.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.lock().asked.clone()
    }

    /// Requests that meant this; [`Place::AnyFile`] means all files.
    pub fn asked_at(&self, place: Place) -> Vec<Asked> {
        let fits = |asked: &Asked| match place {
            Place::AnyFile => asked.file().is_some(),
            place => asked.place == Some(place),
        };
        self.asked().into_iter().filter(fits).collect()
    }

    /// Gives it one more attachment to hold, and says where it is: `Binary/0`, `Binary/1` …, below its base.
    pub fn hold(&self, attachment: SourceAttachment) -> String {
        let attachments = &mut self.inner.lock().attachments;
        attachments.push(attachment);
        format!("Binary/{}", attachments.len() - 1)
    }

    /// Adds to what goes wrong.
    pub fn strike(&self, strike: Strike) {
        self.inner.lock().script.push(strike);
    }
}

impl Drop for FaultyEhr {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0")
        .await
        .expect("this machine has a free port")
}

async fn listen(listener: TcpListener, host: Host, inner: Arc<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let inner = Arc::clone(&inner);
        tokio::spawn(async move { serve(BufReader::new(stream), host, &inner).await });
    }
}

async fn serve(mut stream: BufReader<TcpStream>, host: Host, inner: &Inner) {
    while let Some(request) = connection::read(&mut stream).await {
        let answer = inner.answer(host, request);
        let is_silent = matches!(answer.fault, Some(Fault::Cut(Cut::Silence(_))));
        let _busy = inner
            .simulated
            .as_ref()
            .filter(|_| !is_silent)
            .map(SimulatedClock::busy);
        if !connection::write(&mut stream, answer).await {
            return;
        }
    }
}

impl Inner {
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A URL at the FHIR server, as this server writes them.
    pub(super) fn url(&self, path: &str) -> String {
        if self.manner.relative_urls {
            return path.to_owned();
        }
        format!("{}{path}", self.fhir_origin)
    }

    fn token_url(&self) -> String {
        format!("{}/auth/token", self.fhir_origin)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds the state")
    }

    fn answer(&self, host: Host, request: Request) -> Answer {
        let mut state = self.lock();
        let place = place(&request);
        let fault = place.and_then(|place| state.script.next(place));
        let garbled = match fault {
            Some(Fault::Garbled(seed)) => Some(Random::new(seed)),
            _ => None,
        };
        let mut answer = self.answer_struck(&mut state, host, &request, place, fault);
        if let Some(mut random) = garbled {
            garble(&mut answer, &mut random);
        }
        let is_given = !matches!(answer.fault, Some(Fault::Cut(Cut::Before)));
        state.asked.push(Asked {
            host,
            place,
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body,
            status: if is_given { answer.status } else { 0 },
        });
        answer
    }

    fn answer_struck(
        &self,
        state: &mut State,
        host: Host,
        request: &Request,
        place: Option<Place>,
        fault: Option<Fault>,
    ) -> Answer {
        if let Some(answer) = fault.as_ref().and_then(|fault| struck(fault, self.now())) {
            return answer;
        }
        if fault == Some(Fault::TokenRefused) {
            state.tokens.revoke(request);
        }
        if let Some(Place::File(index)) = place {
            return self.file(state, host, request, index, fault);
        }
        if let Some(Place::Attachment(index)) = place {
            return self.attachment(state, host, request, index, fault);
        }
        let mut answer = self.routed(state, host, request, place);
        answer.fault = fault;
        answer
    }

    fn routed(&self, state: &mut State, host: Host, request: &Request, place: Option<Place>) -> Answer {
        let Some(place) = place.filter(|_| host == Host::Fhir) else {
            return outcome(404, "not-found", "nothing is here");
        };
        let tokens = self.manner.tokens.as_ref();
        match (place, tokens) {
            (Place::Discovery, None) => return outcome(404, "not-found", "everybody is let in"),
            (Place::Discovery, Some(_)) => {
                let body = json!({
                    "token_endpoint": self.token_url(),
                    "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                    "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
                    "scopes_supported": ["system/*.rs"],
                });
                return Answer::new(200).body("application/json", body.to_string());
            }
            (Place::Token, Some(manner)) => {
                return state
                    .tokens
                    .answer(request, &self.token_url(), manner, self.now());
            }
            (_, Some(_)) if !state.tokens.is_good(request, self.now()) => {
                return outcome(401, "login", "the token is not good");
            }
            _ => {}
        }
        match (place, job_number(request.path())) {
            (Place::KickOff, _) => self.kick_off(state, request),
            (Place::Delete, Some(number)) => self.delete(state, number),
            (Place::Status | Place::NextPage, Some(number)) => {
                let page = request.query("page").first().and_then(|page| page.parse().ok());
                self.status(state, number, page.unwrap_or(0))
            }
            _ => outcome(404, "not-found", "nothing is here"),
        }
    }
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        asked::header(&self.headers, name)
    }

    fn path(&self) -> &str {
        asked::path(&self.target)
    }

    pub(super) fn query(&self, name: &str) -> Vec<String> {
        asked::query(&self.target, name)
    }
}

/// Changes what a reader of an answer might trip over.
fn garble(answer: &mut Answer, random: &mut Random) {
    const VALUES: [&str; 8] = [
        "",
        "-1",
        "99999999999999999999",
        "1e9",
        "bytes 5-4/3",
        "\"",
        "gzip;q",
        "http://[::1",
    ];
    for (_, value) in &mut answer.headers {
        if random.chance(3) {
            *value = random.of(&VALUES).to_owned();
        }
    }
    let mut body = answer.body.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(body.len() as u64) as usize;
        match random.below(3) {
            0 => body.truncate(at),
            1 if !body.is_empty() => body[at] = random.below(256) as u8,
            _ => body.insert(at, random.of(b"{}[]\",:0-\\\x00\xff")),
        }
    }
    answer.body = body.into();
}

fn place(request: &Request) -> Option<Place> {
    let path = request.path();
    if let Some(rest) = path.strip_prefix("/files/") {
        return rest.split_once('/')?.1.parse().ok().map(Place::File);
    }
    if let Some(number) = path.strip_prefix("/fhir/Binary/") {
        return number.parse().ok().map(Place::Attachment);
    }
    match (request.method.as_str(), path) {
        ("POST", "/auth/token") => Some(Place::Token),
        ("GET", "/fhir/.well-known/smart-configuration") => Some(Place::Discovery),
        ("GET" | "POST", path) if path.ends_with("/$export") || path.ends_with("/$export-v4") => {
            Some(Place::KickOff)
        }
        ("DELETE", path) if job_number(path).is_some() => Some(Place::Delete),
        ("GET", path) if job_number(path).is_some() => Some(match request.query("page").is_empty() {
            true => Place::Status,
            false => Place::NextPage,
        }),
        _ => None,
    }
}

fn job_number(path: &str) -> Option<usize> {
    path.strip_prefix("/fhir/jobs/")?.parse().ok()
}
