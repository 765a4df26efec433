//! Inputs behind URLs, with a server that is only a value.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fhirhose_bulk::import::{Fetch, Fetched, ImportSettings, ImportSpec, InputSpec};
use fhirhose_bulk::{Error, ErrorKind, Result};
use fhirhose_jobs::{JobError, StopReason};
use futures::{StreamExt, stream};

use super::fixture::{Bench, small_chunks};

/// Serves one file, and breaks off as often as it is told to.
struct Server {
    state: Mutex<ServerState>,
}

struct ServerState {
    text: Vec<u8>,
    etag: Option<&'static str>,
    /// After how many bytes the next answers break off.
    breaks: Vec<usize>,
    /// What was asked for: offset and tag.
    asked: Vec<(u64, Option<String>)>,
}

impl Server {
    fn new(text: Vec<u8>, etag: Option<&'static str>, breaks: Vec<usize>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(ServerState {
                text,
                etag,
                breaks,
                asked: Vec::new(),
            }),
        })
    }

    fn asked(&self) -> Vec<(u64, Option<String>)> {
        self.state.lock().unwrap().asked.clone()
    }
}

#[async_trait]
impl Fetch for Server {
    async fn fetch(&self, url: &str, from: u64, if_range: Option<&str>) -> Result<Fetched> {
        let mut state = self.state.lock().unwrap();
        if url.ends_with("/missing") {
            return Err(Error::new(
                ErrorKind::NotFound,
                "http://server/missing answers 404 Not Found",
            ));
        }
        state.asked.push((from, if_range.map(str::to_owned)));
        let from = if if_range.is_some() && if_range == state.etag {
            from
        } else {
            0
        };
        let rest = &state.text[usize::try_from(from).unwrap()..];
        let mut pieces: Vec<Result<Bytes>> = Vec::new();
        match state.breaks.clone().first() {
            Some(&bytes) if bytes < rest.len() => {
                pieces.extend(
                    rest[..bytes]
                        .chunks(1_000)
                        .map(|piece| Ok(Bytes::copy_from_slice(piece))),
                );
                pieces.push(Err(Error::new(
                    ErrorKind::Unreachable,
                    "reading http://server/file",
                )));
            }
            _ => pieces.extend(rest.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece)))),
        }
        if !state.breaks.is_empty() {
            state.breaks.remove(0);
        }
        Ok(Fetched {
            from,
            etag: state.etag.map(str::to_owned),
            length: Some(state.text.len() as u64),
            stream: stream::iter(pieces).boxed(),
        })
    }
}

