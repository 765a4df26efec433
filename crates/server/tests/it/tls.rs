//! TLS: which versions, whose certificates, and what happens when they change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fhirhose_server::{ClientCertificates, ErrorKind, ServerSettings, TlsSettings, bind};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::fixture::{Server, eventually};

const LONG: Duration = Duration::from_secs(60);

/// A folder with a certificate for `localhost` and its key, and the authority that signed it.
struct Identity {
    folder: TempDir,
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
}

impl Identity {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = params.self_signed(&key).unwrap().pem();
        let identity = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Issuer::new(params, key),
            authority_pem,
        };
        identity.issue();
        std::fs::write(identity.file("ca.pem"), &identity.authority_pem).unwrap();
        identity
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a new certificate and key where the server looks for them; gives the certificate.
    fn issue(&self) -> CertificateDer<'static> {
        let (pem, key, certificate) = self.sign();
        std::fs::write(self.file("cert.pem"), pem).unwrap();
        std::fs::write(self.file("key.pem"), key).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.file("key.pem"), private).unwrap();
        certificate
    }

    fn sign(&self) -> (String, String, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem(), certificate.der().clone())
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            reload_secs: 1,
            ..TlsSettings::new(self.file("cert.pem"), self.file("key.pem"))
        }
    }

    async fn serve(&self, change: impl FnOnce(&mut ServerSettings)) -> Server {
        Server::start_with(|settings| {
            settings.transport.tls = Some(self.settings());
            change(settings);
        })
        .await
    }

    /// A client that trusts the authority and, where it has one, shows a certificate.
    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shows: Option<&Identity>,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let authority = rustls::pki_types::pem::PemObject::from_pem_slice(self.authority_pem.as_bytes());
        roots.add(authority.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match shows {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let (_, key, certificate) = identity.sign();
                let key: PrivateKeyDer<'static> =
                    rustls::pki_types::pem::PemObject::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// A connection over TLS, and the certificate that it began with.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    certificate: CertificateDer<'static>,
}

impl Connection {
    async fn open(address: SocketAddr, client: &TlsConnector) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = client.connect(name, stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned();
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, certificate })
    }

    async fn get(&mut self, target: &str) -> std::io::Result<(u16, Bytes)> {
        let request = Request::builder().method(Method::GET).uri(target);
        let request = request.header("host", "localhost").body(Empty::new()).unwrap();
        let answer = self
            .sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(std::io::Error::other)?;
        Ok((status, body.to_bytes()))
    }
}

/// The status of one request on a connection of its own.
async fn asked(server: &Server, client: &TlsConnector) -> std::io::Result<u16> {
    let mut connection = Connection::open(server.address, client).await?;
    Ok(connection.get("/fhir/metadata").await?.0)
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_urls_are_https_b_02_a_20() {
    let identity = Identity::new();
    let server = identity.serve(|_| ()).await;
    assert_eq!(server.base, format!("https://{}/fhir", server.address));
    for version in [&TLS12, &TLS13] {
        let client = identity.client(&[version], None);
        let mut connection = Connection::open(server.address, &client).await.unwrap();
        let (status, body) = connection.get("/fhir/metadata").await.unwrap();
        assert_eq!(status, 200);
        let statement: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(statement["implementation"]["url"], server.base);
    }
}

#[tokio::test]
async fn tls_1_1_and_1_0_are_refused_b_02_r_02() {
    let identity = Identity::new();
    let server = identity.serve(|_| ()).await;
    for minor in [0x01, 0x02] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&client_hello(minor)).await.unwrap();
        let mut answer = Vec::new();
        timeout(LONG, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        // An alert, fatal: protocol_version, or handshake_failure where something else is missing first.
        assert_eq!(answer[0], 21, "{answer:?}");
        assert!(matches!(answer[5..], [2, 70 | 40]), "{answer:?}");
    }
}

/// The first message of a client that knows nothing newer than TLS 1.0 or 1.1.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.push(0);
    // TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA and its like with RSA; no compression.
    body.extend([0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0]);
    // The curve P-256, uncompressed points, ECDSA with SHA-256.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3,
    ];
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

#[tokio::test]
async fn plain_http_on_a_tls_port_gets_no_answer() {
    let identity = Identity::new();
    let server = identity.serve(|_| ()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Reset or closed: either is an end.
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(
        !answer.windows(4).any(|bytes| bytes == b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let identity = Identity::new();
    let server = identity
        .serve(|settings| settings.connections.handshake_timeout_secs = 1)
        .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&client_hello(3)[..20]).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_open_connections_go_on() {
    let identity = Identity::new();
    let server = identity.serve(|_| ()).await;
    let client = identity.client(&[&TLS13], None);
    let mut before = Connection::open(server.address, &client).await.unwrap();
    let renewed = identity.issue();
    assert_ne!(before.certificate, renewed);
    eventually("the new certificate", async || {
        let connection = Connection::open(server.address, &client).await.unwrap();
        (connection.certificate == renewed).then_some(())
    })
    .await;
    assert_eq!(before.get("/fhir/metadata").await.unwrap().0, 200);
}

#[tokio::test]
async fn with_mutual_tls_clients_need_a_certificate_of_the_named_authority() {
    let (identity, stranger) = (Identity::new(), Identity::new());
    let authority = identity.file("ca.pem");
    let required = |settings: &mut ServerSettings| {
        let tls = settings.transport.tls.as_mut().unwrap();
        tls.clients = ClientCertificates::Required(authority.clone());
    };
    let server = identity.serve(required).await;
    for version in [&TLS12, &TLS13] {
        let client = |shows| identity.client(&[version], shows);
        assert_eq!(asked(&server, &client(Some(&identity))).await.unwrap(), 200);
        asked(&server, &client(None))
            .await
            .expect_err("nothing was shown");
        asked(&server, &client(Some(&stranger)))
            .await
            .expect_err("nobody knows it");
    }
}

#[tokio::test]
async fn where_certificates_are_optional_only_bad_ones_are_refused() {
    let (identity, stranger) = (Identity::new(), Identity::new());
    let authority = identity.file("ca.pem");
    let optional = |settings: &mut ServerSettings| {
        let tls = settings.transport.tls.as_mut().unwrap();
        tls.clients = ClientCertificates::Optional(authority);
    };
    let server = identity.serve(optional).await;
    let client = |shows| identity.client(&[&TLS13], shows);
    assert_eq!(asked(&server, &client(None)).await.unwrap(), 200);
    assert_eq!(asked(&server, &client(Some(&identity))).await.unwrap(), 200);
    asked(&server, &client(Some(&stranger)))
        .await
        .expect_err("nobody knows it");
}

/// Files that cannot be used are told by their flag before the port is taken.
async fn check_refused(identity: &Identity, expected: &str) {
    let mut settings = ServerSettings::for_testing();
    settings.transport.tls = Some(identity.settings());
    let error = bind(settings).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_with_the_way_out() {
    let identity = Identity::new();
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(identity.file("key.pem"), open).unwrap();
    check_refused(&identity, "chmod 600").await;
    identity.issue();
    let (another, _, _) = identity.sign();
    std::fs::write(identity.file("cert.pem"), another).unwrap();
    check_refused(&identity, "cannot be used together").await;
    std::fs::write(identity.file("cert.pem"), "nothing").unwrap();
    check_refused(&identity, "--tls-cert").await;
    identity.issue();
    std::fs::write(identity.file("key.pem"), "nothing").unwrap();
    check_refused(&identity, "--tls-key").await;
    std::fs::remove_file(identity.file("key.pem")).unwrap();
    check_refused(&identity, "--tls-key").await;
}
