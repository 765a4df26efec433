//! Who sees tokens, and when there are new ones.

use std::time::Duration;

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_client::testing::{Fault, FileHost, Host, Manner, Place, RetryAfter, Strike, TokenManner};
use fhirhose_client::{DataProvider, ErrorKind, FileRequest, SmartSettings, TokenSource};
use serde_json::json;

use super::{Scene, everything, url};
use crate::server::{Server, http, ok, redirect};

/// A server that wants tokens, which live so long, and who has them.
async fn with_tokens(scopes: &str, manner: Manner, script: Vec<Strike>) -> Scene {
    let key = SigningKey::generate(Algorithm::Es384).unwrap();
    let manner = Manner {
        tokens: Some(TokenManner {
            client_id: "warehouse".to_owned(),
            keys: key.to_jwks(),
            lifetime_secs: 300,
        }),
        ..manner
    };
    let scene = Scene::new(1, manner, script).await;
    let settings = SmartSettings {
        client_id: "warehouse".to_owned(),
        key,
        jku: None,
        scopes: scopes.to_owned(),
    };
    let tokens = TokenSource::at(&http(|_| ()), &scene.ehr.token_url(), settings).unwrap();
    let provider = scene.provider.clone().with_tokens(tokens);
    Scene { provider, ..scene }
}

async fn opened(scene: &Scene, requires_access_token: bool) -> Result<u64, fhirhose_client::Error> {
    let urls = scene.export(&everything()).await?;
    let opened = scene
        .provider
        .open(&FileRequest::new(&urls[0], requires_access_token))
        .await?;
    Ok(opened.encoded_bytes.unwrap())
}

/// What hosts saw a token at the files.
fn saw_tokens(scene: &Scene) -> Vec<(Host, bool)> {
    let asked = scene.ehr.asked_at(Place::File(0));
    let saw = asked
        .iter()
        .map(|asked| (asked.host, asked.header("authorization").is_some()));
    saw.collect()
}

