//! Start and end of a server.

use std::net::SocketAddr;

use fhirhose_server::{ErrorKind, ServerSettings, bind};
use hyper::Method;
use serde_json::json;
use tokio::net::TcpStream;

use crate::fixture::{Server, memory_store, names};

#[tokio::test]
async fn without_authorization_only_loopback_is_served() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let settings = ServerSettings {
            listen: address.parse::<SocketAddr>().unwrap(),
            ..ServerSettings::for_testing()
        };
        let error = bind(settings).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(error.to_string().contains("loopback"), "{error}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let server = Server::start().await;
    let settings = ServerSettings {
        listen: server.address,
        ..ServerSettings::for_testing()
    };
    let error = bind(settings).await.expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_base_url_must_be_one() {
    for url in [
        "ftp://example.org/fhir",
        "https://example.org/fhir?x=1",
        "https://user@example.org/fhir",
    ] {
        let settings = ServerSettings {
            base_url: Some(url.parse().unwrap()),
            ..ServerSettings::for_testing()
        };
        let error = bind(settings).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Settings, "{url}");
    }
}

#[tokio::test]
async fn a_stopped_server_lets_go_and_its_jobs_outlive_it() {
    let store = memory_store();
    let first = Server::over(store.clone(), |_| ()).await;
    first.put(&json!({"resourceType": "Patient", "id": "p1"})).await;
    let (status_url, _) = first.export("$export").await;
    let address = first.address;
    first.stop().await.expect("a clean end");
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
    let second = Server::over(store, |_| ()).await;
    let path = status_url.split_once("/fhir/").unwrap().1;
    let manifest = second.get(&format!("/fhir/{path}")).await.json();
    let url = manifest["output"][0]["url"].as_str().unwrap();
    assert!(
        url.starts_with(&second.base),
        "URLs are made anew at each poll (S-13)"
    );
    assert_eq!(second.names(&manifest["output"]).await, names(&["Patient/p1"]));
}

#[tokio::test]
async fn a_request_under_way_is_answered_at_a_stop() {
    let server = Server::start().await;
    let slow = server.ask(Method::GET, "/fhir/metadata").open().await;
    let stopping = tokio::spawn(server.stop());
    let body = http_body_util::BodyExt::collect(slow.into_body())
        .await
        .expect("the whole body");
    assert!(!body.to_bytes().is_empty());
    stopping.await.unwrap().expect("a clean end");
}
