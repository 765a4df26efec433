//! A server that answers as it is told and writes down what it was asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use fhirhose_client::{Error, Http, HttpSettings, Resolver};
use futures::StreamExt;
use futures::future::BoxFuture;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What is sent for a path; the connection is closed behind it, or kept open without a word more when it ends in `…`.
type Answers = Box<dyn Fn(&str) -> String + Send + Sync>;

/// A server of this machine; its requests, heads and all.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// The certificate, where it speaks TLS.
    pub(crate) root: Option<CertificateDer<'static>>,
}

impl Server {
    /// Answers in plain text.
    pub(crate) async fn plain(answers: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::start(Box::new(answers), None).await
    }

    /// Answers over TLS, with a certificate for these names that nobody knows.
    pub(crate) async fn tls(
        names: &[&str],
        answers: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self::start(
            Box::new(answers),
            Some(generate_simple_self_signed(names).unwrap()),
        )
        .await
    }

    async fn start(answers: Answers, key: Option<CertifiedKey<rcgen::KeyPair>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let root = key.as_ref().map(|key| key.cert.der().clone());
        let tls = key.map(|key| acceptor(&key));
        let (answers, notes) = (Arc::new(answers), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (answers, notes, tls) = (Arc::clone(&answers), Arc::clone(&notes), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(connection, &**answers, &notes).await,
                        Some(tls) => {
                            if let Ok(connection) = tls.accept(connection).await {
                                serve(connection, &**answers, &notes).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, asked, root }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn acceptor(key: &CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    answers: &(dyn Fn(&str) -> String + Send + Sync),
    notes: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower.split_once("content-length: ");
    let length = length.and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if connection.read_exact(&mut body).await.is_err() {
        return;
    }
    notes.lock().unwrap().push(head + &String::from_utf8_lossy(&body));
    let answer = answers(&path);
    let (text, open) = answer
        .strip_suffix('…')
        .map_or((&*answer, false), |text| (text, true));
    let _ = connection.write_all(text.as_bytes()).await;
    let _ = connection.flush().await;
    if open {
        std::future::pending::<()>().await;
    }
    let _ = connection.shutdown().await;
}

/// An answer with this text.
pub(crate) fn ok(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// An answer that sends one elsewhere.
pub(crate) fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// Gives the answers of a list, one a question, and the last again and again.
pub(crate) struct Names {
    answers: Vec<IpAddr>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn new(answers: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            answers: answers.iter().map(|text| text.parse().unwrap()).collect(),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolver for Names {
    fn resolve(&self, host: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(host.to_owned());
        let answer = self.answers[asked.len().min(self.answers.len()) - 1];
        Box::pin(async move { Ok(vec![answer]) })
    }
}

/// Fetches and reads to the end.
pub(crate) async fn text(http: &Http, url: &str) -> Result<String, Error> {
    let mut fetched = http.fetch(url, 0, None).await?;
    let mut text = Vec::new();
    while let Some(chunk) = fetched.stream.next().await {
        text.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(text).unwrap())
}

pub(crate) fn http(change: impl FnOnce(&mut HttpSettings)) -> Http {
    let mut settings = HttpSettings::default();
    change(&mut settings);
    Http::new(&settings).unwrap()
}

/// An address of this machine where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