#[tokio::test]
async fn a_token_is_got_anew_before_its_end_through_weeks_of_polls_cl_02() {
    let manner = Manner {
        takes: Duration::from_hours(24),
        retry_after: RetryAfter::Secs(100),
        ..Manner::default()
    };
    let scene = with_tokens("system/*.rs", manner, Vec::new()).await;
    scene.export(&everything()).await.unwrap();
    let statuses = scene.ehr.asked_at(Place::Status);
    assert!(
        statuses.iter().all(|asked| asked.status != 401),
        "none was used beyond its end"
    );
    let tokens = scene.ehr.asked_at(Place::Token).len();
    assert!(
        (250..=500).contains(&tokens),
        "{tokens} tokens in a day of 300 s each"
    );
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once_cl_02() {
    let manner = Manner {
        files_want_token: true,
        ..Manner::default()
    };
    let strikes =
        [Place::KickOff, Place::Status, Place::File(0)].map(|place| Strike::once(place, Fault::TokenRefused));
    let scene = with_tokens("system/*.rs", manner, strikes.to_vec()).await;
    opened(&scene, true).await.unwrap();
    assert_eq!(scene.ehr.asked_at(Place::Token).len(), 4);
    let always = vec![Strike::always(Place::Status, Fault::TokenRefused)];
    let scene = with_tokens("system/*.rs", Manner::default(), always).await;
    assert_eq!(
        scene.export(&everything()).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
    assert_eq!(scene.ehr.asked_at(Place::Status).len(), 2);
}

#[tokio::test]
async fn too_small_a_grant_stops_before_the_kick_off_cl_03() {
    let scene = with_tokens(
        "system/Patient.rs system/Encounter.read",
        Manner::default(),
        Vec::new(),
    )
    .await;
    let mut parameters = everything();
    parameters.types = vec!["Patient".to_owned(), "Observation".to_owned()];
    let error = scene.export(&parameters).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error.to_string().contains("Observation") && error.to_string().contains("system/Patient.rs"),
        "{error}"
    );
    assert_eq!(scene.ehr.asked_at(Place::KickOff).len(), 0);
    parameters.types.truncate(1);
    scene.export(&parameters).await.unwrap();
}

#[tokio::test]
async fn tokens_go_to_no_file_that_does_not_ask_for_one_cl_04_f_05() {
    for files_want_token in [false, true] {
        let manner = Manner {
            files_want_token,
            ..Manner::default()
        };
        let scene = with_tokens("system/*.rs", manner, Vec::new()).await;
        opened(&scene, files_want_token).await.unwrap();
        assert_eq!(saw_tokens(&scene), [(Host::Fhir, files_want_token)]);
    }
}

#[tokio::test]
async fn tokens_go_to_no_other_host_and_through_no_redirect_cl_04() {
    let scene = |file_host| {
        let manner = Manner {
            files_want_token: true,
            file_host,
            ..Manner::default()
        };
        with_tokens("system/*.rs", manner, Vec::new())
    };
    for status in [301, 302, 303, 307, 308] {
        let redirected = scene(FileHost::Redirected(status)).await;
        opened(&redirected, true).await.unwrap();
        assert_eq!(
            saw_tokens(&redirected),
            [(Host::Fhir, true), (Host::Files, false)]
        );
    }
    let other = scene(FileHost::Other).await;
    opened(&other, true).await.unwrap();
    assert_eq!(saw_tokens(&other), [(Host::Files, false)]);
    // Unless the user trusts it.
    let urls = other.export(&everything()).await.unwrap();
    let trusting = other
        .provider
        .clone()
        .with_trusted_file_origins(&[urls[0].clone()])
        .unwrap();
    // That host takes what is signed but once.
    let error = trusting
        .open(&FileRequest::new(&urls[0], true))
        .await
        .unwrap_err();
    assert_eq!(error.answer().unwrap().status, 400);
    assert_eq!(saw_tokens(&other).last(), Some(&(Host::Files, true)));
}

#[tokio::test]
async fn credentials_given_by_the_user_go_where_tokens_would_cl_04() {
    let elsewhere = Server::plain(|_| ok("{}")).await;
    let away = format!("http://127.0.0.1:{}/away", elsewhere.port);
    let target = away.clone();
    let server = Server::plain(move |path| match path {
        "/fhir/redirected" => redirect(&target),
        _ => ok("{}"),
    })
    .await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let header = [("X-Api-Key".to_owned(), "key-secret".to_owned())];
    let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
    let provider = provider
        .with_bearer("bearer-secret")
        .unwrap()
        .with_headers(&header)
        .unwrap();
    assert!(!format!("{provider:?}").contains("secret"), "{provider:?}");
    for (path, requires) in [("/fhir/a", true), ("/fhir/b", false), ("/fhir/redirected", true)] {
        let file = format!("http://127.0.0.1:{}{path}", server.port);
        provider.open(&FileRequest::new(&file, requires)).await.unwrap();
    }
    provider.open(&FileRequest::new(&away, true)).await.unwrap();
    let saw = |asked: Vec<String>| -> Vec<(bool, bool)> {
        let saw = asked
            .iter()
            .map(|asked| (asked.contains("bearer-secret"), asked.contains("key-secret")));
        saw.collect()
    };
    assert_eq!(saw(server.asked()), [(true, true), (false, true), (true, true)]);
    assert_eq!(saw(elsewhere.asked()), [(false, false), (false, false)]);
    for token in ["", "a b", "a\nb"] {
        let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
        assert!(provider.with_bearer(token).is_err());
    }
    let odd = json!({"a": "b"}).to_string();
    assert!(provider.with_headers(&[(odd, "c".to_owned())]).is_err());
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_not_to_what_is_no_web_server_cl_04() {
    let server = Server::plain(|path| match path {
        "/round" => redirect("/round"),
        "/file" => redirect("file:///etc/passwd"),
        _ => ok("{}"),
    })
    .await;
    let base = format!("http://127.0.0.1:{}", server.port);
    let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
    for path in ["/round", "/file"] {
        let file = format!("{base}{path}");
        let error = provider.open(&FileRequest::new(&file, false)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{path}");
        let error = provider.status(&url(&file)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{path}");
    }
    assert_eq!(server.asked().len(), 14);
}
