//! The public certification suites' tests of authorization, done as they do them: Inferno's (`g10`, SMART backend services) and those of
//! the SMART Bulk Data Tester. Comments have the titles of the suites' tests.

use fhirhose_auth::{Algorithm, ClientKeys, SigningKey};
use hyper::Method;
use serde_json::{Value, json};

use crate::elsewhere::Elsewhere;
use crate::fixture::{POPULATION, Server};
use crate::http::{Answer, Ask};
use crate::registered::{JWT_BEARER, Registered, client, form, fresh_jti, put_client};

/// The levels that the suites test.
const LEVELS: [&str; 3] = ["Patient/$export", "$export", "Group/g1/$export"];

const CREDENTIALS: &str = "client_credentials";

/// A server with the small population and an exporting client, as one that is to be certified would have it.
async fn server() -> (Server, Registered) {
    let mut server = Server::smart_with(|settings| settings.status_hold_millis = 100).await;
    server.sign_in("loader", "system/bulk-import").await;
    server.import_lines(&POPULATION).await;
    server.token = None;
    let client = server.register("tester", "system/*.rs").await;
    (server, client)
}

/// A token request as the suites make it, with parameters of their choice.
async fn request(server: &Server, client: &Registered, change: &[(&str, Option<&str>)]) -> Answer {
    let assertion = server.assertion(client);
    let mut pairs = vec![
        ("scope", "system/*.read"),
        ("grant_type", CREDENTIALS),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    for (name, value) in change {
        pairs.retain(|(known, _)| known != name);
        pairs.extend(value.map(|value| (*name, value)));
    }
    server.ask_token(&pairs).send().await
}

/// A refusal as the suites want it: 400, in JSON, with a code of OAuth.
#[track_caller]
fn assert_refused(answer: &Answer, codes: &[&str]) {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let error = answer.json()["error"].clone();
    assert!(codes.iter().any(|code| error == *code), "{error}");
}

/// Inferno: "Invalid grant_type rejected", "Invalid client_assertion_type rejected", "Invalid JWT rejected".
#[tokio::test]
async fn inferno_token_requests_with_bad_parameters_get_400_a_28() {
    let (server, client) = server().await;
    let answer = request(&server, &client, &[("grant_type", Some("not_a_grant_type"))]).await;
    assert_refused(&answer, &["unsupported_grant_type"]);
    let answer = request(
        &server,
        &client,
        &[("client_assertion_type", Some("not_an_assertion_type"))],
    )
    .await;
    assert_refused(&answer, &["invalid_request"]);
    let answer = request(&server, &client, &[("client_assertion", Some("not_a_jwt"))]).await;
    assert_refused(&answer, &["invalid_client"]);
}

/// Inferno: "Authorization succeeds with correct input", "Token response body has required fields".
#[tokio::test]
async fn inferno_a_good_request_gets_all_that_is_required_a_29() {
    let (server, client) = server().await;
    let answer = request(&server, &client, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json();
    for name in ["access_token", "token_type", "expires_in", "scope"] {
        assert!(token.get(name).is_some(), "{name}");
    }
    assert!(
        token["token_type"]
            .as_str()
            .unwrap()
            .eq_ignore_ascii_case("bearer")
    );
}

/// Inferno: "Well-known configuration contains the required fields". BDT: "CapabilityStatement includes the token endpoint",
/// "well-known includes token_endpoint".
#[tokio::test]
async fn the_token_endpoint_is_found_in_both_places_a_01_a_05() {
    let (server, _) = server().await;
    let bare = |target: &str| Ask::new(server.address, Method::GET, target);
    let configuration = bare("/fhir/.well-known/smart-configuration").send().await.json();
    assert_eq!(configuration["token_endpoint"], server.token_url());
    let metadata = bare("/fhir/metadata").send().await.json();
    let extensions = &metadata["rest"][0]["security"]["extension"][0];
    assert_eq!(
        extensions["url"],
        "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    );
    assert_eq!(extensions["extension"][0]["valueUri"], server.token_url());
}

/// BDT: "Requires authorization header", "Rejects invalid token"; Inferno: "rejects $export request without authorization".
#[tokio::test]
async fn each_level_asks_for_a_token_k_44_a_51() {
    let (server, _) = server().await;
    for level in LEVELS {
        for method in [Method::GET, Method::POST] {
            let ask = || {
                let ask = server
                    .ask(method.clone(), &format!("/fhir/{level}"))
                    .asynchronous();
                match method {
                    Method::POST => ask.json(&json!({"resourceType": "Parameters"})),
                    _ => ask,
                }
            };
            ask().send().await.refusal(401);
            ask().bearer("invalidToken").send().await.refusal(401);
        }
    }
}

/// BDT: "Requires application/x-www-form-urlencoded POSTs", and each parameter "must be present" and "must be valid".
#[tokio::test]
async fn bdt_each_parameter_must_be_present_and_valid_a_20_a_21() {
    let (server, client) = server().await;
    let pairs = json!({"scope": "system/*.read", "grant_type": CREDENTIALS,
        "client_assertion_type": JWT_BEARER, "client_assertion": server.assertion(&client)});
    let as_json =
        Ask::new(server.address, Method::POST, "/auth/token").text("application/json", pairs.to_string());
    assert_refused(&as_json.send().await, &["invalid_request"]);
    for (name, bad, codes) in [
        ("grant_type", "x", ["unsupported_grant_type"]),
        ("client_assertion_type", "x", ["invalid_request"]),
        ("client_assertion", "x", ["invalid_client"]),
        ("scope", "x", ["invalid_scope"]),
    ] {
        let absent = request(&server, &client, &[(name, None)]).await;
        assert_refused(&absent, &["invalid_request"]);
        assert_refused(&request(&server, &client, &[(name, Some(bad))]).await, &codes);
    }
}

/// BDT: "validates the aud", "validates the iss", "only registered client ids", "validates the jku", "validates the signature".
#[tokio::test]
async fn bdt_the_assertion_is_validated_a_23_a_25_a_26() {
    let (server, client) = server().await;
    let now = server.store.clock().now().as_micros() / 1_000_000;
    let claims = json!({"iss": "tester", "sub": "tester", "aud": server.token_url(), "exp": now + 300});
    let send = async |change: (&str, Value), key: &SigningKey, header: &[(&str, &str)]| {
        let mut changed = claims.clone();
        changed[change.0] = change.1;
        changed["jti"] = json!(fresh_jti());
        let assertion = key.sign("JWT", header, &changed).expect("it signs");
        request(&server, &client, &[("client_assertion", Some(&assertion))]).await
    };
    let same = || ("exp", json!(now + 300));
    assert_eq!(send(same(), &client.key, &[]).await.status, 200);
    for change in [
        ("aud", json!("badAud")),
        ("iss", json!("whatever")),
        ("sub", json!("whatever")),
        ("exp", json!(now + 3_600)),
        ("exp", json!(now - 300)),
    ] {
        assert_refused(&send(change, &client.key, &[]).await, &["invalid_client"]);
    }
    let jku = [("jku", "https://whatever.example/jwks.json")];
    assert_refused(&send(same(), &client.key, &jku).await, &["invalid_client"]);
    let foreign = SigningKey::generate(Algorithm::Es384).expect("a key");
    let foreign = foreign.with_kid(client.key.kid());
    assert_refused(&send(same(), &foreign, &[]).await, &["invalid_client"]);
    let nobody = Registered {
        id: "nobody".to_owned(),
        key: foreign,
    };
    assert_refused(&request(&server, &nobody, &[]).await, &["invalid_client"]);
}

/// BDT: "rejects empty scope", "validates scopes", "rejects unknown action", "… unknown resource", "… explicit mutation".
#[tokio::test]
async fn bdt_scopes_that_make_no_sense_are_rejected_a_42_a_44_a_45() {
    let (server, client) = server().await;
    for scope in [
        "",
        "launch fhirUser",
        "patient/*.read",
        "user/*.rs",
        "system/Patient.unknownAction",
        "system/Patient.xyz",
        "system/UnknownResource.read",
        "system/UnknownResource.rs",
        "system/Patient.write",
        "system/Patient.c",
        "system/Patient.u",
        "system/Patient.d",
        "system/Patient.cud",
    ] {
        let answer = request(&server, &client, &[("scope", Some(scope))]).await;
        assert_refused(&answer, &["invalid_scope"]);
    }
}

/// BDT: "v1 scopes", "v2 scopes", "wildcard v1", "wildcard v2", "mixed v1 and v2"; with those that it wants narrowed or refused.
#[tokio::test]
async fn bdt_scopes_of_both_versions_are_honoured_a_40_a_41_a_45() {
    let (server, client) = server().await;
    for (scope, granted) in [
        ("system/Patient.read", "system/Patient.read"),
        ("system/Patient.rs", "system/Patient.rs"),
        ("system/*.read", "system/*.read"),
        ("system/*.rs", "system/*.rs"),
        ("system/*.*", "system/*.read"),
        ("system/*.cruds", "system/*.rs"),
        (
            "system/Patient.read system/Observation.rs",
            "system/Observation.rs system/Patient.read",
        ),
    ] {
        let answer = request(&server, &client, &[("scope", Some(scope))]).await;
        assert_eq!(answer.json()["scope"], granted, "{scope}: {}", answer.text());
    }
}

/// BDT: "authorization using JWKS URL".
#[tokio::test]
async fn bdt_a_client_may_host_its_keys_a_10() {
    let (server, _) = server().await;
    let (elsewhere, key) = (
        Elsewhere::start().await,
        SigningKey::generate(Algorithm::Rs384).expect("a key"),
    );
    elsewhere.put(
        "/jwks",
        key.to_jwks().to_json().to_string(),
        &["Cache-Control: max-age=60"],
    );
    let mut hosting = client("hosting", "system/*.rs", &key);
    hosting.keys = ClientKeys::Url(elsewhere.url("/jwks"));
    put_client(&server.store, &hosting).await;
    let id = "hosting".to_owned();
    let answer = request(&server, &Registered { id, key }, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// BDT: "token required when flagged", "rejects if scopes do not cover the type"; Inferno: "NDJSON download requires access token if
/// requiresAccessToken is true". F-04, A-50, A-54: and any token of the same client will do that covers all types.
#[tokio::test]
async fn files_ask_for_a_token_that_covers_them() {
    let (mut server, client) = server().await;
    server.token = Some(server.token_of(&client, "system/*.rs").await);
    let (status_url, manifest) = server.export("Patient/$export").await;
    assert_eq!(manifest["requiresAccessToken"], true);
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let small = server.token_of(&client, "system/Basic.rs").await;
    let again = server.token_of(&client, "system/*.read").await;
    for url in [file, status_url.as_str()] {
        server.token = None;
        server.get(url).await.refusal(401);
        server.token = Some(small.clone());
        server.get(url).await.refusal(403);
        server.token = Some(again.clone());
        assert_eq!(server.get(url).await.status, 200);
    }
}

/// A form that is good, but for its place: BDT and Inferno never send one in the URL, and logs would keep it.
#[tokio::test]
async fn an_assertion_in_a_url_is_not_looked_at_a_20() {
    let (server, client) = server().await;
    let assertion = server.assertion(&client);
    let pairs = [
        ("scope", "system/*.read"),
        ("grant_type", CREDENTIALS),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    let target = format!("/auth/token?{}", form(&pairs));
    let ask = Ask::new(server.address, Method::POST, &target).text("application/x-www-form-urlencoded", "");
    assert_refused(&ask.send().await, &["invalid_request"]);
}
