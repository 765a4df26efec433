//! Keys of clients that are hosted elsewhere: fetched, kept, fetched again.

use fhirhose_auth::{Algorithm, AssertionClaims, ClientKeys, SigningKey};
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::testing::ManualClock;
use fhirhose_jobs::{Clock, Timestamp};
use fhirhose_store::{Store, StoreSettings};
use hyper::Method;
use std::sync::Arc;
use std::time::Duration;

use crate::elsewhere::{Elsewhere, Page};
use crate::fixture::{Server, eventually};
use crate::http::Answer;
use crate::registered::{JWT_BEARER, client, fresh_jti, put_client};

const PATH: &str = "/jwks.json";

/// A server whose clock the test turns, with a client whose keys are elsewhere.
struct Hosted {
    server: Server,
    clock: Arc<ManualClock>,
    elsewhere: Elsewhere,
    key: SigningKey,
}

impl Hosted {
    async fn new(headers: &[&str]) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let store = Store::in_memory(shared, StoreSettings::default()).expect("a store");
        let server = Server::smart_over(store, |_| ()).await;
        let elsewhere = Elsewhere::start().await;
        let key = SigningKey::generate(Algorithm::Es384).expect("a key");
        let mut hosted = client("hosted", "system/*.rs", &key);
        hosted.keys = ClientKeys::Url(elsewhere.url(PATH));
        put_client(&server.store, &hosted).await;
        let this = Self {
            server,
            clock,
            elsewhere,
            key,
        };
        this.host(&this.key, headers);
        this
    }

    fn host(&self, key: &SigningKey, headers: &[&str]) {
        self.elsewhere
            .put(PATH, key.to_jwks().to_json().to_string(), headers);
    }

    /// Asks for a token with this key.
    async fn ask(&self, key: &SigningKey, jku: Option<&str>) -> Answer {
        let claims = AssertionClaims {
            client_id: "hosted",
            audience: &self.server.token_url(),
            jku,
            jti: &fresh_jti(),
            now: Instant::from_micros(self.server.store.clock().now().as_micros()),
            lifetime_secs: 300,
        };
        let assertion = key.assertion(&claims).expect("it signs");
        let pairs = [
            ("grant_type", "client_credentials"),
            ("scope", "system/*.rs"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        self.server.ask_token(&pairs).send().await
    }

    async fn check(&self, key: &SigningKey, status: u16, fetches: usize) {
        let answer = self.ask(key, None).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(self.elsewhere.asked(PATH).len(), fetches);
    }
}

fn other_key() -> SigningKey {
    SigningKey::generate(Algorithm::Es384).expect("a key")
}

/// a JWKS is kept as long as its server says, and five minutes where that says nothing.
#[tokio::test]
async fn hosted_keys_are_kept_as_long_as_their_server_says_a_10_a_15_a_16() {
    for (headers, secs) in [
        (&["Cache-Control: max-age=600"][..], 600),
        (&["Cache-Control: public, max-age=20"], 20),
        (&["Cache-Control: max-age=999999"], 3_600),
        (&[], 300),
    ] {
        let hosted = Hosted::new(headers).await;
        hosted.check(&hosted.key, 200, 1).await;
        hosted.clock.advance(Duration::from_secs(secs - 1));
        hosted.check(&hosted.key, 200, 1).await;
        hosted.clock.advance(Duration::from_secs(1));
        hosted.check(&hosted.key, 200, 2).await;
    }
    let hosted = Hosted::new(&["Cache-Control: no-store"]).await;
    hosted.check(&hosted.key, 200, 1).await;
    hosted.check(&hosted.key, 200, 2).await;
    let head = &hosted.elsewhere.asked(PATH)[0].head.to_lowercase();
    assert!(head.contains("accept: application/json"), "{head}");
}

/// a key that is not in the kept JWKS has it fetched again, once a minute at most.
#[tokio::test]
async fn a_new_key_is_looked_for_but_not_all_the_time() {
    let hosted = Hosted::new(&["Cache-Control: max-age=3600"]).await;
    hosted.check(&hosted.key, 200, 1).await;
    let next = other_key();
    hosted.host(&next, &["Cache-Control: max-age=3600"]);
    hosted.check(&next, 400, 1).await;
    hosted.clock.advance(Duration::from_secs(60));
    hosted.check(&next, 200, 2).await;
    // Strangers who guess key ids make nobody fetch, and turn nobody away.
    for _ in 0..5 {
        hosted.check(&other_key(), 400, 2).await;
    }
    hosted.check(&next, 200, 2).await;
}

/// what goes wrong with a fetch is `invalid_client`, never a 500, and is not tried all the time.
#[tokio::test]
async fn keys_that_cannot_be_had_let_nobody_in() {
    let hosted = Hosted::new(&[]).await;
    let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 << 10));
    for (status, body) in [
        (500, "{}"),
        (404, "{}"),
        (200, "no json"),
        (200, "{}"),
        (200, long.as_str()),
    ] {
        hosted.elsewhere.set(Page {
            path: PATH.to_owned(),
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        });
        let before = hosted.elsewhere.asked(PATH).len();
        for _ in 0..3 {
            let answer = hosted.ask(&hosted.key, None).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert_eq!(answer.json()["error"], "invalid_client");
        }
        assert_eq!(hosted.elsewhere.asked(PATH).len(), before + 1);
        hosted.clock.advance(Duration::from_secs(60));
    }
    hosted.host(&hosted.key, &[]);
    assert_eq!(hosted.ask(&hosted.key, None).await.status, 200);
}

