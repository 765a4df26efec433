//! How connections come in and what each may take: [`TransportSettings`], [`ConnectionSettings`].

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::{Error, ErrorKind, Result, ServerSettings};

/// How requests reach the server. Without TLS and proxy only loopback addresses are listened on.
#[derive(Debug, Clone, Default)]
pub struct TransportSettings {
    /// The certificate to show. Default: none, and plain HTTP is spoken.
    pub tls: Option<TlsSettings>,
    /// The proxies that hand requests on. Default: none, and nobody's `X-Forwarded-For` is believed.
    pub proxy: Option<ProxySettings>,
}

/// What TLS works with. Versions are 1.2 and 1.3.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate and those between it and its root, as PEM, the server's own first.
    pub certificates: PathBuf,
    /// Its private key, as PEM; a file that everybody can read is refused.
    pub key: PathBuf,
    /// Whether clients show certificates.
    pub clients: ClientCertificates,
    /// How often to look whether the files changed, in seconds. Default: 5.
    pub reload_secs: u64,
}

impl TlsSettings {
    /// Makes settings for a certificate and its key, without certificates of clients.
    pub fn new(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificates: certificates.into(),
            key: key.into(),
            clients: ClientCertificates::NotAsked,
            reload_secs: 5,
        }
    }
}

/// Whether clients show certificates of their own (mutual TLS). It comes on top of tokens, never instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for one.
    NotAsked,
    /// One that is shown must come from these authorities (PEM); none need be shown.
    Optional(PathBuf),
    /// One from these authorities (PEM) must be shown.
    Required(PathBuf),
}

/// The proxies that end TLS and hand requests on.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// Their addresses. Nobody else is answered.
    pub trusted: Vec<IpNet>,
    /// Where they say for whom they ask.
    pub headers: ForwardedBy,
}

impl ProxySettings {
    /// Whether an address is one of the proxies.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(&address))
    }
}

/// In which headers proxies say for whom they ask. The others are never read: a proxy hands on what it does not set itself, and
/// so would let every client choose its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What connections may take, each and all together.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionSettings {
    /// Connections that are open at a time; further ones wait. Default: 1,024.
    pub open_max: usize,
    /// Connections of one address that are open at a time, of IPv6 of one /64; further ones are closed at once. Proxies are not
    /// counted. Default: 128.
    pub open_per_address_max: usize,
    /// How long a TLS handshake may take, in seconds. Default: 10.
    pub handshake_timeout_secs: u64,
    /// TLS handshakes under way at a time; further ones wait. Default: 256.
    pub handshakes_max: usize,
    /// TLS handshakes of one address under way at a time; further ones are closed at once. Default: 32.
    pub handshakes_per_address_max: usize,
    /// How long a client may take to send the head of a request, in seconds, counted from when the connection was made or the answer
    /// before was sent: so long an idle connection is kept. Default: 30.
    pub header_timeout_secs: u64,
    /// The longest head of a request, in bytes, its first line too; longer ones get 431. Default: 64 KiB.
    pub header_bytes_max: usize,
    /// Headers of a request at most; more get 431. Default: 100.
    pub headers_max: usize,
    /// The longest URI of a request, in bytes; longer ones get 414. Default: 32 KiB.
    pub uri_bytes_max: usize,
    /// In each such time of waiting for a client, in seconds, it must take or send `stall_bytes_min`; who does not is cut off, a
    /// body that comes so slowly gets 408. Default: 30.
    pub stall_timeout_secs: u64,
    /// How much that is, in bytes. Default: 4 KiB.
    pub stall_bytes_min: usize,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            open_max: 1_024,
            open_per_address_max: 128,
            handshake_timeout_secs: 10,
            handshakes_max: 256,
            handshakes_per_address_max: 32,
            header_timeout_secs: 30,
            header_bytes_max: 64 << 10,
            headers_max: 100,
            uri_bytes_max: 32 << 10,
            stall_timeout_secs: 30,
            stall_bytes_min: 4 << 10,
        }
    }
}

impl ConnectionSettings {
    /// The limits with their names; none may be 0.
    pub(crate) fn limits(&self) -> [(&'static str, u64); 11] {
        [
            ("open_max", self.open_max as u64),
            ("open_per_address_max", self.open_per_address_max as u64),
            ("handshake_timeout_secs", self.handshake_timeout_secs),
            ("handshakes_max", self.handshakes_max as u64),
            (
                "handshakes_per_address_max",
                self.handshakes_per_address_max as u64,
            ),
            ("header_timeout_secs", self.header_timeout_secs),
            ("header_bytes_max", self.header_bytes_max as u64),
            ("headers_max", self.headers_max as u64),
            ("uri_bytes_max", self.uri_bytes_max as u64),
            ("stall_timeout_secs", self.stall_timeout_secs),
            ("stall_bytes_min", self.stall_bytes_min as u64),
        ]
    }
}

/// Refuses settings by which resources or tokens would cross a network in plain text, or by which nobody would know the server's
/// own name.
pub(crate) fn check_transport(settings: &ServerSettings) -> Result<()> {
    let transport = &settings.transport;
    let (listen, base_url) = (settings.listen, settings.base_url.as_ref());
    let is_local = listen.ip().is_loopback();
    let has_base = |scheme: &str| base_url.is_some_and(|url| url.scheme() == scheme);
    if settings.auth.is_none() && transport.proxy.is_some() {
        return refused("--auth none serves this machine only, and a proxy serves others: use --auth smart");
    }
    if settings.auth.is_none() && !is_local {
        return refused(format!(
            "refusing to listen on {listen}: without authorization only loopback addresses such as 127.0.0.1 are allowed; --auth smart \
             serves others too"
        ));
    }
    if let Some(proxy) = &transport.proxy {
        if proxy.trusted.is_empty() {
            return refused("--behind-proxy needs the proxy's address: --trusted-proxy 10.0.0.5");
        }
        if proxy.trusted.iter().any(|range| range.prefix_len() == 0) {
            return refused("--trusted-proxy names every address there is: name those of the proxies");
        }
        if !has_base("https") {
            return refused("--behind-proxy needs the URL that clients use: --base-url https://…/fhir");
        }
    }
    if transport.tls.is_some() && has_base("http") {
        return refused("with --tls-cert the --base-url begins with https");
    }
    if transport.tls.is_none() && transport.proxy.is_none() && !is_local {
        return refused(format!(
            "refusing to listen on {listen} in plain text: give --tls-cert and --tls-key, or --behind-proxy and --trusted-proxy, or \
             listen on 127.0.0.1"
        ));
    }
    if listen.ip().is_unspecified() && base_url.is_none() {
        return refused(format!(
            "listening on {listen} needs the URL that clients use: --base-url https://…/fhir"
        ));
    }
    Ok(())
}

fn refused(problem: impl Into<String>) -> Result<()> {
    Err(Error::new(ErrorKind::Settings, problem))
}
