//! Metrics of a command that runs on: [`serve_metrics`], one text at one address of this machine.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// How long a collector may take for its question.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// How long nothing is taken after a connection could not be.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers every `GET /metrics` with what `render` gives, one connection at a time. The caller sees to it that the address is of this
/// machine only.
pub async fn serve_metrics(listener: TcpListener, render: impl Fn() -> String + Send) -> Infallible {
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // One that went away, or too many open files: what is measured goes on, and so does this.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let is_asked = request.method() == Method::GET && request.uri().path() == "/metrics";
            let mut response = Response::new(Full::new(Bytes::new()));
            match is_asked {
                true => *response.body_mut() = Full::new(Bytes::from(render())),
                false => *response.status_mut() = StatusCode::NOT_FOUND,
            }
            let text = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, text);
            async move { Ok::<_, Infallible>(response) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .keep_alive(false);
        let serving = http.serve_connection(TokioIo::new(connection), answer);
        // A collector that is gone, or too slow, is its own concern.
        let _ = tokio::time::timeout(HEAD_MAX * 2, serving).await;
    }
}
