//! A bare HTTP client: it sends exactly the headers that a test names, and `Host`.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;

/// A request in the making.
pub(crate) struct Ask {
    address: SocketAddr,
    from: Option<IpAddr>,
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// A response that has arrived whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(address: SocketAddr, method: Method, target: &str) -> Self {
        Self {
            address,
            from: None,
            method,
            target: target.to_owned(),
            headers: vec![(HOST.to_string(), address.to_string())],
            body: Bytes::new(),
        }
    }

    /// Asks from another address of this machine, as another client.
    pub(crate) fn from(self, address: &str) -> Self {
        let from = Some(address.parse().expect("an address"));
        Self { from, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name || name != "host");
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Brings an access token, instead of another one.
    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.headers.retain(|(known, _)| known != "authorization");
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The headers that the standard wants of a kick-off (K-20, K-21).
    pub(crate) fn asynchronous(self) -> Self {
        self.header("accept", "application/fhir+json")
            .header("prefer", "respond-async")
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Bytes::from(body.to_string());
        self.header("content-type", "application/fhir+json")
    }

    pub(crate) fn text(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// Brings this body, of whatever type.
    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// Sends it and gives the response with its body still to come.
    pub(crate) async fn open(self) -> Response<Incoming> {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(from) = self.from {
            socket
                .bind(SocketAddr::new(from, 0))
                .expect("an address of this machine");
        }
        let stream = socket.connect(self.address).await.expect("the server listens");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("a connection");
        tokio::spawn(async move {
            // A test that drops its response ends the connection early.
            let _ = connection.await;
        });
        let mut request = Request::builder().method(self.method).uri(self.target);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).expect("a request");
        sender.send_request(request).await.expect("an answer")
    }

    pub(crate) async fn send(self) -> Answer {
        let (head, body) = self.open().await.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.expect("the whole body").to_bytes().to_vec(),
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}"));
        value.to_str().expect("a header of text")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The lines of an NDJSON body.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.text().lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Checks that this is a refusal of this status with an OperationOutcome (K-42), and gives its text.
    pub(crate) fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/fhir+json");
        let outcome = self.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        assert_eq!(outcome["issue"][0]["severity"], "error");
        outcome.to_string()
    }
}
