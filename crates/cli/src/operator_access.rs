//! How an operator's commands reach a running server: over its Unix socket on this machine, or over the network with a token.

use crate::secret::read_from;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use fhirhose_client::{FetchPolicy, Http, HttpSettings, Operator};
use std::path::{Path, PathBuf};
use url::{Host, Url};

/// The name of the operator's socket in a data folder.
pub(crate) const OPERATOR_SOCKET: &str = "operator.sock";

/// Where a server is when nothing is said.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// Where a running server is.
#[derive(Debug, Args)]
pub(crate) struct OperatorAccess {
    /// The server, without /fhir [env: FHIRHOSE_SERVER] [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "operator_socket"])]
    server: Option<String>,

    /// A file with an access token of scope system/operator, for a server that asks for one; `-` is stdin [env:
    /// FHIRHOSE_TOKEN_FILE]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "operator_socket"])]
    token_file: Option<PathBuf>,

    /// The data folder of a server on this machine: it is asked over operator.sock in there, without a token
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// The operator's socket of a server on this machine, where it is not in the data folder
    #[arg(long, value_name = "PATH")]
    operator_socket: Option<PathBuf>,
}

impl OperatorAccess {
    /// Makes what talks to the server.
    pub(crate) fn operator(&self) -> Result<Operator> {
        let of_folder = self.data.as_deref().map(|data| data.join(OPERATOR_SOCKET));
        if let Some(socket) = self.operator_socket.clone().or(of_folder) {
            return over_socket(&socket);
        }
        // Read here and not by clap, to which a variable that is set for all commands would contradict `--data`.
        let server = match &self.server {
            Some(url) => url.clone(),
            None => variable("FHIRHOSE_SERVER")?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        let file = match &self.token_file {
            Some(file) => Some(file.clone()),
            None => variable("FHIRHOSE_TOKEN_FILE")?.map(PathBuf::from),
        };
        let operator = Operator::new(own_http()?, &server)?;
        let Some(file) = file else {
            return Ok(operator);
        };
        if !is_confidential(&server) {
            bail!("a token is sent over https only, or to this machine");
        }
        Ok(operator.with_token(read_from("token", &file)?.text()))
    }
}

/// Reads an environment variable; an empty one is none.
pub(crate) fn variable(name: &str) -> Result<Option<String>> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    let text = value.map(|value| value.into_string());
    text.transpose()
        .map_err(|_| anyhow!("the environment variable {name} is not UTF-8"))
}

/// A client for URLs that the user typed. It follows no redirect: what is sent could be a secret.
pub(crate) fn own_http() -> Result<Http> {
    Ok(Http::new(&HttpSettings {
        policy: FetchPolicy {
            redirects_max: 0,
            ..FetchPolicy::for_own_urls()
        },
        ..HttpSettings::default()
    })?)
}

/// Talks to the server behind a socket.
pub(crate) fn over_socket(socket: &Path) -> Result<Operator> {
    if !is_answering(socket) {
        bail!(
            "no server answers at {}: is one running on this data folder, and are you its user?",
            socket.display()
        );
    }
    Ok(Operator::over_socket(socket)?)
}

/// Whether a server listens on a socket.
pub(crate) fn is_answering(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// Whether what is sent to a URL cannot be read on the way: https, or this machine.
pub(crate) fn is_confidential(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_local)
}
