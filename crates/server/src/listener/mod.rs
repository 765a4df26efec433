//! Accepts connections and hands their requests on, until it is told to stop.

mod places;
mod progress;
pub(crate) mod settings;
mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::io;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::answer::Body;
pub(crate) use places::{AddressBlock, Place, Places};
use progress::{Progress, ProgressLimits};
use settings::{ConnectionSettings, ProxySettings};
pub(crate) use tls::Tls;

/// How long to wait after a connection could not be accepted: mostly file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The client's address; an extension of each request that came over the network. The listener puts the other end of the
/// connection there; behind a proxy it becomes the one for which the proxy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How connections come in: what they all share.
pub(crate) struct Entrance {
    pub(crate) settings: ConnectionSettings,
    /// How long connections may go on after the stop.
    pub(crate) drain: Duration,
    /// The certificate, where TLS is spoken.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Whose connections are not counted by address.
    pub(crate) proxy: Option<ProxySettings>,
}

/// Answers the requests of all connections with `answer` until `stop`; then lets those under way end, for the drain's time.
pub(crate) async fn listen<A, F>(
    listener: TcpListener,
    entrance: Entrance,
    answer: A,
    clock: &dyn Clock,
    stop: StopSignal,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let reception = Reception {
        what: "a connection",
        open: Arc::new(Semaphore::new(entrance.settings.open_max)),
        drain: entrance.drain,
        clock,
        stop,
    };
    let door = Arc::new(Door {
        http: http(&entrance.settings),
        open_by_address: Places::new(),
        handshakes: Semaphore::new(entrance.settings.handshakes_max),
        handshakes_by_address: Places::new(),
        entrance,
    });
    let accept = async move || {
        let (stream, address) = listener.accept().await?;
        Ok((stream, Peer(address.ip().to_canonical())))
    };
    reception
        .receive(accept, |(stream, peer), watcher| {
            let (door, answer) = (Arc::clone(&door), answer.clone());
            async move { door.admit(stream, peer, watcher, answer).await }
        })
        .await;
}

/// How connections of one kind are taken in.
pub(crate) struct Reception<'a> {
    /// What they are called in the log.
    pub(crate) what: &'static str,
    /// A permit for each that may be open; further ones wait.
    pub(crate) open: Arc<Semaphore>,
    /// How long they may go on after the stop.
    pub(crate) drain: Duration,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) stop: StopSignal,
}

impl Reception<'_> {
    /// Takes in what `accept` gives and lets each be `served` beside the others, until the stop; then nobody comes in any more, and
    /// those that are there end, for the drain's time.
    pub(crate) async fn receive<C, F>(
        self,
        accept: impl AsyncFn() -> io::Result<C>,
        served: impl Fn(C, Watcher) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (what, graceful) = (self.what, GracefulShutdown::new());
        loop {
            let accepting = async {
                let place = Arc::clone(&self.open).acquire_owned().await;
                let place = place.expect("nobody closes the semaphore");
                Ok::<_, io::Error>((accept().await?, place))
            };
            let accepted = tokio::select! {
                biased;
                _ = self.stop.stopped() => break,
                accepted = accepting => accepted,
            };
            match accepted {
                Ok((connection, place)) => {
                    let serving = served(connection, graceful.watcher());
                    tokio::spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "accepting {what} failed");
                    self.clock.sleep_until(self.clock.now().plus(ACCEPT_PAUSE)).await;
                }
            }
        }
        drop(accept);
        let late = self.clock.now().plus(self.drain);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = self.clock.sleep_until(late) => info!("{what} was still open at the end of the drain: cut off"),
        }
    }
}

/// HTTP/1.1 within the limits of connections.
pub(crate) fn http(settings: &ConnectionSettings) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(settings.header_timeout_secs))
        .max_headers(settings.headers_max)
        .max_header_size(settings.header_bytes_max);
    http
}

/// Answers the requests of one connection until it ends; each gets `mark` as an extension, by which routes know where it came in.
pub(crate) async fn converse<S, M, A, F>(
    stream: S,
    http: &http1::Builder,
    watcher: Watcher,
    mark: M,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    M: Clone + Send + Sync + 'static,
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(mark.clone());
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let served = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        debug!(%error, "a connection ended early");
    }
}

/// Lets connections in.
struct Door {
    entrance: Entrance,
    http: http1::Builder,
    open_by_address: Places<AddressBlock>,
    /// A permit for each TLS handshake that may be under way.
    handshakes: Semaphore,
    handshakes_by_address: Places<AddressBlock>,
}

impl Door {
    /// Lets a connection in, if its address has room, and answers its requests.
    async fn admit<A, F>(&self, stream: TcpStream, peer: Peer, watcher: Watcher, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let settings = &self.entrance.settings;
        let Some(_place) = self.place(&self.open_by_address, peer, settings.open_per_address_max) else {
            debug!("an address has too many connections: the newest is closed");
            return;
        };
        // Answers are written in few pieces; waiting for more only delays them. Where it cannot be set, they come later.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection sends with delay");
        }
        let limits = ProgressLimits {
            window: Duration::from_secs(settings.stall_timeout_secs),
            bytes_min: settings.stall_bytes_min,
        };
        let stream = Progress::new(stream, limits);
        match &self.entrance.tls {
            None => converse(stream, &self.http, watcher, peer, answer).await,
            Some(tls) => {
                if let Some(stream) = self.shake_hands(stream, peer, tls).await {
                    converse(stream, &self.http, watcher, peer, answer).await;
                }
            }
        }
    }

    /// Takes a place of an address; proxies, who ask for many, have room without end.
    fn place(
        &self,
        places: &Places<AddressBlock>,
        peer: Peer,
        places_max: usize,
    ) -> Option<Place<AddressBlock>> {
        let is_proxy = self
            .entrance
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.trusts(peer.0));
        let places_max = if is_proxy { usize::MAX } else { places_max };
        places.take(AddressBlock::of(peer.0), places_max)
    }

    /// Comes to terms with a client about TLS; `None` when that fails, or takes too long.
    async fn shake_hands(
        &self,
        stream: Progress<TcpStream>,
        peer: Peer,
        tls: &Tls,
    ) -> Option<TlsStream<Progress<TcpStream>>> {
        let settings = &self.entrance.settings;
        let places_max = settings.handshakes_per_address_max;
        let Some(_place) = self.place(&self.handshakes_by_address, peer, places_max) else {
            debug!("an address has too many handshakes under way: the newest is closed");
            return None;
        };
        let late = Duration::from_secs(settings.handshake_timeout_secs);
        let shaken = timeout(late, async {
            let _permit = self.handshakes.acquire().await;
            TlsAcceptor::from(tls.current()).accept(stream).await
        });
        match shaken.await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                debug!("a TLS handshake took too long");
                None
            }
        }
    }
}
