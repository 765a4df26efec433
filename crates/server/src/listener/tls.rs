//! TLS with a certificate that changes while the server runs: [`Tls`].
//!
//! The files are looked at every few seconds. What is found is taken only when all of it fits together; until then the old
//! certificate stays. Connections that are open keep the one that they began with.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fhirhose_jobs::{Clock, StopSignal};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use super::settings::{ClientCertificates, TlsSettings};
use crate::{Error, ErrorKind, Result};

/// The longest file of certificates or keys, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The certificate that the server shows now, and where newer ones are looked for.
pub(crate) struct Tls {
    settings: TlsSettings,
    /// What new connections get; written by [`Tls::watch`] alone.
    current: RwLock<Arc<ServerConfig>>,
    /// What the files were like when `current` was made of them.
    first: Vec<Stamp>,
}

/// By what a change of a file is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl fmt::Debug for Tls {
    /// Names the files; what was made of them holds the key.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Tls").field(&self.settings).finish()
    }
}

impl Tls {
    /// Reads certificate, key and authorities.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for files that cannot be read, do not fit together, or hold a key that everybody can read.
    pub(crate) fn load(settings: &TlsSettings) -> Result<Self> {
        // Looked at before they are read: a change in between is then seen as one.
        let first = stamps(settings);
        let current = config(settings)?;
        Ok(Self {
            settings: settings.clone(),
            current: RwLock::new(Arc::new(current)),
            first,
        })
    }

    /// What a new connection is to use.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Takes over what changes in the files, until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, clock: &dyn Clock, stop: StopSignal) {
        let period = Duration::from_secs(self.settings.reload_secs);
        let mut known = self.first.clone();
        loop {
            tokio::select! {
                _ = stop.stopped() => return,
                () = clock.sleep_until(clock.now().plus(period)) => {}
            }
            let (tls, before) = (Arc::clone(&self), known.clone());
            let looked = tokio::task::spawn_blocking(move || tls.look(before)).await;
            known = looked.unwrap_or(known);
        }
    }

    /// Looks at the files once; gives what they are like now. A change that is no good is told once, for its stamps are known then.
    fn look(&self, known: Vec<Stamp>) -> Vec<Stamp> {
        let found = stamps(&self.settings);
        if found == known {
            return known;
        }
        match config(&self.settings) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                info!(file = %self.settings.certificates.display(), "the TLS certificate was taken over");
            }
            Err(error) => warn!(
                error = &error as &dyn StdError,
                "the TLS certificate changed and cannot be used: the old one stays"
            ),
        }
        found
    }
}

/// What the files are like; one that is not there has no stamp.
fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let files = [&settings.certificates, &settings.key];
    let files = files.into_iter().chain(authorities(&settings.clients));
    let stamp = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        Some(Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    };
    files.filter_map(stamp).collect()
}

fn authorities(clients: &ClientCertificates) -> Option<&PathBuf> {
    match clients {
        ClientCertificates::NotAsked => None,
        ClientCertificates::Optional(file) | ClientCertificates::Required(file) => Some(file),
    }
}

fn config(settings: &TlsSettings) -> Result<ServerConfig> {
    let provider = Arc::new(default_provider());
    let chain = certificates(&settings.certificates, "--tls-cert")?;
    let key = private_key(&settings.key)?;
    let verifier = verifier(&settings.clients, &provider)?;
    let failed = |error: rustls::Error| {
        let problem = format!(
            "{} and {} cannot be used together: --tls-cert has the server's own certificate first, --tls-key the key to it",
            settings.certificates.display(),
            settings.key.display()
        );
        Error::new(ErrorKind::Settings, problem).caused_by(error)
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(failed)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let Some(file) = authorities(clients) else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let failed = |error: Box<dyn StdError + Send + Sync>| {
        let problem = format!(
            "--tls-client-ca: {} holds no authorities of clients",
            file.display()
        );
        Error::new(ErrorKind::Settings, problem).caused_by(error)
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, "--tls-client-ca")? {
        roots.add(certificate).map_err(|error| failed(error.into()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if matches!(clients, ClientCertificates::Optional(_)) {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| failed(error.into()))
}

fn certificates(file: &Path, flag: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(file, flag)?.0;
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let unreadable = || {
        let problem = format!("{flag}: {} holds no certificates in PEM form", file.display());
        Error::new(ErrorKind::Settings, problem)
    };
    let found = read.map_err(|error| unreadable().caused_by(error.to_string()))?;
    if found.is_empty() {
        return Err(unreadable());
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let (text, mode) = read(file, "--tls-key")?;
    if mode & 0o007 != 0 {
        let name = file.display();
        let problem = format!("--tls-key: everybody on this machine can read {name}: chmod 600 {name}");
        return Err(Error::new(ErrorKind::Settings, problem));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // What the parser says of it could hold a piece of the key.
        let problem = format!("--tls-key: {} holds no private key in PEM form", file.display());
        Error::new(ErrorKind::Settings, problem)
    })
}

/// Reads a file and its mode, both of the same file whatever happens to its name.
fn read(file: &Path, flag: &str) -> Result<(Vec<u8>, u32)> {
    let read = || -> io::Result<(Vec<u8>, u32)> {
        let opened = std::fs::File::open(file)?;
        let mode = opened.metadata()?.mode();
        let mut text = Vec::new();
        opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "it is longer than {FILE_BYTES_MAX} bytes"
            )));
        }
        Ok((text, mode))
    };
    read().map_err(|error| {
        let problem = format!("{flag}: reading {}", file.display());
        Error::new(ErrorKind::Settings, problem).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Writes a certificate, or a key, or both of a new pair.
    fn issue(settings: &TlsSettings, names: &[&PathBuf]) {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        for (file, text) in [
            (&settings.certificates, pair.cert.pem()),
            (&settings.key, pair.signing_key.serialize_pem()),
        ] {
            if names.contains(&file) {
                std::fs::write(file, text).expect("a file");
                let private = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(file, private).expect("a mode");
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_leaves_the_old_certificate_and_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = TlsSettings::new(folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let both = [&settings.certificates, &settings.key];
        issue(&settings, &both);
        let tls = Tls::load(&settings).expect("it fits together");
        let first = tls.current();
        assert_eq!(tls.look(tls.first.clone()), tls.first, "nothing has changed");
        issue(&settings, &[&settings.certificates]);
        let seen = tls.look(tls.first.clone());
        assert!(
            Arc::ptr_eq(&first, &tls.current()),
            "half of a pair is not taken over"
        );
        assert_eq!(tls.look(seen.clone()), seen, "it is known now");
        issue(&settings, &both);
        tls.look(seen);
        assert!(!Arc::ptr_eq(&first, &tls.current()), "a whole pair is");
    }
}