/// a `jku` is the registered URL or is refused; nothing is ever fetched from another.
#[tokio::test]
async fn keys_come_from_the_registered_url_alone_a_26() {
    let hosted = Hosted::new(&[]).await;
    let registered = hosted.elsewhere.url(PATH);
    assert_eq!(hosted.ask(&hosted.key, Some(&registered)).await.status, 200);
    let thief = other_key();
    hosted
        .elsewhere
        .put("/thief.json", thief.to_jwks().to_json().to_string(), &[]);
    for jku in [
        hosted.elsewhere.url("/thief.json"),
        format!("{registered}?x"),
        "x".to_owned(),
    ] {
        for key in [&thief, &hosted.key] {
            let answer = hosted.ask(key, Some(&jku)).await;
            assert_eq!(answer.json()["error"], "invalid_client", "{jku}");
        }
    }
    assert_eq!(hosted.elsewhere.asked("/thief.json").len(), 0);
}

/// Many that ask at once have the keys fetched once.
#[tokio::test]
async fn one_fetch_serves_all_who_wait_for_it() {
    let hosted = Hosted::new(&["Cache-Control: max-age=600"]).await;
    let asking = (0..8).map(|_| hosted.ask(&hosted.key, None));
    let answers = futures::future::join_all(asking).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(hosted.elsewhere.asked(PATH).len(), 1);
}

/// A key that is shut out while a token is made with it opens nothing: its keys' server may take its time.
#[tokio::test]
async fn a_token_that_was_asked_for_before_keys_were_changed_is_worth_nothing() {
    let hosted = Hosted::new(&[]).await;
    let held = hosted.elsewhere.hold().await;
    let ask = async { hosted.ask(&hosted.key, None).await };
    let change = async {
        let is_asked = async || (!hosted.elsewhere.asked(PATH).is_empty()).then_some(());
        eventually("a request for the keys", is_asked).await;
        hosted.clock.advance(Duration::from_secs(1));
        let mut changed = client("hosted", "system/*.rs", &other_key());
        changed.tokens_from = Some(Instant::from_micros(hosted.clock.now().as_micros()));
        put_client(&hosted.server.store, &changed).await;
        hosted.clock.advance(Duration::from_secs(1));
        drop(held);
    };
    let (answer, ()) = tokio::join!(ask, change);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let read = hosted.server.ask(Method::GET, "/fhir/Patient/p1").bearer(&token);
    read.send().await.refusal(401);
}
