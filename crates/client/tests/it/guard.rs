//! What the guard lets through: names, redirects, addresses that change.

use std::sync::Arc;

use fhirhose_client::{Addresses, ErrorKind, FetchPolicy, Http, HttpSettings, PlainHttp};

use crate::server::{Names, Server, http, nobody, ok, redirect, text};

fn public_only() -> FetchPolicy {
    FetchPolicy {
        addresses: Addresses::Public,
        plain_http: PlainHttp::Anywhere,
        ..FetchPolicy::default()
    }
}

fn with_names(policy: FetchPolicy, names: &Arc<Names>) -> Http {
    let settings = HttpSettings {
        policy,
        ..HttpSettings::default()
    };
    Http::with_resolver(&settings, names.clone()).unwrap()
}

#[tokio::test]
async fn a_name_that_stands_for_a_private_address_is_not_connected_to() {
    let server = Server::plain(|_| ok("secret")).await;
    let names = Names::new(&["127.0.0.1"]);
    let url = format!("http://files.example.org:{}/x", server.port);
    let refused = text(&with_names(public_only(), &names), &url).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert_eq!(names.asked(), 1);
    assert!(server.asked().is_empty());
    // The same with the address allowed gets there, so it was the guard that refused.
    let policy = FetchPolicy {
        addresses: Addresses::PublicAndLoopback,
        ..public_only()
    };
    assert_eq!(text(&with_names(policy, &names), &url).await.unwrap(), "secret");
}

#[tokio::test]
async fn a_name_that_answers_a_private_address_the_second_time_leads_nowhere() {
    // Allowed here is this machine, forbidden a private network: the first answer is the one, the second the other.
    let server = Server::plain(|_| ok("public")).await;
    let names = Names::new(&["127.0.0.1", "10.0.0.7"]);
    let policy = FetchPolicy {
        plain_http: PlainHttp::Anywhere,
        ..FetchPolicy::default()
    };
    let client = with_names(policy, &names);
    let url = format!("http://files.example.org:{}/x", server.port);
    assert_eq!(text(&client, &url).await.unwrap(), "public");
    assert_eq!(names.asked(), 1, "what was checked is what was connected to");
    let refused = text(&client, &url).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert_eq!(names.asked(), 2);
}

#[tokio::test]
async fn the_name_of_this_machine_cannot_stand_for_another() {
    let names = Names::new(&["10.0.0.7"]);
    let policy = FetchPolicy {
        addresses: Addresses::Any,
        ..FetchPolicy::default()
    };
    let refused = text(&with_names(policy, &names), "http://localhost:9/x").await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn who_may_not_be_reached_and_who_cannot_be_are_told_alike() {
    let message = |error: &fhirhose_client::Error| {
        assert!(std::error::Error::source(error).is_none(), "{error}");
        error.to_string()
    };
    let away = nobody().await;
    let url = format!("http://files.example.org:{}/x", away.port());
    let names = Names::new(&["127.0.0.1"]);
    let refused = text(&with_names(public_only(), &names), &url).await.unwrap_err();
    let policy = FetchPolicy {
        addresses: Addresses::Any,
        ..public_only()
    };
    let unreachable = text(&with_names(policy, &names), &url).await.unwrap_err();
    assert_eq!(unreachable.kind(), ErrorKind::Unreachable);
    assert_eq!(message(&refused), message(&unreachable));
    assert!(!message(&refused).contains("127.0.0.1"));
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_not_followed() {
    for target in [
        "http://10.0.0.7/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.7]/x",
        "http://0xa.7/x",
        "http://evil.example.org/x",
        "ftp://127.0.0.1/x",
    ] {
        let server = Server::plain(move |_| redirect(target)).await;
        let url = format!("http://127.0.0.1:{}/x", server.port);
        let refused = text(&http(|_| ()), &url).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden, "{target}: {refused}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_to_a_file_is_an_answer_like_any_other() {
    let server = Server::plain(|_| redirect("file:///etc/passwd")).await;
    let url = format!("http://127.0.0.1:{}/x", server.port);
    assert_eq!(
        text(&http(|_| ()), &url).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
}

#[tokio::test]
async fn a_redirect_to_a_host_outside_of_the_list_is_not_followed() {
    let outside = Server::plain(|_| ok("elsewhere")).await;
    let target = format!("http://localhost:{}/x", outside.port);
    let server = Server::plain(move |_| redirect(&target)).await;
    let client = http(|settings| settings.policy.hosts = vec!["127.0.0.1".parse().unwrap()]);
    let url = format!("http://127.0.0.1:{}/x", server.port);
    assert_eq!(
        text(&client, &url).await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    assert!(outside.asked().is_empty());
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_limit() {
    // /5 leads to /4 and so on; /0 has the text.
    let hops = |path: &str| match path {
        "/0" => ok("here"),
        path => redirect(&format!("/{}", path[1..].parse::<u32>().unwrap() - 1)),
    };
    let server = Server::plain(hops).await;
    let url = |hops: u32| format!("http://127.0.0.1:{}/{hops}", server.port);
    assert_eq!(text(&http(|_| ()), &url(5)).await.unwrap(), "here");
    let refused = text(&http(|_| ()), &url(6)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.to_string().contains("more than 5 times"), "{refused}");
}

#[tokio::test]
async fn credentials_and_addresses_of_origin_stay_behind_at_another_origin() {
    let other = Server::plain(|_| ok("here")).await;
    let target = format!("http://127.0.0.1:{}/x", other.port);
    let server = Server::plain(move |_| redirect(&target)).await;
    let url = format!("http://user:secret@127.0.0.1:{}/x?token=secret", server.port);
    assert_eq!(text(&http(|_| ()), &url).await.unwrap(), "here");
    assert!(server.asked()[0].to_lowercase().contains("authorization: basic"));
    let head = other.asked()[0].to_lowercase();
    assert!(
        !head.contains("authorization") && !head.contains("referer"),
        "{head}"
    );
}
