//! The registered clients.

use fhirhose_auth::{ClientId, ClientKeys, GroupAccess, Standing};
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Clock, SystemClock};
use fhirhose_server::{ClientFault, ClientRegistry, ClientView, NewClient, Rotation};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Server, memory_store};

/// The public key of RFC 7517, appendix A.1, by another name.
fn jwk(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid,
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    })
}

fn jwks(kids: &[&str]) -> Value {
    let keys: Vec<Value> = kids.iter().map(|kid| jwk(kid)).collect();
    json!({ "keys": keys })
}

fn registry() -> ClientRegistry {
    ClientRegistry::new(memory_store())
}

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn now() -> Instant {
    Instant::from_micros(SystemClock.now().as_micros())
}

/// A registration that is fine, changed by `change`.
fn registration(change: impl FnOnce(&mut Value)) -> NewClient {
    let mut body = json!({
        "client_id": "https://app.example.org/bulk",
        "client_name": "Example App",
        "keys": { "jwks": jwks(&["a"]) },
        "scope": "system/Patient.rs system/Observation.read",
    });
    change(&mut body);
    serde_json::from_str(&body.to_string()).unwrap()
}

async fn add(registry: &ClientRegistry, change: impl FnOnce(&mut Value)) -> Result<ClientView, ClientFault> {
    let client = registry.add(registration(change)).await?;
    Ok(ClientView::of(&client, now()))
}

fn rotation(kids: &[&str], keep: bool) -> Rotation {
    let body = json!({ "keys": { "jwks": jwks(kids) }, "keep": keep });
    serde_json::from_str(&body.to_string()).unwrap()
}

