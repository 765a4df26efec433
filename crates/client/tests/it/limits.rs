//! How much and how long: bodies that are too long or never end, documents that are fetched whole.

use std::time::Duration;

use fhirhose_client::{ErrorKind, Freshness};

use crate::server::{Server, http, ok, text};

#[tokio::test]
async fn a_body_longer_than_allowed_ends_with_an_error() {
    // Without a length, so that only counting shows it.
    let endless = || {
        format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
            "x".repeat(100_000)
        )
    };
    let server = Server::plain(move |_| endless()).await;
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let client = http(|settings| settings.policy.fetch_bytes_max = Some(99_999));
    let refused = text(&client, &url).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let client = http(|settings| settings.policy.fetch_bytes_max = Some(100_000));
    assert_eq!(text(&client, &url).await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_an_error() {
    let server = Server::plain(|_| "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc…".to_owned()).await;
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let client = http(|settings| settings.policy.fetch_secs_max = 1);
    let late = text(&client, &url).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unreachable);
    let client = http(|settings| settings.read_timeout_secs = 1);
    let silent = text(&client, &url).await.unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_small_document_comes_whole_with_how_long_it_may_be_kept_a_15() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\n{}";
    let server = Server::plain(|_| answer.to_owned()).await;
    let url = format!("http://127.0.0.1:{}/jwks", server.port);
    let fetched = http(|_| ())
        .fetch_small(&url, "application/json", 2)
        .await
        .unwrap();
    assert_eq!(fetched.bytes, b"{}");
    assert_eq!(fetched.content_type.as_deref(), Some("application/json"));
    assert_eq!(fetched.freshness, Freshness::For(Duration::from_secs(60)));
    let head = server.asked()[0].to_lowercase();
    assert!(head.contains("accept: application/json"), "{head}");
}

#[tokio::test]
async fn a_small_document_that_is_long_slow_or_refused_is_an_error_a_16() {
    let server = Server::plain(|path| match path {
        "/long" => ok("{\"keys\": []}"),
        "/slow" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{…".to_owned(),
        "/busy" => "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let client = http(|_| ());
    let hasty = http(|settings| settings.small_timeout_secs = 1);
    for (client, path, kind) in [
        (&client, "long", ErrorKind::Refused),
        (&hasty, "slow", ErrorKind::Unreachable),
        (&client, "busy", ErrorKind::Busy),
        (&client, "absent", ErrorKind::Refused),
    ] {
        let url = format!("http://127.0.0.1:{}/{path}", server.port);
        let failed = client
            .fetch_small(&url, "application/json", 11)
            .await
            .unwrap_err();
        assert_eq!(failed.kind(), kind, "{path}: {failed}");
    }
    let forbidden = client
        .fetch_small("https://10.0.0.7/jwks", "application/json", 11)
        .await;
    assert_eq!(forbidden.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_form_is_posted_as_the_client_that_is_named() {
    let server = Server::plain(|_| ok("{\"active\": true}")).await;
    let url = format!("http://127.0.0.1:{}/introspect", server.port);
    let posted = http(|_| ())
        .post_form(&url, ("fhirhose", "secret"), "token=abc".to_owned(), 100)
        .await
        .unwrap();
    assert_eq!(posted.bytes, b"{\"active\": true}");
    let head = server.asked()[0].to_lowercase();
    assert!(head.starts_with("post /introspect"), "{head}");
    assert!(
        head.contains("content-type: application/x-www-form-urlencoded")
            && head.contains("authorization: basic")
    );
}
