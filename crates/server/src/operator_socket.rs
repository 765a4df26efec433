//! The operator's way in: a Unix socket that nobody but this user can open. A request there may do everything, as `operator`.
//!
//! Who can open the data folder can change everything in it anyway, so no token is asked for. The socket has places of its own
//! for connections: a flood over the network does not keep the operator out.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as std_net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fhirhose_auth::Grant;
use fhirhose_jobs::{Clock, StopSignal};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::answer::Body;
use crate::listener::{Reception, converse};
use crate::{Error, ErrorKind, Result};

/// Bytes of a socket's path at most: what Linux takes without the zero at the end.
const PATH_BYTES_MAX: usize = 107;

/// Connections that are open at a time; further ones wait.
const CONNECTIONS_MAX: usize = 16;

/// The name of whoever asks over the socket; no client can have it.
pub(crate) const OPERATOR: &str = "operator";

/// An extension of each request that came over the socket.
#[derive(Debug, Clone, Copy)]
struct OverSocket;

/// Gives the grant of a request that came over the operator's socket; `None` for all others.
pub(crate) fn operators_grant(head: &Parts) -> Option<Grant> {
    let over_socket = head.extensions.get::<OverSocket>();
    over_socket.map(|_| Grant::everything(OPERATOR))
}

/// The operator's socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct OperatorSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: what has taken its place is not ours to remove.
    identity: (u64, u64),
    /// The user whose file it is.
    owner: u32,
}

impl OperatorSocket {
    /// Makes the socket with mode 0600. One that a crash left is replaced.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a path that is too long; [`ErrorKind::Listen`] when something else is there, another server
    /// answers there, or the file cannot be made.
    pub(crate) fn bind(path: &Path) -> Result<Self> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            let problem = format!(
                "the path of the operator's socket, {}, is longer than the {PATH_BYTES_MAX} bytes that the system \
                 takes; choose a shorter one by --operator-socket",
                path.display()
            );
            return Err(Error::new(ErrorKind::Settings, problem));
        }
        Self::make(path).map_err(|source| {
            let context = format!("making the operator's socket {}", path.display());
            Error::new(ErrorKind::Listen, context).caused_by(source)
        })
    }

    fn make(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        let listener = std_net::UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            path: path.to_path_buf(),
            identity: (file.dev(), file.ino()),
            owner: file.uid(),
        })
    }

    /// Answers requests with `answer` until `stop`; then those under way end, for the drain's time.
    pub(crate) async fn listen<A, F>(
        self,
        (http, drain): (http1::Builder, Duration),
        answer: A,
        clock: &dyn Clock,
        stop: StopSignal,
    ) where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let reception = Reception {
            what: "an operator's connection",
            open: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            drain,
            clock,
            stop,
        };
        reception
            .receive(
                async move || self.accept().await,
                |stream, watcher| {
                    let (http, answer) = (http.clone(), answer.clone());
                    async move { converse(stream, &http, watcher, OverSocket, answer).await }
                },
            )
            .await;
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        // Between its making and its mode 0600 others could have opened the file, where the folder is open to them.
        let user = stream.peer_cred()?.uid();
        if user == self.owner || user == 0 {
            return Ok(stream);
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another user was there",
        ))
    }
}

impl Drop for OperatorSocket {
    fn drop(&mut self) {
        let file = fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            // One that stays is found stale by the next server.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let refused = |text: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, text.to_owned()));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => refused("there is something else at this path"),
        Ok(_) if std_net::UnixStream::connect(path).is_ok() => refused("another server answers there"),
        Ok(_) => fs::remove_file(path),
    }
}
