//! TLS: whose certificates are trusted, and that nobody is led away from it.

use fhirhose_client::{ErrorKind, HttpSettings, roots_from_pem};

use crate::server::{Server, http, ok, redirect, text};

fn trusting(server: &Server) -> impl FnOnce(&mut HttpSettings) {
    let root = server.root.clone();
    move |settings| settings.extra_roots.extend(root)
}

#[tokio::test]
async fn a_certificate_of_ones_own_authority_is_trusted_when_it_is_named() {
    let server = Server::tls(&["localhost"], |_| ok("private")).await;
    let url = format!("https://localhost:{}/x", server.port);
    assert_eq!(text(&http(trusting(&server)), &url).await.unwrap(), "private");
    let stranger = text(&http(|_| ()), &url).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Unreachable);
    let why = std::error::Error::source(&stranger)
        .expect("what TLS says")
        .to_string();
    assert!(why.contains("certificate"), "{why}");
    let otherwise_named = format!("https://127.0.0.1:{}/x", server.port);
    assert!(text(&http(trusting(&server)), &otherwise_named).await.is_err());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn nobody_is_led_from_https_to_http() {
    let plain = Server::plain(|_| ok("in plain text")).await;
    let target = format!("http://127.0.0.1:{}/x", plain.port);
    let server = Server::tls(&["localhost"], move |_| redirect(&target)).await;
    let url = format!("https://localhost:{}/x", server.port);
    let refused = text(&http(trusting(&server)), &url).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(plain.asked().is_empty());
}

#[test]
fn authorities_are_read_from_pem_and_nothing_else() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = format!("{}{}", key.cert.pem(), key.cert.pem());
    assert_eq!(roots_from_pem(pem.as_bytes()).unwrap().len(), 2);
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        "nothing",
    ] {
        assert!(roots_from_pem(text.as_bytes()).is_err(), "{text}");
    }
}
