//! A flood from some leaves others served: an ordinary client does the same before and during it, and nothing of it may fail.
//!
//! The 99th percentiles are printed and not judged: they are the machine's as much as the server's.

#![allow(clippy::print_stdout, reason = "what was measured is the test's output")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fhirhose_server::FloodSettings;
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::fixture::{Held, POPULATION, Server, eventually, memory_store};
use crate::http::Ask;

/// How often the ordinary client does all that it does.
const ROUNDS: usize = 10;

/// What a flood was answered: how often each status came; 0 is a connection that was closed.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<BTreeMap<u16, usize>>>);

impl Tally {
    fn count(&self, status: u16) {
        *self.0.lock().unwrap().entry(status).or_default() += 1;
    }

    fn of(&self, status: u16) -> usize {
        self.0.lock().unwrap().get(&status).copied().unwrap_or(0)
    }
}

/// Sends requests as fast as they are answered, four at a time, until told to stop.
fn pour(
    floods: &mut JoinSet<()>,
    stop: &Arc<AtomicBool>,
    ask: impl Fn() -> Ask + Clone + Send + 'static,
) -> Tally {
    let tally = Tally::default();
    for _ in 0..4 {
        let (tally, stop, ask) = (tally.clone(), Arc::clone(stop), ask.clone());
        floods.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                tally.count(ask().send().await.status);
            }
        });
    }
    tally
}

async fn connect(server: &Server, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(server.address).await.unwrap()
}

/// Takes the time of one request.
async fn timed<T>(times: &mut Vec<Duration>, asking: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let answer = asking.await;
    times.push(began.elapsed());
    answer
}

/// Asks for an export's manifest, ever more slowly: who does as told is never refused, however long it takes.
async fn manifest(server: &Server, url: &str, times: &mut Vec<Duration>) -> Value {
    for asked in 0..200 {
        let answer = timed(times, server.get(url)).await;
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
        if answer.status == 200 {
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(10 << asked.min(7))).await;
    }
    panic!("the export does not end")
}

/// What an ordinary client does, again and again; gives the 99th percentile of its requests.
async fn ordinary(server: &Server) -> Duration {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for target in ["/fhir/metadata", "/fhir/Patient/p1"] {
            let answer = timed(&mut times, server.get(target)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let accepted = timed(&mut times, server.kick_off("Patient/$export?_type=Patient")).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let url = accepted.header("content-location").to_owned();
        let manifest = manifest(server, &url, &mut times).await;
        let file = manifest["output"][0]["url"].as_str().unwrap().to_owned();
        let answer = timed(&mut times, server.get(&file)).await;
        assert_eq!(answer.lines().len(), 2);
    }
    times.sort();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_everything_leaves_an_ordinary_client_served() {
    let store = memory_store();
    let spec =
        json!({"request": {"level": "system", "requestUrl": "u"}, "target": "outputs", "file_bytes_max": 1});
    let held = Held::take_export_of(&store, "flooder", spec.to_string().as_bytes()).await;
    let mut server = Server::smart_over(store, |settings| {
        settings.floods = FloodSettings {
            polls_burst_max: 300,
            ..FloodSettings::default()
        };
        settings.turn_secs = 1;
    })
    .await;
    let everything = "system/*.cruds system/bulk-import";
    server.sign_in("ordinary", everything).await;
    server.import_lines(&POPULATION).await;
    let large = json!({"resourceType": "Basic", "id": "b", "code": {"text": "x".repeat(8 << 20)}});
    assert_eq!(server.put(&large).await.status, 201);
    let flooder = server.register("flooder", "system/*.rs").await;
    let flooder = server.token_of(&flooder, "system/*.rs").await;
    let before = ordinary(&server).await;

    let (address, stop) = (server.address, Arc::new(AtomicBool::new(false)));
    let mut floods = JoinSet::new();
    let bearing = move |from: &'static str, target: &str, token: &str| {
        let ask = Ask::new(address, Method::GET, target).from(from);
        ask.header("authorization", &format!("Bearer {token}"))
    };
    let token = flooder.clone();
    let kick_off = move || bearing("127.0.0.2", "/fhir/$export?_type=Group", &token).asynchronous();
    let kick_offs = pour(&mut floods, &stop, kick_off);
    let (token, status) = (flooder.clone(), format!("/fhir/$export-status/{}", held.id));
    let polls = pour(&mut floods, &stop, move || bearing("127.0.0.3", &status, &token));
    let bad = move || bearing("127.0.0.4", "/fhir/Patient/p1", "e30.e30.nonsense");
    let bad_tokens = pour(&mut floods, &stop, bad);
    let assertion = format!(
        "grant_type=client_credentials&scope=x&client_assertion=e30.{}.e30",
        "A".repeat(60_000)
    );
    let huge = move || {
        let ask = Ask::new(address, Method::POST, "/auth/token").from("127.0.0.5");
        ask.text("application/x-www-form-urlencoded", assertion.clone())
    };
    let assertions = pour(&mut floods, &stop, huge);
    let (heads, takers) = held_open(&server, &flooder).await;
    let during = ordinary(&server).await;
    let tallies = [&kick_offs, &polls, &bad_tokens, &assertions];
    eventually("refusals of each flood", async || {
        tallies.iter().all(|tally| tally.of(429) > 0).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = floods.join_next().await {
        ended.expect("a flood does not panic");
    }
    println!("99th percentile of an ordinary client: {before:?} before, {during:?} during the flood");
    for (tally, text) in [
        (&kick_offs, "kick-offs"),
        (&polls, "polls"),
        (&bad_tokens, "bad tokens"),
        (&assertions, "huge assertions"),
    ] {
        println!("{text}: {:?}", tally.0.lock().unwrap());
        assert_eq!(tally.of(500), 0, "{text} break nothing");
    }
    assert!(closed(heads).await >= 200 - 128, "an address has 128 connections");
    drop(takers);
}

/// Opens connections whose heads never end, from one address, and ones whose answers nobody takes.
async fn held_open(server: &Server, token: &str) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let (mut heads, mut takers) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let mut stream = connect(server, "127.0.0.6").await;
        let _ = stream
            .write_all(b"GET /fhir/metadata HTTP/1.1\r\nHost: loc")
            .await;
        heads.push(stream);
    }
    for _ in 0..32 {
        let mut stream = connect(server, "127.0.0.7").await;
        let request =
            format!("GET /fhir/Basic/b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        takers.push(stream);
    }
    (heads, takers)
}

/// How many of these connections the server has closed.
async fn closed(streams: Vec<TcpStream>) -> usize {
    let mut closed = 0;
    for mut stream in streams {
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 1])).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    closed
}