#[tokio::test]
async fn a_client_is_registered_once_and_found_a_10() {
    let registry = registry();
    let added = add(&registry, |body| {
        body["groups"] = json!(["g1", "g2"]);
        body["limits"] = json!({ "jobs_live_max": 3 });
        body["contact"] = json!("it@example.org");
        body["expires"] = json!("2999-01-01");
    });
    let added = added.await.unwrap();
    assert_eq!(added.standing, "active");
    assert_eq!(added.scope, "system/Observation.read system/Patient.rs");
    assert_eq!(added.expires.as_deref(), Some("2999-01-01T00:00:00.000000Z"));
    let again = add(&registry, |_| ()).await;
    assert!(matches!(again, Err(ClientFault::Exists)));
    add(&registry, |body| {
        body["client_id"] = json!("by-url");
        body["keys"] = json!({ "jwks_uri": "https://app.example.org/jwks.json" });
    })
    .await
    .unwrap();
    let found = registry
        .find(&id("https://app.example.org/bulk"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ClientView::of(&found, now()), added);
    assert_eq!(found.limits.jobs_live_max, Some(3));
    assert!(matches!(&found.groups, GroupAccess::Only(ids) if ids.len() == 2));
    let listed = registry.list().await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(ids, ["by-url", "https://app.example.org/bulk"]);
    assert!(registry.find(&id("nobody")).await.unwrap().is_none());
}

#[tokio::test]
async fn registrations_that_cannot_be_right_are_refused() {
    let registry = registry();
    let check = async |name: &str, value: Value, expected: &str| {
        let refused = add(&registry, |body| body[name] = value.clone()).await;
        let said = refused.expect_err(expected).to_string();
        assert!(said.contains(expected), "{name} {value}: {said}");
    };
    check("client_id", json!("operator"), "names others").await;
    check("client_id", json!("127.0.0.1"), "names others").await;
    check("client_name", json!(""), "the name has").await;
    check("client_name", json!("a\nb"), "the name has").await;
    check("contact", json!("a".repeat(201)), "the contact has").await;
    check("scope", json!(""), "no scope").await;
    check("scope", json!("system/Patient.sr"), "cruds in that order").await;
    check("scope", json!("patient/Patient.rs"), "not a system scope").await;
    check("groups", json!([]), "1 to 1000 Groups").await;
    check("groups", json!(["Group/1"]), "by its id").await;
    check("limits", json!({ "jobs_live_max": 0 }), "at least 1").await;
    check("expires", json!("2020-01-01"), "in the future").await;
    check("expires", json!("soon"), "a date").await;
    check("keys", json!({}), "either a JWKS or").await;
    check(
        "keys",
        json!({ "jwks": jwks(&["a"]), "jwks_uri": "https://a.example/" }),
        "either a JWKS or",
    )
    .await;
    for jwks in [json!({ "keys": [] }), json!([]), json!({ "keys": {} })] {
        check("keys", json!({ "jwks": jwks }), "the JWKS").await;
    }
    for url in [
        "http://app.example.org/jwks.json",
        "https://user@app.example.org/jwks.json",
        "https://app.example.org/jwks.json#key",
        "file:///etc/passwd",
        "jwks.json",
    ] {
        check("keys", json!({ "jwks_uri": url }), "is https").await;
    }
    assert!(registry.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_client_may_only_read_unless_it_is_said_otherwise_a_46() {
    let registry = registry();
    for scope in [
        "system/*.cruds",
        "system/*.*",
        "system/Patient.write",
        "system/Patient.rs system/Observation.u",
        "system/bulk-import",
        "system/bulk-submit",
        "system/operator",
    ] {
        let refused = add(&registry, |body| body["scope"] = json!(scope)).await;
        let said = refused.expect_err(scope).to_string();
        assert!(said.contains("more than reading"), "{said}");
    }
    let added = add(&registry, |body| {
        body["scope"] = json!("system/*.cruds system/bulk-import");
        body["allow_write"] = json!(true);
    });
    assert_eq!(added.await.unwrap().scope, "system/*.cruds system/bulk-import");
}

#[tokio::test]
async fn a_revoked_client_stays_revoked() {
    let registry = registry();
    let (own, unknown) = (id("https://app.example.org/bulk"), id("nobody"));
    add(&registry, |_| ()).await.unwrap();
    let first = registry.revoke(&own).await.unwrap();
    assert_eq!(first.standing(now()), Standing::Revoked);
    assert_eq!(registry.revoke(&own).await.unwrap().revoked, first.revoked);
    let rotated = registry.rotate(&own, &rotation(&["b"], false)).await;
    assert!(matches!(rotated, Err(ClientFault::Revoked)));
    assert!(matches!(add(&registry, |_| ()).await, Err(ClientFault::Exists)));
    assert!(matches!(
        registry.revoke(&unknown).await,
        Err(ClientFault::Unknown)
    ));
}

#[tokio::test]
async fn keys_are_replaced_or_kept_beside_the_new_ones_a_14() {
    let registry = registry();
    let own = id("https://app.example.org/bulk");
    add(&registry, |_| ()).await.unwrap();
    let kids = |client: &fhirhose_auth::Client| {
        let view = ClientView::of(client, now());
        let keys = view.jwks.unwrap()["keys"].as_array().unwrap().clone();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let kept = registry.rotate(&own, &rotation(&["a", "b"], true)).await.unwrap();
    assert_eq!(kids(&kept), ["a", "b"], "a key that is given again comes once");
    assert_eq!(kept.tokens_from, None);
    let replaced = registry.rotate(&own, &rotation(&["c"], false)).await.unwrap();
    assert_eq!(kids(&replaced), ["c"]);
    assert!(
        replaced.tokens_from.is_some(),
        "tokens of the old keys end with them"
    );
    let url: Rotation =
        serde_json::from_value(json!({ "keys": { "jwks_uri": "https://app.example.org/k" }, "keep": true }))
            .unwrap();
    let refused = registry.rotate(&own, &url).await;
    assert!(matches!(refused, Err(ClientFault::Invalid(_))));
    let moved = registry
        .rotate(&own, &Rotation { keep: false, ..url })
        .await
        .unwrap();
    assert_eq!(
        moved.keys,
        ClientKeys::Url("https://app.example.org/k".to_owned())
    );
}

#[tokio::test]
async fn changes_at_the_same_time_do_not_overwrite_each_other() {
    let registry = registry();
    let own = id("https://app.example.org/bulk");
    add(&registry, |_| ()).await.unwrap();
    let names = ["b", "c", "d", "e"];
    let rotations = names.map(|kid| {
        let (registry, own) = (registry.clone(), own.clone());
        tokio::spawn(async move { registry.rotate(&own, &rotation(&[kid], true)).await })
    });
    for rotated in rotations {
        rotated.await.unwrap().unwrap();
    }
    let client = registry.find(&own).await.unwrap().unwrap();
    let keys = ClientView::of(&client, now()).jwks.unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 5, "{keys}");
}

#[tokio::test]
async fn the_operators_routes_register_show_and_change_clients() {
    let server = Server::start().await;
    let post = async |path: &str, body: &Value| {
        let ask = server.ask(Method::POST, path);
        ask.text("application/json", body.to_string()).send().await
    };
    let id = "https://app.example.org/bulk";
    let path = format!("/clients/{}", id.replace(':', "%3A").replace('/', "%2F"));
    let body = json!({
        "client_id": id, "client_name": "App", "keys": { "jwks": jwks(&["a"]) }, "scope": "system/*.rs",
    });
    let added = post("/clients", &body).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.header("cache-control"), "no-store");
    assert_eq!(added.json()["fhir_base"], server.base);
    post("/clients", &body).await.refusal(409);
    for wrong in [
        json!({}),
        json!([]),
        json!({ "client_id": "b" }),
        json!({ "client_id": "b", "client_name": "B", "keys": {}, "scope": "system/*.rs", "more": 1 }),
    ] {
        post("/clients", &wrong).await.refusal(400);
    }
    assert_eq!(server.get(&path).await.json(), added.json());
    let list = server.get("/clients").await.json();
    assert_eq!(list["clients"].as_array().unwrap().len(), 1);
    server.get("/clients?state=active").await.refusal(400);
    for path in ["/clients/nobody", "/clients/no%20id"] {
        server.get(path).await.refusal(404);
    }
    let rotation = json!({ "keys": { "jwks": jwks(&["b"]) } });
    let rotated = post(&format!("{path}/rotate"), &rotation).await;
    assert_eq!(
        rotated.json()["jwks"]["keys"][0]["kid"],
        "b",
        "{}",
        rotated.text()
    );
    let revoked = server.ask(Method::POST, &format!("{path}/revoke")).send().await;
    assert_eq!(revoked.json()["standing"], "revoked");
    post(&format!("{path}/rotate"), &rotation).await.refusal(409);
    server
        .ask(Method::POST, "/clients/nobody/revoke")
        .send()
        .await
        .refusal(404);
}
