//! Accepts connections and hands their requests on, until it is told to stop.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_jobs::{Clock, StopSignal};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use crate::answer::Body;

/// How long to wait after a connection could not be accepted: mostly file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address at the other end of a request's connection; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What a connection may ask for.
pub(crate) struct Limits {
    pub(crate) header_timeout: Duration,
    pub(crate) connections_max: usize,
    pub(crate) drain: Duration,
}

/// Answers the requests of all connections with `answer` until `stop`; then lets those under way end, for the drain's time.
pub(crate) async fn listen<A, F>(
    listener: TcpListener,
    limits: Limits,
    answer: A,
    clock: &dyn Clock,
    stop: StopSignal,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.stopped() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let connection = Connection {
                    stream,
                    peer,
                    header_timeout: limits.header_timeout,
                    watcher: graceful.watcher(),
                    _place: place,
                };
                tokio::spawn(connection.run(answer.clone()));
            }
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                clock.sleep_until(clock.now().plus(ACCEPT_PAUSE)).await;
            }
        }
    }
    drop(listener);
    let late = clock.now().plus(limits.drain);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = clock.sleep_until(late) => info!("connections were still open at the end of the drain: cut off"),
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.expect("nobody closes the semaphore");
    let (stream, address) = listener.accept().await?;
    Ok((stream, Peer(address.ip().to_canonical()), place))
}

/// One connection with its place among those that may be open.
struct Connection {
    stream: TcpStream,
    peer: Peer,
    header_timeout: Duration,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run<A, F>(self, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        // Answers are written in few pieces; waiting for more only delays them. Where it cannot be set, they come later.
        if let Err(error) = self.stream.set_nodelay(true) {
            debug!(%error, "a connection sends with delay");
        }
        let peer = self.peer;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .serve_connection(TokioIo::new(self.stream), service);
        if let Err(error) = self.watcher.watch(served).await {
            debug!(%error, "a connection ended early");
        }
    }
}
