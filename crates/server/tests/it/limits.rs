//! What a client may ask of the server at most.

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::Server;

#[tokio::test]
async fn a_body_that_is_too_long_gets_413() {
    let server = Server::start_with(|settings| settings.body_bytes_max = 1_000).await;
    let body = json!({"resourceType": "Patient", "id": "p1", "x": "y".repeat(2_000)});
    let ask = server.ask(Method::PUT, "/fhir/Patient/p1").json(&body);
    ask.send().await.refusal(413);
    assert_eq!(
        server
            .put(&json!({"resourceType": "Patient", "id": "p1"}))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut_off() {
    let server = Server::start_with(|settings| settings.connections.header_timeout_secs = 1).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: ").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_408() {
    let server = Server::start_with(|settings| settings.body_timeout_secs = 1).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /fhir/Patient/p1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn nesting_is_bounded() {
    let server = Server::start().await;
    let text = format!(
        r#"{{"resourceType":"Patient","id":"p1","x":{}{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let ask = server
        .ask(Method::PUT, "/fhir/Patient/p1")
        .text("application/json", text);
    ask.send().await.refusal(400);
    let deep = "[".repeat(100_000);
    let ask = server
        .ask(Method::POST, "/fhir/$import")
        .text("application/json", deep);
    ask.send().await.refusal(400);
}
