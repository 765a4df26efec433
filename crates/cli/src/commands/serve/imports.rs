//! Flags of `fhirhose serve` that say what imports may read: [`ImportArgs`].

use anyhow::{Context, Result};
use clap::{Args, value_parser};
use fhirhose_client::{Addresses, FetchPolicy, HostPattern, HttpSettings, PlainHttp, roots_from_pem};
use fhirhose_server::{AuthSettings, ServerSettings};
use std::path::PathBuf;

/// What imports may read, and how much.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Folder below which imports may read file: URLs [default: none may]
    #[arg(long, env = "FHIRHOSE_IMPORT_ROOT", value_name = "DIR")]
    import_root: Option<PathBuf>,

    /// Lets imports read http: URLs of other machines, in plain text
    #[arg(long, env = "FHIRHOSE_IMPORT_HTTP_ANYWHERE")]
    import_http_anywhere: bool,

    /// Host that imports may read from, or `*.` and a domain; may be given again [default: every host]
    #[arg(
        long = "import-host",
        env = "FHIRHOSE_IMPORT_HOST",
        value_name = "HOST",
        value_delimiter = ','
    )]
    import_hosts: Vec<HostPattern>,

    /// Lets fetches connect to private networks and, with authorization too, to this machine; never to link-local addresses
    #[arg(long, env = "FHIRHOSE_ALLOW_PRIVATE_ADDRESSES")]
    allow_private_addresses: bool,

    /// Certificates (PEM) of authorities that fetches trust besides those of the operating system
    #[arg(long, env = "FHIRHOSE_IMPORT_CA", value_name = "FILE")]
    import_ca: Option<PathBuf>,

    /// The most text of one input, in bytes [default: no limit]
    #[arg(long, env = "FHIRHOSE_IMPORT_BYTES_MAX", value_name = "BYTES", value_parser = value_parser!(u64).range(1..))]
    import_bytes_max: Option<u64>,

    /// How many bytes an input may unfold to for each of its own, beyond the first 64 MiB [default: 500]
    #[arg(long, env = "FHIRHOSE_IMPORT_EXPANSION_MAX", value_name = "TIMES", value_parser = value_parser!(u64).range(1..))]
    import_expansion_max: Option<u64>,

    /// How long one fetch of an input may take, in seconds; an import goes on where it stopped [default: 24 hours]
    #[arg(long, env = "FHIRHOSE_IMPORT_SECS_MAX", value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    import_secs_max: Option<u64>,
}

impl ImportArgs {
    /// Sets what the kick-off refuses and how much is read.
    pub(crate) fn apply(&self, settings: &mut ServerSettings) -> Result<()> {
        if let Some(root) = &self.import_root {
            let root = root
                .canonicalize()
                .with_context(|| format!("opening the import root {}", root.display()))?;
            settings.import_root = Some(root);
        }
        settings.import_fetch = self.policy(&settings.auth);
        settings.import.input_bytes_max = self.import_bytes_max;
        if let Some(times) = self.import_expansion_max {
            settings.import.expansion_max = times;
        }
        Ok(())
    }

    /// Makes what fetches are made with, by the same policy.
    pub(crate) fn http_settings(&self, policy: FetchPolicy) -> Result<HttpSettings> {
        let mut extra_roots = Vec::new();
        if let Some(file) = &self.import_ca {
            let reading = || format!("reading the authorities in {}", file.display());
            let pem = std::fs::read(file).with_context(reading)?;
            extra_roots = roots_from_pem(&pem).with_context(reading)?;
        }
        Ok(HttpSettings {
            policy,
            extra_roots,
            ..HttpSettings::default()
        })
    }

    /// Makes what keys and tokens are asked about with. Their URLs are the operator's own: the list of hosts is for imports, and nothing
    /// that decides who gets in crosses a network in plain text.
    pub(crate) fn key_http_settings(&self, auth: &AuthSettings) -> Result<HttpSettings> {
        let is_own_network = self.allow_private_addresses || matches!(auth, AuthSettings::External(_));
        self.http_settings(FetchPolicy {
            addresses: match is_own_network {
                true => Addresses::Any,
                false => Addresses::PublicAndLoopback,
            },
            ..FetchPolicy::default()
        })
    }

    fn policy(&self, auth: &AuthSettings) -> FetchPolicy {
        let default = FetchPolicy::default();
        FetchPolicy {
            plain_http: match self.import_http_anywhere {
                true => PlainHttp::Anywhere,
                false => PlainHttp::LoopbackOnly,
            },
            // Only who is on this machine anyway may have it fetch from there.
            addresses: match (self.allow_private_addresses, auth) {
                (true, _) => Addresses::Any,
                (false, AuthSettings::None) => Addresses::PublicAndLoopback,
                (false, _) => Addresses::Public,
            },
            hosts: self.import_hosts.clone(),
            fetch_bytes_max: self.import_bytes_max,
            fetch_secs_max: self.import_secs_max.unwrap_or(default.fetch_secs_max),
            ..default
        }
    }
}