fn text(count: usize) -> Vec<u8> {
    let line = |number| {
        format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"p{number}\",\"x\":\"{:0>80}\"}}\n",
            1
        )
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

fn spec(url: &str) -> ImportSpec {
    ImportSpec {
        inputs: vec![InputSpec::url(url)],
        source: None,
        request_url: String::new(),
    }
}

fn settings() -> ImportSettings {
    small_chunks(2, 4 << 10)
}

/// Runs attempts until one gives something else than a retry; gives it with the number of retries.
async fn until_settled(
    bench: &Bench,
    server: &Arc<Server>,
) -> (Result<fhirhose_bulk::import::ImportResult, JobError>, usize) {
    for retries in 0.. {
        let context = bench.claim().await;
        let attempt = bench.attempt(&context, &settings(), Some(server.clone())).await;
        match attempt {
            Err(JobError::Retry { cause, .. }) => assert_eq!(cause.code, "input-unreachable"),
            settled => return (settled, retries),
        }
        bench.release(context.lease()).await;
    }
    unreachable!("the loop has no end")
}

#[tokio::test]
async fn a_plain_input_that_breaks_off_goes_on_with_a_range_under_its_tag() {
    let server = Server::new(text(1_000), Some("\"v1\""), vec![50_000, 30_000]);
    let bench = Bench::in_memory();
    bench
        .submit(spec("http://server/file.ndjson?signature=secret"))
        .await;
    let (result, retries) = until_settled(&bench, &server).await;
    assert_eq!((result.unwrap().counts().created, retries), (1_000, 2));
    let asked = server.asked();
    assert_eq!(asked[0], (0, None));
    for (from, tag) in &asked[1..] {
        assert!(*from > 20_000, "it goes on where the last commit ended");
        assert_eq!(tag.as_deref(), Some("\"v1\""));
    }
    assert_eq!(bench.contents().await.len(), 1_000);
}

#[tokio::test]
async fn a_compressed_input_that_breaks_off_is_read_again_and_skipped() {
    let compressed = zstd::encode_all(&text(20_000)[..], 1).unwrap();
    let half = compressed.len() / 2;
    let server = Server::new(compressed, Some("\"v1\""), vec![half]);
    let bench = Bench::in_memory();
    bench.submit(spec("http://server/file")).await;
    let (result, retries) = until_settled(&bench, &server).await;
    assert_eq!((result.unwrap().counts().created, retries), (20_000, 1));
    assert_eq!(server.asked(), [(0, None), (0, None)]);
}

#[tokio::test]
async fn an_input_without_a_tag_is_read_again_and_skipped() {
    let server = Server::new(text(1_000), None, vec![50_000]);
    let bench = Bench::in_memory();
    bench.submit(spec("http://server/file")).await;
    let (result, retries) = until_settled(&bench, &server).await;
    assert_eq!((result.unwrap().counts().created, retries), (1_000, 1));
    assert_eq!(server.asked(), [(0, None), (0, None)]);
}

#[tokio::test]
async fn an_input_whose_tag_changes_fails_the_job() {
    let server = Server::new(text(1_000), Some("\"v1\""), vec![50_000]);
    let bench = Bench::in_memory();
    bench.submit(spec("http://server/file?signature=secret")).await;
    let context = bench.claim().await;
    let attempt = bench.attempt(&context, &settings(), Some(server.clone())).await;
    assert!(matches!(attempt, Err(JobError::Retry { .. })));
    bench.release(context.lease()).await;
    server.state.lock().unwrap().etag = Some("\"v2\"");
    let (result, _) = until_settled(&bench, &server).await;
    let Err(JobError::Failed(failure)) = result else {
        panic!("it does not fail")
    };
    assert_eq!(failure.code, "input-changed");
    assert!(!failure.message.contains("secret"), "{}", failure.message);
}

#[tokio::test]
async fn a_url_behind_which_nothing_is_fails_the_input_and_one_that_cannot_be_fetched_the_job() {
    let server = Server::new(Vec::new(), None, Vec::new());
    let bench = Bench::in_memory();
    bench.submit(spec("http://server/missing")).await;
    let (result, _) = until_settled(&bench, &server).await;
    assert_eq!(
        result.unwrap().inputs[0].failure.as_ref().unwrap().rule,
        "input-not-found"
    );
    bench.submit(spec("http://server/file")).await;
    let attempt = bench.attempt(&bench.claim().await, &settings(), None).await;
    let Err(JobError::Failed(failure)) = attempt else {
        panic!("it does not fail")
    };
    assert_eq!(failure.code, "invalid-spec");
}

/// Sends nothing, ever.
struct Silent;

#[async_trait]
impl Fetch for Silent {
    async fn fetch(&self, _: &str, _: u64, _: Option<&str>) -> Result<Fetched> {
        Ok(Fetched {
            from: 0,
            etag: None,
            length: None,
            stream: stream::pending().boxed(),
        })
    }
}

#[tokio::test]
async fn a_stop_is_heard_while_a_server_is_silent() {
    let bench = Bench::in_memory();
    bench.submit(spec("http://server/file")).await;
    let context = bench.claim().await;
    let settings = settings();
    let attempt = bench.attempt(&context, &settings, Some(Arc::new(Silent)));
    let stop = async {
        tokio::task::yield_now().await;
        context.stop_signal().stop(StopReason::Cancelled);
    };
    let both = async { tokio::join!(attempt, stop).0 };
    let attempt = tokio::time::timeout(Duration::from_secs(300), both)
        .await
        .expect("it stops");
    assert_eq!(attempt, Err(JobError::Stop(StopReason::Cancelled)));
}
