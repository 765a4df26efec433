//! Metrics of a command that runs on: [`serve_metrics`], one text at one address of this machine.

use std::sync::Arc;
use std::time::Duration;

use fhirhose_jobs::{Clock, StopSignal};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::{empty, text};
use crate::listener::{Reception, converse};

/// How long a collector may take for its question.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// Answers every `GET /metrics` with what `render` gives, one connection at a time, as long as its future is polled. The caller sees to it that the
/// address is of this machine only.
pub async fn serve_metrics(
    listener: TcpListener,
    render: impl Fn() -> String + Clone + Send + 'static,
    clock: &dyn Clock,
) {
    let reception = Reception {
        what: "a collector",
        open: Arc::new(Semaphore::new(1)),
        drain: Duration::ZERO,
        clock,
        stop: StopSignal::new(),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .keep_alive(false);
    let answer = move |request: Request<Incoming>| {
        let is_asked = request.method() == Method::GET && request.uri().path() == "/metrics";
        std::future::ready(match is_asked {
            true => text(StatusCode::OK, "text/plain; version=0.0.4", render()),
            false => empty(StatusCode::NOT_FOUND),
        })
    };
    let accept = async || Ok(listener.accept().await?.0);
    let serve = |stream, watcher| {
        let (http, answer) = (http.clone(), answer.clone());
        async move {
            // A collector that is too slow must not keep the only place.
            let _ = timeout(HEAD_MAX * 2, converse(stream, &http, watcher, (), answer)).await;
        }
    };
    reception.receive(accept, serve).await;
}
