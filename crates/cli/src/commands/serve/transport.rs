//! The flags of `serve` that say how requests come in: TLS, proxies, limits of connections.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use fhirhose_server::{
    ClientCertificates, ConnectionSettings, ForwardedBy, ProxySettings, ServerSettings, TlsSettings,
};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Debug, Args)]
pub(super) struct Transport {
    /// The certificate to show, as PEM, with those between it and its root; taken over when it changes
    #[arg(long, env = "FHIRHOSE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key to it, as PEM; not readable by everybody
    #[arg(long, env = "FHIRHOSE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Authorities, as PEM, from one of which each client must show a certificate
    #[arg(
        long,
        env = "FHIRHOSE_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_client_ca: Option<PathBuf>,

    /// Answers clients without certificate too; one that is shown must be good
    #[arg(long, env = "FHIRHOSE_TLS_CLIENT_OPTIONAL", requires = "tls_client_ca")]
    tls_client_optional: bool,

    /// A proxy in front of the server ends TLS and says for whom it asks; needs --trusted-proxy and --base-url
    #[arg(long, env = "FHIRHOSE_BEHIND_PROXY", requires = "trusted_proxy")]
    behind_proxy: bool,

    /// Addresses of the proxies, such as 10.0.0.5 or 10.0.0.0/28; nobody else is answered
    #[arg(
        long,
        env = "FHIRHOSE_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ',',
        requires = "behind_proxy"
    )]
    trusted_proxy: Vec<Addresses>,

    /// Where proxies say for whom they ask; the other headers are not read
    #[arg(long, env = "FHIRHOSE_FORWARDED_BY", value_enum, default_value_t = Headers::XForwarded)]
    forwarded_by: Headers,

    /// Connections that are open at a time; further ones wait
    #[arg(long, env = "FHIRHOSE_CONNECTIONS_MAX", value_name = "CONNECTIONS")]
    connections_max: Option<usize>,

    /// Connections of one address that are open at a time; further ones are closed
    #[arg(
        long,
        env = "FHIRHOSE_CONNECTIONS_PER_ADDRESS_MAX",
        value_name = "CONNECTIONS"
    )]
    connections_per_address_max: Option<usize>,

    /// How long a connection may wait for the head of a request, in seconds
    #[arg(long, env = "FHIRHOSE_HEADER_TIMEOUT_SECS", value_name = "SECONDS")]
    header_timeout_secs: Option<u64>,

    /// How long a client may take or send next to nothing of a body, in seconds
    #[arg(long, env = "FHIRHOSE_STALL_TIMEOUT_SECS", value_name = "SECONDS")]
    stall_timeout_secs: Option<u64>,
}

/// Where proxies say for whom they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Headers {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`
    XForwarded,
    /// `Forwarded`, as RFC 7239 has it
    Forwarded,
}

/// One address, or a range of them.
#[derive(Debug, Clone, Copy)]
struct Addresses(IpNet);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        let range = one.or_else(|_| text.parse::<IpNet>());
        let wrong = |_| "neither an address such as 10.0.0.5 nor a range such as 10.0.0.0/28".to_owned();
        range.map(Self).map_err(wrong)
    }
}

impl Transport {
    /// Sets how requests come in.
    pub(super) fn set(&self, settings: &mut ServerSettings) -> Result<()> {
        let transport = &mut settings.transport;
        if let (Some(certificates), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let clients = match (&self.tls_client_ca, self.tls_client_optional) {
                (None, _) => ClientCertificates::NotAsked,
                (Some(file), true) => ClientCertificates::Optional(file.clone()),
                (Some(file), false) => ClientCertificates::Required(file.clone()),
            };
            let tls = TlsSettings::new(certificates, key);
            transport.tls = Some(TlsSettings { clients, ..tls });
        }
        if self.behind_proxy {
            transport.proxy = Some(ProxySettings {
                trusted: self.trusted_proxy.iter().map(|addresses| addresses.0).collect(),
                headers: match self.forwarded_by {
                    Headers::XForwarded => ForwardedBy::XForwarded,
                    Headers::Forwarded => ForwardedBy::Forwarded,
                },
            });
        } else if self.forwarded_by != Headers::XForwarded {
            bail!("--forwarded-by says how proxies are read: it needs --behind-proxy");
        }
        self.limit(&mut settings.connections);
        Ok(())
    }

    /// Takes over the limits that are given; the others keep their defaults.
    fn limit(&self, connections: &mut ConnectionSettings) {
        let counts = [
            (&mut connections.open_max, self.connections_max),
            (
                &mut connections.open_per_address_max,
                self.connections_per_address_max,
            ),
        ];
        for (setting, given) in counts {
            *setting = given.unwrap_or(*setting);
        }
        let times = [
            (&mut connections.header_timeout_secs, self.header_timeout_secs),
            (&mut connections.stall_timeout_secs, self.stall_timeout_secs),
        ];
        for (setting, given) in times {
            *setting = given.unwrap_or(*setting);
        }
    }
}
