//! What a client may ask of the server at most.

use std::time::Duration;

use fhirhose_server::{AuthSettings, SmartSettings};
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Server, eventually};

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

/// Sends bytes on a connection of their own and gives all that comes back.
async fn exchanged(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset: what came until then counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn heads_headers_and_urls_have_limits() {
    let server = Server::start_with(|settings| {
        let limits = &mut settings.connections;
        (limits.header_bytes_max, limits.headers_max, limits.uri_bytes_max) = (10_000, 20, 2_000);
    })
    .await;
    let head =
        |more: &str| format!("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    let answer = exchanged(&server, &head("")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let long = exchanged(&server, &head(&format!("X: {}\r\n", "y".repeat(12_000)))).await;
    assert!(long.starts_with("HTTP/1.1 431"), "{long}");
    let many = exchanged(&server, &head(&"X: y\r\n".repeat(30))).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let target = format!("/fhir/Patient?name={}", "y".repeat(3_000));
    server.get(&target).await.refusal(414);
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_closed_and_others_are_answered() {
    let server = Server::start_with(|settings| settings.connections.open_per_address_max = 2).await;
    let one = TcpStream::connect(server.address).await.unwrap();
    let two = TcpStream::connect(server.address).await.unwrap();
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), third.read(&mut [0; 1])).await;
    assert!(!matches!(ended.expect("it is closed at once"), Ok(1)));
    let other = server.ask(Method::GET, "/health").from("127.0.0.2");
    assert_eq!(other.send().await.status, 200);
    drop((one, two));
}

#[tokio::test]
async fn a_body_of_which_next_to_nothing_comes_gets_408() {
    let server = Server::start_with(|settings| settings.connections.stall_timeout_secs = 1).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /fhir/Patient/p1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let trickling = tokio::spawn(async move {
        let mut pauses = tokio::time::interval(Duration::from_millis(100));
        while writing.write_all(b" ").await.is_ok() {
            pauses.tick().await;
        }
    });
    let mut answer = Vec::new();
    let _ = reading.read_to_end(&mut answer).await;
    trickling.abort();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// Exports a file that is larger than what sockets hold, and gives its URL.
async fn large_file(server: &Server) -> String {
    let line = json!({"resourceType": "Basic", "id": "b", "code": {"text": "x".repeat(1 << 20)}});
    let lines: Vec<String> = (0..24)
        .map(|number| {
            let id = format!("b{number}");
            line.to_string()
                .replacen(r#""id":"b""#, &format!(r#""id":"{id}""#), 1)
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    server.import_lines(&lines).await;
    let (_, manifest) = server.export("$export?_type=Basic").await;
    manifest["output"][0]["url"].as_str().unwrap().to_owned()
}

/// A server that lets a client have one download at a time, and cuts off whoever takes nothing of it for so long.
async fn one_download(stall_timeout_secs: u64) -> Server {
    Server::start_with(|settings| {
        settings.floods.downloads_parallel_max = 1;
        settings.connections.stall_timeout_secs = stall_timeout_secs;
    })
    .await
}

#[tokio::test]
async fn a_client_has_so_many_downloads_at_a_time() {
    let server = one_download(3_600).await;
    let url = large_file(&server).await;
    let untouched = server.ask(Method::GET, &url).open().await;
    assert_eq!(untouched.status(), 200);
    let refused = server.get(&url).await;
    assert!(refused.refusal(429).contains("too many files"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    let other = server.ask(Method::HEAD, &url).from("127.0.0.2").send().await;
    assert_eq!(other.status, 200, "another client has its own");
    drop(untouched);
}

#[tokio::test]
async fn a_download_of_which_nothing_is_taken_is_cut_off() {
    let server = one_download(1).await;
    let url = large_file(&server).await;
    let untouched = server.ask(Method::GET, &url).open().await;
    assert_eq!(untouched.status(), 200);
    eventually("the place of one that is cut off", async || {
        let again = server.ask(Method::HEAD, &url).send().await;
        (again.status == 200).then_some(())
    })
    .await;
    drop(untouched);
}

#[tokio::test]
async fn kick_offs_of_a_client_are_paced_k_43() {
    let server = Server::start_with(|settings| settings.floods.kick_offs_per_minute_max = 2).await;
    for _ in 0..2 {
        assert_eq!(server.kick_off("$export").await.status, 202);
    }
    let refused = server.kick_off("$export").await;
    assert!(refused.refusal(429).contains("too often"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    let other = server.ask(Method::GET, "/fhir/$export").from("127.0.0.2");
    assert_eq!(other.asynchronous().send().await.status, 202);
}

#[tokio::test]
async fn an_address_that_shows_many_bad_tokens_or_asks_for_many_has_to_wait() {
    let server = Server::start_with(|settings| {
        settings.auth = AuthSettings::Smart(SmartSettings::default());
        settings.floods.refused_tokens_per_minute_max = 3;
        settings.floods.token_requests_per_minute_max = 3;
    })
    .await;
    let shown = |from| {
        let ask = server.ask(Method::GET, "/fhir/Patient/p1").from(from);
        ask.header("authorization", "Bearer nonsense").send()
    };
    for _ in 0..3 {
        shown("127.0.0.1").await.refusal(401);
    }
    shown("127.0.0.1").await.refusal(429);
    shown("127.0.0.2").await.refusal(401);
    let nothing = server.get("/fhir/Patient/p1").await;
    nothing.refusal(401);
    let asked = |from| {
        let ask = server.ask(Method::POST, "/auth/token").from(from);
        ask.text("application/x-www-form-urlencoded", "grant_type=nonsense")
            .send()
    };
    for _ in 0..3 {
        assert_eq!(asked("127.0.0.1").await.status, 400);
    }
    let refused = asked("127.0.0.1").await;
    assert_eq!(refused.status, 429);
    assert!(refused.json()["error"].is_string(), "{}", refused.text());
    assert_eq!(asked("127.0.0.2").await.status, 400);
}
