//! The server behind a proxy: whom it believes, and what it answers.

use fhirhose_server::{AuthSettings, ForwardedBy, ProxySettings, ServerSettings, SmartSettings};
use hyper::Method;

use crate::fixture::Server;
use crate::http::Ask;

/// A server that trusts 127.0.0.5 alone.
async fn behind(headers: ForwardedBy) -> Server {
    Server::start_with(|settings| {
        settings.auth = AuthSettings::Smart(SmartSettings::default());
        settings.base_url = Some("https://data.example.org/fhir".parse().unwrap());
        settings.transport.proxy = Some(ProxySettings {
            trusted: vec!["127.0.0.5/32".parse().unwrap()],
            headers,
        });
    })
    .await
}

/// What a proxy at this address passes on.
fn passed_on(server: &Server, from: &str, target: &str) -> Ask {
    let ask = Ask::new(server.address, Method::GET, target).from(from);
    ask.header("host", "data.example.org")
}

#[tokio::test]
async fn a_proxy_that_says_for_whom_it_asks_is_answered() {
    let server = behind(ForwardedBy::XForwarded).await;
    let ask = passed_on(&server, "127.0.0.5", "/fhir/metadata")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https");
    let answer = ask.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["implementation"]["url"],
        "https://data.example.org/fhir"
    );
    let server = behind(ForwardedBy::Forwarded).await;
    let ask =
        passed_on(&server, "127.0.0.5", "/fhir/metadata").header("forwarded", "for=192.0.2.7;proto=https");
    assert_eq!(ask.send().await.status, 200);
}

#[tokio::test]
async fn nobody_else_is_answered_whatever_they_say() {
    let server = behind(ForwardedBy::XForwarded).await;
    let ask = passed_on(&server, "127.0.0.6", "/fhir/metadata")
        .header("x-forwarded-for", "127.0.0.5")
        .header("x-forwarded-proto", "https");
    ask.send().await.refusal(403);
}

#[tokio::test]
async fn plain_text_before_the_proxy_is_refused_and_so_is_silence() {
    let server = behind(ForwardedBy::XForwarded).await;
    let bare = || passed_on(&server, "127.0.0.5", "/fhir/metadata");
    let plain = bare()
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "http");
    assert!(plain.send().await.refusal(400).contains("https"));
    bare().send().await.refusal(400);
    let nobody = bare().header("x-forwarded-proto", "https");
    assert!(nobody.send().await.refusal(400).contains("X-Forwarded-For"));
    let elsewhere = bare().header("forwarded", "for=192.0.2.7;proto=https");
    elsewhere.send().await.refusal(400);
}

#[tokio::test]
async fn unknown_hosts_are_refused_behind_a_proxy_too() {
    let server = behind(ForwardedBy::XForwarded).await;
    let ask = passed_on(&server, "127.0.0.5", "/fhir/metadata")
        .header("host", "evil.example")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https");
    ask.send().await.refusal(421);
}

#[tokio::test]
async fn whoever_watches_the_server_needs_no_proxy() {
    let server = behind(ForwardedBy::XForwarded).await;
    let ask = Ask::new(server.address, Method::GET, "/health").header("host", "10.0.0.9:8080");
    assert_eq!(ask.send().await.status, 200);
}

/// What the settings are refused with.
async fn check_refused(change: impl FnOnce(&mut ServerSettings), expected: &str) {
    let mut settings = ServerSettings::for_testing();
    change(&mut settings);
    let error = fhirhose_server::bind(settings).await.expect_err("it is refused");
    assert!(error.to_string().contains(expected), "{error}");
}

fn proxy(trusted: &[&str]) -> Option<ProxySettings> {
    Some(ProxySettings {
        trusted: trusted.iter().map(|range| range.parse().unwrap()).collect(),
        headers: ForwardedBy::XForwarded,
    })
}

#[tokio::test]
async fn settings_that_would_let_text_cross_a_network_are_refused_with_the_way_out() {
    let smart = || AuthSettings::Smart(SmartSettings::default());
    let public = || Some("https://data.example.org/fhir".parse().unwrap());
    check_refused(
        |settings| {
            settings.listen = "192.0.2.1:80".parse().unwrap();
            settings.auth = smart();
        },
        "--tls-cert",
    )
    .await;
    check_refused(
        |settings| settings.transport.proxy = proxy(&["10.0.0.5/32"]),
        "--auth smart",
    )
    .await;
    for (trusted, base_url, expected) in [
        (&[][..], public(), "--trusted-proxy"),
        (&["0.0.0.0/0"], public(), "every address"),
        (&["10.0.0.5/32"], None, "--base-url"),
        (
            &["10.0.0.5/32"],
            Some("http://data.example.org/fhir".parse().unwrap()),
            "--base-url",
        ),
    ] {
        check_refused(
            |settings| {
                settings.auth = smart();
                settings.transport.proxy = proxy(trusted);
                settings.base_url = base_url;
            },
            expected,
        )
        .await;
    }
}
