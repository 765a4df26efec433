//! What an ordinary client notices of a flood: the 99th percentile of its requests, in quiet and during one.
//!
//! Server, client and flood share one process and one machine, so what the flood itself costs is in the figure too.

use crate::measure::Measured;
use anyhow::{Context, Result, ensure};
use fhirhose_auth::{
    Algorithm, AssertionClaims, Client, ClientId, ClientKeys, ClientLimits, GroupAccess, Scopes, SigningKey,
};
use fhirhose_fhir::instant::Instant as FhirInstant;
use fhirhose_jobs::{Clock, SystemClock, SystemEntropy};
use fhirhose_server::audit::MemoryFiles;
use fhirhose_server::{AuthSettings, Components, FloodSettings, ServerSettings, SmartSettings};
use fhirhose_store::catalog::{RecordExpect, RecordKind};
use fhirhose_store::{Store, StoreSettings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Between two polls of an export: a client that asks again at once would be a flood of its own.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// How often the ordinary client does all that it does.
const ROUNDS: usize = 50;

/// Requests of each kind that the flood has under way at a time.
const PARALLEL: usize = 4;

/// A server to ask.
#[derive(Clone, Copy)]
struct Server {
    address: SocketAddr,
}

/// An answer, whole.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Measures the ordinary client's requests: `wall_secs` is their 99th percentile, `resources` how many there were.
pub(crate) async fn measured(is_flooded: bool) -> Result<Measured> {
    let cpu_before = crate::measure::cpu_secs()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::in_memory(clock, StoreSettings::default())?;
    let settings = ServerSettings {
        auth: AuthSettings::Smart(SmartSettings::default()),
        floods: FloodSettings {
            kick_offs_per_minute_max: 600,
            polls_burst_max: 300,
            ..FloodSettings::default()
        },
        listen: ([127, 0, 0, 1], 0).into(),
        ..ServerSettings::default()
    };
    let bound = fhirhose_server::bind(settings).await?;
    let server = Server {
        address: bound.address(),
    };
    let components = Components {
        store: store.clone(),
        fetch: None,
        http: None,
        entropy: Arc::new(SystemEntropy),
        audit: Arc::new(MemoryFiles::default()),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(bound.serve(components, async {
        let _ = stopped.await;
    }));
    let ordinary = server.sign_in(&store, "ordinary").await?;
    let flooder = server.sign_in(&store, "flooder").await?;
    for resource in [
        r#"{"resourceType":"Patient","id":"p1","active":true}"#.to_owned(),
        format!(
            r#"{{"resourceType":"Basic","id":"b1","code":{{"text":"{}"}}}}"#,
            "x".repeat(8 << 20)
        ),
    ] {
        server.put(&ordinary, &resource).await?;
    }
    let mut held = Vec::new();
    if is_flooded {
        held = server.flood(&flooder).await?;
    }
    let mut times = server.ordinary(&ordinary).await?;
    drop((held, stop));
    serving.abort();
    times.sort();
    let requests = times.len();
    Ok(Measured {
        resources: requests as u64,
        wall_secs: times[requests * 99 / 100].as_secs_f64(),
        cpu_secs: crate::measure::cpu_secs()? - cpu_before,
        ..Measured::default()
    })
}

impl Server {
    /// Sends a request from an address of this machine and gives the answer.
    async fn ask(self, from: [u8; 4], request: &str, headers: &str, body: &str) -> Result<Answer> {
        let mut stream = self.connect(from).await?;
        let head = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.context("an answer without a head")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        Ok(Answer {
            status: status.context("a status")?,
            head,
            body: answer.split_off(end + 4),
        })
    }

    async fn connect(self, from: [u8; 4]) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        Ok(socket.connect(self.address).await?)
    }

    /// Registers a client and gives the header with its token.
    async fn sign_in(self, store: &Store, name: &str) -> Result<String> {
        let key = SigningKey::generate(Algorithm::Es384)?;
        let now = FhirInstant::from_micros(SystemClock.now().as_micros());
        let client = Client {
            id: ClientId::parse(name).context("an id")?,
            name: name.to_owned(),
            keys: ClientKeys::Jwks(key.to_jwks().to_json().to_string()),
            scopes: Scopes::everything(),
            groups: GroupAccess::Every,
            limits: ClientLimits::default(),
            contact: None,
            created: now,
            expires: None,
            revoked: None,
            tokens_from: None,
        };
        let record = serde_json::to_vec(&client)?;
        let put = store
            .catalog()
            .put_record(RecordKind::Client, name.as_bytes(), &record, RecordExpect::Any);
        put.await?;
        let assertion = key.assertion(&AssertionClaims {
            client_id: name,
            audience: &format!("http://{}/auth/token", self.address),
            jku: None,
            jti: name,
            now,
            lifetime_secs: 300,
        })?;
        let form = format!(
            "grant_type=client_credentials&scope=system%2F*.cruds&client_assertion={assertion}\
             &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        );
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self
            .ask([127, 0, 0, 1], "POST /auth/token", headers, &form)
            .await?;
        ensure!(
            answer.status == 200,
            "no token: {}",
            String::from_utf8_lossy(&answer.body)
        );
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let token = answer["access_token"].as_str().context("a token")?;
        Ok(format!("Authorization: Bearer {token}\r\n"))
    }

    async fn put(self, token: &str, resource: &str) -> Result<()> {
        let value: serde_json::Value = serde_json::from_str(resource)?;
        let (kind, id) = (value["resourceType"].as_str(), value["id"].as_str());
        let request = format!("PUT /fhir/{}/{}", kind.context("a type")?, id.context("an id")?);
        let headers = format!("{token}Content-Type: application/fhir+json\r\n");
        let answer = self.ask([127, 0, 0, 1], &request, &headers, resource).await?;
        ensure!(answer.status == 201, "{request}: {}", answer.status);
        Ok(())
    }

    /// Takes the time of each request of an ordinary client; none may fail.
    async fn ordinary(self, token: &str) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        let mut timed = async |request: &str, wanted: &[u16]| {
            let headers = format!("{token}Accept: application/fhir+json\r\nPrefer: respond-async\r\n");
            let began = Instant::now();
            let answer = self.ask([127, 0, 0, 1], request, &headers, "").await?;
            times.push(began.elapsed());
            ensure!(
                wanted.contains(&answer.status),
                "{request}: {} instead of {wanted:?}",
                answer.status
            );
            Ok(answer)
        };
        for _ in 0..ROUNDS {
            timed("GET /fhir/metadata", &[200]).await?;
            timed("GET /fhir/Patient/p1", &[200]).await?;
            let accepted = timed("GET /fhir/Patient/$export?_type=Patient", &[202]).await?;
            let status = path_after(&accepted.head, "content-location: ")?;
            let manifest = loop {
                let answer = timed(&format!("GET {status}"), &[200, 202]).await?;
                if answer.status == 200 {
                    break String::from_utf8(answer.body)?;
                }
                tokio::time::sleep(POLL_PAUSE).await;
            };
            let file = path_after(&manifest, r#""url":""#)?;
            timed(&format!("GET {file}"), &[200]).await?;
        }
        Ok(times)
    }

    /// Begins kick-offs, polls, bad tokens and huge assertions without end; gives connections with heads that never end and answers
    /// that nobody takes.
    async fn flood(self, token: &str) -> Result<Vec<TcpStream>> {
        let asynchronous = format!("{token}Accept: application/fhir+json\r\nPrefer: respond-async\r\n");
        let kick_off = "GET /fhir/$export?_type=Group".to_owned();
        let accepted = self.ask([127, 0, 0, 2], &kick_off, &asynchronous, "").await?;
        let status = path_after(&accepted.head, "content-location: ")?;
        let form = "Content-Type: application/x-www-form-urlencoded\r\n".to_owned();
        let huge = format!(
            "grant_type=client_credentials&client_assertion=e30.{}.e30",
            "A".repeat(60_000)
        );
        let kinds = [
            (kick_off, asynchronous, String::new()),
            (format!("GET {status}"), token.to_owned(), String::new()),
            (
                "GET /fhir/Patient/p1".to_owned(),
                "Authorization: Bearer e30.e30.x\r\n".to_owned(),
                String::new(),
            ),
            ("POST /auth/token".to_owned(), form, huge),
        ];
        for (number, (request, headers, body)) in (2..).zip(kinds) {
            for _ in 0..PARALLEL {
                let (request, headers, body) = (request.clone(), headers.clone(), body.clone());
                tokio::spawn(async move {
                    loop {
                        // Refused or not: the next comes at once.
                        let _ = self.ask([127, 0, 0, number], &request, &headers, &body).await;
                    }
                });
            }
        }
        let mut held = Vec::new();
        for _ in 0..200 {
            let mut stream = self.connect([127, 0, 0, 8]).await?;
            let _ = stream
                .write_all(b"GET /fhir/metadata HTTP/1.1\r\nHost: loc")
                .await;
            held.push(stream);
        }
        for _ in 0..32 {
            let mut stream = self.connect([127, 0, 0, 9]).await?;
            let head = format!("GET /fhir/Basic/b1 HTTP/1.1\r\nHost: localhost\r\n{token}\r\n");
            stream.write_all(head.as_bytes()).await?;
            held.push(stream);
        }
        Ok(held)
    }
}

/// The path of the URL that comes after `mark` in a text.
fn path_after(text: &str, mark: &str) -> Result<String> {
    let at = text.find(mark).with_context(|| format!("no {mark}"))?;
    let url = text[at + mark.len()..].split(['"', '\r', '\n']).next();
    let url = url.context("a URL")?;
    let path = url.find("/fhir").context("a path")?;
    Ok(url[path..].to_owned())
}
