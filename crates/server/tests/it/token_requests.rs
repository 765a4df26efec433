//! Hostile and unusual token requests: a good one, changed in one place, with the answer that it must get.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fhirhose_auth::{Algorithm, Client, ClientKeys, SigningKey};
use fhirhose_fhir::instant::Instant;
use hyper::Method;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::{Answer, Ask};
use crate::registered::{JWT_BEARER, client, form, fresh_jti, put_client};

/// What the client of the table may have: it only reads.
const SCOPES: &str = "system/Patient.rs system/Observation.rs system/Group.rs";

/// The server with the clients of the table.
struct Table {
    server: Server,
    /// The key of `reader`, the client of the good request.
    own: SigningKey,
    /// A P-256 key of the same client.
    small: SigningKey,
    /// Nobody's key.
    foreign: SigningKey,
}

/// How the assertion is signed.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Own,
    /// With a key of the client that is for ES256.
    Small,
    /// With nobody's key.
    Foreign,
    /// As ASN.1, as certificates have it.
    Asn1,
    /// With a secret that everybody knows: the public key.
    Hmac,
    Nothing,
}

/// A request in parts, each of which a row may change.
struct Request {
    method: Method,
    target: String,
    content_type: Option<&'static str>,
    authorization: Option<&'static str>,
    /// The assertion's header and claims, as texts of JSON once they are signed.
    header: Value,
    claims: Value,
    header_text: Option<&'static str>,
    claims_text: Option<String>,
    sign: Sign,
    /// What is done to the signed text.
    mend: fn(String) -> String,
    grant_type: &'static str,
    scope: String,
    assertion_type: &'static str,
    /// Parameters that do not come.
    left_out: &'static [&'static str],
    /// Parameters that come besides.
    more: Vec<(&'static str, String)>,
    /// The body, instead of the form.
    body: Option<&'static str>,
}

impl Table {
    async fn new() -> Self {
        let server = Server::smart().await;
        let generate = |algorithm| SigningKey::generate(algorithm).expect("a key");
        let (own, small) = (generate(Algorithm::Es384), generate(Algorithm::Es256));
        let both = json!({"keys": [own.public_jwk(), small.public_jwk()]});
        let mut reader = client("reader", SCOPES, &own);
        reader.keys = ClientKeys::Jwks(both.to_string());
        let put = async |id: &str, change: &dyn Fn(&mut Client)| {
            let mut other = reader.clone();
            other.id = id.parse().expect("an id");
            change(&mut other);
            put_client(&server.store, &other).await;
        };
        put("reader", &|_| ()).await;
        put("revoked", &|client| {
            client.revoked = Some(Instant::from_micros(1))
        })
        .await;
        put("expired", &|client| {
            client.expires = Some(Instant::from_micros(1))
        })
        .await;
        put("twins", &|client| {
            let twins = json!({"keys": [own.public_jwk(), own.public_jwk()]});
            client.keys = ClientKeys::Jwks(twins.to_string());
        })
        .await;
        put("keyless", &|client| {
            client.keys = ClientKeys::Jwks(r#"{"keys": []}"#.to_owned())
        })
        .await;
        Self {
            server,
            own,
            small,
            foreign: generate(Algorithm::Es384),
        }
    }

    /// The good request.
    fn request(&self) -> Request {
        let now = self.now();
        Request {
            method: Method::POST,
            target: "/auth/token".to_owned(),
            content_type: Some("application/x-www-form-urlencoded"),
            authorization: None,
            header: json!({"alg": "ES384", "kid": self.own.kid(), "typ": "JWT"}),
            claims: json!({"iss": "reader", "sub": "reader", "aud": self.server.token_url(),
                "exp": now + 300, "iat": now, "jti": fresh_jti()}),
            header_text: None,
            claims_text: None,
            sign: Sign::Own,
            mend: |text| text,
            grant_type: "client_credentials",
            scope: "system/Patient.rs".to_owned(),
            assertion_type: JWT_BEARER,
            left_out: &[],
            more: Vec::new(),
            body: None,
        }
    }

    fn now(&self) -> i64 {
        self.server.store.clock().now().as_micros() / 1_000_000
    }

    fn assertion(&self, request: &Request) -> String {
        let header = request
            .header_text
            .map_or_else(|| request.header.to_string(), str::to_owned);
        let claims = request
            .claims_text
            .clone()
            .unwrap_or_else(|| request.claims.to_string());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = match request.sign {
            Sign::Own => ecdsa(&self.own, &ECDSA_P384_SHA384_FIXED_SIGNING, &signed),
            Sign::Asn1 => ecdsa(&self.own, &ECDSA_P384_SHA384_ASN1_SIGNING, &signed),
            Sign::Small => ecdsa(&self.small, &ECDSA_P256_SHA256_FIXED_SIGNING, &signed),
            Sign::Foreign => ecdsa(&self.foreign, &ECDSA_P384_SHA384_FIXED_SIGNING, &signed),
            Sign::Hmac => {
                let secret = self.own.public_jwk().to_string();
                let key = hmac::Key::new(hmac::HMAC_SHA384, secret.as_bytes());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            Sign::Nothing => Vec::new(),
        };
        (request.mend)(format!("{signed}.{}", encode(&signature)))
    }

    async fn send(&self, request: &Request) -> Answer {
        let assertion = self.assertion(request);
        let mut pairs = vec![
            ("grant_type", request.grant_type),
            ("scope", request.scope.as_str()),
            ("client_assertion_type", request.assertion_type),
            ("client_assertion", assertion.as_str()),
        ];
        pairs.retain(|(name, _)| !request.left_out.contains(name));
        pairs.extend(request.more.iter().map(|(name, value)| (*name, value.as_str())));
        let body = request.body.map_or_else(|| form(&pairs), str::to_owned);
        let mut ask = Ask::new(self.server.address, request.method.clone(), &request.target).body(body);
        if let Some(content_type) = request.content_type {
            ask = ask.header("content-type", content_type);
        }
        if let Some(authorization) = request.authorization {
            ask = ask.header("authorization", authorization);
        }
        ask.send().await
    }
}

/// Signs a text with ring itself, so that a row can sign what no library would.
fn ecdsa(key: &SigningKey, algorithm: &'static EcdsaSigningAlgorithm, text: &str) -> Vec<u8> {
    let pem = key.to_pem();
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pkcs8 = STANDARD.decode(lines).expect("base64");
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).expect("a key pair");
    let signature = pair.sign(&random, text.as_bytes()).expect("it signs");
    signature.as_ref().to_vec()
}

/// A name, what is changed, the status and the error.
type Row = (&'static str, fn(&mut Request), u16, &'static str);

const REQUEST: &str = "invalid_request";
const CLIENT: &str = "invalid_client";
const SCOPE: &str = "invalid_scope";
const GRANT: &str = "unsupported_grant_type";

/// What is wrong with the form (A-20, A-21, A-28).
#[rustfmt::skip]
const FORMS: &[Row] = &[
    ("a body of JSON", |r| { r.content_type = Some("application/json"); r.body = Some(r#"{"grant_type":"client_credentials"}"#); }, 400, REQUEST),
    ("JSON said to be a form", |r| r.body = Some(r#"{"grant_type":"client_credentials"}"#), 400, REQUEST),
    ("a form said to be JSON", |r| r.content_type = Some("application/json"), 400, REQUEST),
    ("a form said to be text", |r| r.content_type = Some("text/plain"), 400, REQUEST),
    ("a form of parts", |r| r.content_type = Some("multipart/form-data; boundary=x"), 400, REQUEST),
    ("no content type", |r| r.content_type = None, 400, REQUEST),
    ("an empty body", |r| r.body = Some(""), 400, REQUEST),
    ("parameters in the URL", |r| r.target.push_str("?grant_type=client_credentials"), 400, REQUEST),
    ("a body that is too long", |r| r.more.push(("x", "x".repeat(70_000))), 413, REQUEST),
    ("a body that is no text", |r| r.body = Some("grant_type=%ff"), 400, REQUEST),
    ("a broken escape", |r| r.body = Some("grant_type=client%2"), 400, REQUEST),
    ("GET", |r| r.method = Method::GET, 405, REQUEST),
    ("PUT", |r| r.method = Method::PUT, 405, REQUEST),
    ("no grant_type", |r| r.left_out = &["grant_type"], 400, REQUEST),
    ("an empty grant_type", |r| r.grant_type = "", 400, REQUEST),
    ("an unknown grant_type", |r| r.grant_type = "not_a_grant_type", 400, GRANT),
    ("the grant type of users", |r| r.grant_type = "authorization_code", 400, GRANT),
    ("the grant type of passwords", |r| r.grant_type = "password", 400, GRANT),
    ("the grant type of refreshing", |r| r.grant_type = "refresh_token", 400, GRANT),
    ("the grant type of assertions", |r| r.grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer", 400, GRANT),
    ("a grant_type in capitals", |r| r.grant_type = "CLIENT_CREDENTIALS", 400, GRANT),
    ("grant_type twice", |r| r.more.push(("grant_type", "client_credentials".to_owned())), 400, REQUEST),
    ("no client_assertion_type", |r| r.left_out = &["client_assertion_type"], 400, REQUEST),
    ("an empty client_assertion_type", |r| r.assertion_type = "", 400, REQUEST),
    ("an unknown client_assertion_type", |r| r.assertion_type = "not_a_client_assertion_type", 400, REQUEST),
    ("an assertion said to be SAML", |r| r.assertion_type = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", 400, REQUEST),
    ("no client_assertion", |r| r.left_out = &["client_assertion"], 400, REQUEST),
    ("an empty client_assertion", |r| r.mend = |_| String::new(), 400, REQUEST),
    ("client_assertion twice", |r| r.more.push(("client_assertion", "x".to_owned())), 400, REQUEST),
    ("no scope", |r| r.left_out = &["scope"], 400, REQUEST),
    ("scope twice", |r| r.more.push(("scope", "system/Patient.rs".to_owned())), 400, REQUEST),
    ("something unknown twice", |r| r.more.extend([("x", "1".to_owned()), ("x", "2".to_owned())]), 400, REQUEST),
    ("a secret too", |r| r.more.push(("client_secret", "secret".to_owned())), 400, REQUEST),
    ("HTTP Basic too", |r| r.authorization = Some("Basic cmVhZGVyOnNlY3JldA=="), 400, REQUEST),
    ("a bearer token too", |r| r.authorization = Some("Bearer x"), 400, REQUEST),
    ("the client_id of another", |r| r.more.push(("client_id", "revoked".to_owned())), 400, CLIENT),
];

/// What is wrong with the assertion as a signed text (A-13, A-22).
#[rustfmt::skip]
const TEXTS: &[Row] = &[
    ("no JWT", |r| r.mend = |_| "not a jwt".to_owned(), 400, CLIENT),
    ("one part", |r| r.mend = |text| text.split('.').next().unwrap().to_owned(), 400, CLIENT),
    ("two parts", |r| r.mend = |text| text.rsplit_once('.').unwrap().0.to_owned(), 400, CLIENT),
    ("four parts", |r| r.mend = |text| format!("{text}.AAAA"), 400, CLIENT),
    ("an empty header", |r| r.mend = |text| text[text.find('.').unwrap()..].to_owned(), 400, CLIENT),
    ("no signature", |r| r.sign = Sign::Nothing, 400, CLIENT),
    ("padding", |r| r.mend = |text| format!("{text}="), 400, CLIENT),
    ("white space before it", |r| r.mend = |text| format!(" {text}"), 400, CLIENT),
    ("a line end behind it", |r| r.mend = |text| format!("{text}\n"), 400, CLIENT),
    ("20 KiB of it", |r| r.claims["more"] = json!("x".repeat(20_000)), 400, CLIENT),
    ("a header that is no JSON", |r| r.header_text = Some("alg=ES384"), 400, CLIENT),
    ("a header that is a list", |r| r.header_text = Some("[]"), 400, CLIENT),
    ("a header with a name twice", |r| r.header_text = Some(r#"{"alg":"none","alg":"ES384","kid":"k","typ":"JWT"}"#), 400, CLIENT),
    ("alg none", |r| { r.header["alg"] = json!("none"); r.sign = Sign::Nothing; }, 400, CLIENT),
    ("alg none with a signature", |r| r.header["alg"] = json!("none"), 400, CLIENT),
    ("alg NoNe", |r| { r.header["alg"] = json!("NoNe"); r.sign = Sign::Nothing; }, 400, CLIENT),
    ("HS256 with the public key as secret", |r| { r.header["alg"] = json!("HS256"); r.sign = Sign::Hmac; }, 400, CLIENT),
    ("HS384 with the public key as secret", |r| { r.header["alg"] = json!("HS384"); r.sign = Sign::Hmac; }, 400, CLIENT),
    ("ES256, which was not asked for", |r| { r.header["alg"] = json!("ES256"); r.sign = Sign::Small; }, 400, CLIENT),
    ("RS384 with an EC key", |r| r.header["alg"] = json!("RS384"), 400, CLIENT),
    ("PS384", |r| r.header["alg"] = json!("PS384"), 400, CLIENT),
    ("no alg", |r| { r.header.as_object_mut().unwrap().remove("alg"); }, 400, CLIENT),
    ("alg as a number", |r| r.header["alg"] = json!(384), 400, CLIENT),
    ("no kid", |r| { r.header.as_object_mut().unwrap().remove("kid"); }, 400, CLIENT),
    ("an unknown kid", |r| r.header["kid"] = json!("another"), 400, CLIENT),
    ("an empty kid", |r| r.header["kid"] = json!(""), 400, CLIENT),
    ("kid as a number", |r| r.header["kid"] = json!(1), 400, CLIENT),
    ("a kid that is a path", |r| r.header["kid"] = json!("../../../etc/passwd"), 400, CLIENT),
    ("typ of an access token", |r| r.header["typ"] = json!("at+jwt"), 400, CLIENT),
    ("typ as a number", |r| r.header["typ"] = json!(1), 400, CLIENT),
    ("crit", |r| r.header["crit"] = json!(["exp"]), 400, CLIENT),
    ("b64 false", |r| r.header["b64"] = json!(false), 400, CLIENT),
    ("a jku where keys are registered by value", |r| r.header["jku"] = json!("https://evil.example/jwks"), 400, CLIENT),
    ("jku as a number", |r| r.header["jku"] = json!(1), 400, CLIENT),
    ("a key that it brings along", |r| { r.header["jwk"] = json!({"kty": "EC"}); r.sign = Sign::Foreign; }, 400, CLIENT),
    ("another's key", |r| r.sign = Sign::Foreign, 400, CLIENT),
    ("a signature in ASN.1", |r| r.sign = Sign::Asn1, 400, CLIENT),
    ("claims changed after signing", |r| r.mend = |text| {
        let parts: Vec<&str> = text.split('.').collect();
        let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        let changed = String::from_utf8(claims).unwrap().replacen("jti-", "jtj-", 1);
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(changed), parts[2])
    }, 400, CLIENT),
    ("a signature cut short", |r| r.mend = |text| text[..text.len() - 4].to_owned(), 400, CLIENT),
    ("a signature of zeros", |r| r.mend = |text| {
        let (signed, _) = text.rsplit_once('.').unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 96]))
    }, 400, CLIENT),
];

/// What is wrong with the claims, and with the client (A-23, A-25, A-26, A-32).
#[rustfmt::skip]
const CLAIMS: &[Row] = &[
    ("claims that are no JSON", |r| r.claims_text = Some("iss=reader".to_owned()), 400, CLIENT),
    ("claims that are a list", |r| r.claims_text = Some("[]".to_owned()), 400, CLIENT),
    ("iss twice", |r| {
        let text = r.claims.to_string();
        r.claims_text = Some(text.replacen('{', r#"{"iss":"revoked","#, 1));
    }, 400, CLIENT),
    ("no iss", |r| { r.claims.as_object_mut().unwrap().remove("iss"); }, 400, CLIENT),
    ("no sub", |r| { r.claims.as_object_mut().unwrap().remove("sub"); }, 400, CLIENT),
    ("iss is not sub", |r| r.claims["iss"] = json!("revoked"), 400, CLIENT),
    ("sub is not iss", |r| r.claims["sub"] = json!("revoked"), 400, CLIENT),
    ("iss as a number", |r| r.claims["iss"] = json!(1), 400, CLIENT),
    ("an empty iss", |r| { r.claims["iss"] = json!(""); r.claims["sub"] = json!(""); }, 400, CLIENT),
    ("a client that there is not", |r| is_from(r, "nobody"), 400, CLIENT),
    ("a client whose id cannot be one", |r| is_from(r, "read er\u{0}"), 400, CLIENT),
    ("a client in capitals", |r| is_from(r, "READER"), 400, CLIENT),
    ("a revoked client", |r| is_from(r, "revoked"), 400, CLIENT),
    ("a client whose time is over", |r| is_from(r, "expired"), 400, CLIENT),
    ("a client with two keys of one kid", |r| is_from(r, "twins"), 400, CLIENT),
    ("a client without keys", |r| is_from(r, "keyless"), 400, CLIENT),
    ("no aud", |r| { r.claims.as_object_mut().unwrap().remove("aud"); }, 400, CLIENT),
    ("aud of another server", |r| r.claims["aud"] = json!("https://other.example/auth/token"), 400, CLIENT),
    ("aud is the base", |r| r.claims["aud"] = json!(aud(r).replace("/auth/token", "/fhir")), 400, CLIENT),
    ("aud with a slash", |r| r.claims["aud"] = json!(format!("{}/", aud(r))), 400, CLIENT),
    ("aud with a query", |r| r.claims["aud"] = json!(format!("{}?x", aud(r))), 400, CLIENT),
    ("aud begins like ours", |r| r.claims["aud"] = json!(aud(r).replace("/auth/token", "/auth/tok")), 400, CLIENT),
    ("aud in capitals", |r| r.claims["aud"] = json!(aud(r).to_uppercase()), 400, CLIENT),
    ("aud as a list without us", |r| r.claims["aud"] = json!(["https://other.example/auth/token"]), 400, CLIENT),
    ("aud as an empty list", |r| r.claims["aud"] = json!([]), 400, CLIENT),
    ("aud as an object", |r| r.claims["aud"] = json!({"0": aud(r)}), 400, CLIENT),
    ("no exp", |r| { r.claims.as_object_mut().unwrap().remove("exp"); }, 400, CLIENT),
    ("exp as a text", |r| r.claims["exp"] = json!(exp(r).to_string()), 400, CLIENT),
    ("exp long past", |r| r.claims["exp"] = json!(exp(r) - 300 - 61), 400, CLIENT),
    ("exp six minutes ahead", |r| r.claims["exp"] = json!(exp(r) + 70), 400, CLIENT),
    ("exp in milliseconds", |r| r.claims["exp"] = json!(exp(r) * 1_000), 400, CLIENT),
    ("exp beyond all times", |r| r.claims["exp"] = json!(1e300), 400, CLIENT),
    ("exp below zero", |r| r.claims["exp"] = json!(-1), 400, CLIENT),
    ("exp is null", |r| r.claims["exp"] = Value::Null, 400, CLIENT),
    ("nbf to come", |r| r.claims["nbf"] = json!(exp(r) - 300 + 70), 400, CLIENT),
    ("iat to come", |r| r.claims["iat"] = json!(exp(r) - 300 + 70), 400, CLIENT),
    ("no jti", |r| { r.claims.as_object_mut().unwrap().remove("jti"); }, 400, CLIENT),
    ("an empty jti", |r| r.claims["jti"] = json!(""), 400, CLIENT),
    ("jti as a number", |r| r.claims["jti"] = json!(7), 400, CLIENT),
    ("a jti of 257 characters", |r| r.claims["jti"] = json!("x".repeat(257)), 400, CLIENT),
];

/// What is wrong with the scopes (A-31, A-40 to A-47).
#[rustfmt::skip]
const SCOPE_ROWS: &[Row] = &[
    ("an empty scope", |r| asks(r, ""), 400, SCOPE),
    ("a scope of spaces", |r| asks(r, "   "), 400, SCOPE),
    ("a patient's scope", |r| asks(r, "patient/*.read"), 400, SCOPE),
    ("a patient's scope of SMART 2", |r| asks(r, "patient/Patient.rs"), 400, SCOPE),
    ("a user's scope", |r| asks(r, "user/*.read"), 400, SCOPE),
    ("a launch scope", |r| asks(r, "launch/patient"), 400, SCOPE),
    ("a scope of identity", |r| asks(r, "openid"), 400, SCOPE),
    ("a scope of refreshing", |r| asks(r, "offline_access"), 400, SCOPE),
    ("an unknown type", |r| asks(r, "system/UnknownResource.read"), 400, SCOPE),
    ("an unknown type in SMART 2", |r| asks(r, "system/UnknownResource.rs"), 400, SCOPE),
    ("an abstract type", |r| asks(r, "system/Resource.rs"), 400, SCOPE),
    ("a type in small letters", |r| asks(r, "system/patient.rs"), 400, SCOPE),
    ("an unknown action", |r| asks(r, "system/Patient.unknownAction"), 400, SCOPE),
    ("an unknown action of all", |r| asks(r, "system/*.xyz"), 400, SCOPE),
    ("actions out of order", |r| asks(r, "system/Patient.sr"), 400, SCOPE),
    ("an action twice", |r| asks(r, "system/Patient.rrs"), 400, SCOPE),
    ("no action", |r| asks(r, "system/Patient."), 400, SCOPE),
    ("no dot", |r| asks(r, "system/Patient"), 400, SCOPE),
    ("no type", |r| asks(r, "system/.rs"), 400, SCOPE),
    ("nothing but the context", |r| asks(r, "system/"), 400, SCOPE),
    ("a filter", |r| asks(r, "system/Patient.rs?active=true"), 400, SCOPE),
    ("writing in SMART 1", |r| asks(r, "system/Patient.write"), 400, SCOPE),
    ("writing everything in SMART 1", |r| asks(r, "system/*.write"), 400, SCOPE),
    ("creating", |r| asks(r, "system/Patient.c"), 400, SCOPE),
    ("updating", |r| asks(r, "system/Patient.u"), 400, SCOPE),
    ("deleting", |r| asks(r, "system/Patient.d"), 400, SCOPE),
    ("writing everything in SMART 2", |r| asks(r, "system/*.cud"), 400, SCOPE),
    ("writing beside reading", |r| asks(r, "system/Patient.rs system/Patient.cud"), 400, SCOPE),
    ("a type that is not the client's", |r| asks(r, "system/Encounter.rs"), 400, SCOPE),
    ("a type of R5 alone", |r| asks(r, "system/ActorDefinition.rs"), 400, SCOPE),
    ("the audit trail", |r| asks(r, "system/AuditEvent.rs"), 400, SCOPE),
    ("the operator's scope", |r| asks(r, "system/operator"), 400, SCOPE),
    ("the scope of imports", |r| asks(r, "system/bulk-import"), 400, SCOPE),
    ("a scope of what is not served", |r| asks(r, "system/bulk-submit"), 400, SCOPE),
    ("a good scope and a bad one", |r| asks(r, "system/Patient.rs system/Patient.xyz"), 400, SCOPE),
    ("scopes parted by a comma", |r| asks(r, "system/Patient.rs,system/Observation.rs"), 400, SCOPE),
    ("scopes parted by a tab", |r| asks(r, "system/Patient.rs\tsystem/Observation.rs"), 400, SCOPE),
    ("more scopes than anybody can want", |r| r.scope = "system/Patient.rs ".repeat(2_000), 400, SCOPE),
];

fn asks(request: &mut Request, scope: &str) {
    request.scope = scope.to_owned();
}

fn is_from(request: &mut Request, id: &str) {
    request.claims["iss"] = json!(id);
    request.claims["sub"] = json!(id);
}

fn aud(request: &Request) -> String {
    request.claims["aud"].as_str().expect("a text").to_owned()
}

fn exp(request: &Request) -> i64 {
    request.claims["exp"].as_i64().expect("a number")
}

async fn check(rows: &[Row]) {
    let table = Table::new().await;
    let mut names = BTreeSet::new();
    for (name, change, status, error) in rows {
        assert!(names.insert(*name), "{name} comes twice");
        let mut request = table.request();
        change(&mut request);
        let answer = table.send(&request).await;
        assert_eq!(answer.status, *status, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/json", "{name}");
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
        let said = answer.json();
        assert_eq!(said["error"], *error, "{name}: {said}");
        // RFC 6749 §5.2 allows neither quotes nor anything beyond ASCII.
        let is_allowed = |letter: char| matches!(letter, ' '..='~') && !['"', '\\'].contains(&letter);
        let text = said["error_description"].as_str().unwrap_or_default();
        assert!(!text.is_empty() && text.chars().all(is_allowed), "{name}: {text}");
        assert_eq!(said.get("access_token"), None, "{name}");
    }
    let still_good = table.send(&table.request()).await;
    assert_eq!(still_good.status, 200, "{}", still_good.text());
}

#[tokio::test]
async fn hostile_forms_are_refused_a_20_a_21_a_27_a_28() {
    check(FORMS).await;
}

#[tokio::test]
async fn hostile_signed_texts_are_refused_a_13_a_22_a_26() {
    check(TEXTS).await;
}

#[tokio::test]
async fn hostile_claims_and_clients_are_refused_a_23_a_24_a_25_a_32() {
    check(CLAIMS).await;
}

#[tokio::test]
async fn scopes_that_cannot_be_granted_are_refused_a_31_a_40_a_42_a_44_a_45_a_46_a_47() {
    check(SCOPE_ROWS).await;
}

#[test]
fn there_are_sixty_hostile_requests_and_more() {
    let count = FORMS.len() + TEXTS.len() + CLAIMS.len() + SCOPE_ROWS.len();
    assert!(count >= 60, "{count}");
}

/// Whoever guesses clients learns nothing: unknown, revoked, expired and badly signed ones are told the same.
#[tokio::test]
async fn nobody_learns_which_clients_there_are_a_27() {
    let table = Table::new().await;
    let mut told = BTreeSet::new();
    for id in ["nobody", "revoked", "expired", "twins", "keyless", "reader"] {
        let mut request = table.request();
        is_from(&mut request, id);
        request.sign = Sign::Foreign;
        let answer = table.send(&request).await;
        assert_eq!(answer.status, 400);
        told.insert(answer.text().to_owned());
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

/// A good request in other words, and the scopes that it gets.
type Good = (&'static str, fn(&mut Request), &'static str);

#[rustfmt::skip]
const GOOD: &[Good] = &[
    ("SMART 1", |r| asks(r, "system/Patient.read"), "system/Patient.read"),
    ("SMART 2", |r| asks(r, "system/Patient.rs"), "system/Patient.rs"),
    ("less than all reading", |r| asks(r, "system/Patient.r"), "system/Patient.r"),
    ("both, mixed", |r| asks(r, "system/Patient.read system/Observation.rs"), "system/Observation.rs system/Patient.read"),
    ("all in SMART 1", |r| asks(r, "system/*.read"), "system/Group.read system/Observation.read system/Patient.read"),
    ("all in SMART 2", |r| asks(r, "system/*.rs"), "system/Group.rs system/Observation.rs system/Patient.rs"),
    ("everything, narrowed to reading", |r| asks(r, "system/*.*"), "system/Group.read system/Observation.read system/Patient.read"),
    ("everything in SMART 2", |r| asks(r, "system/*.cruds"), "system/Group.rs system/Observation.rs system/Patient.rs"),
    ("a type that is not the client's beside one that is", |r| asks(r, "system/Encounter.rs system/Patient.rs"), "system/Patient.rs"),
    ("types of other versions beside it", |r| asks(r, "system/Patient.rs system/Citation.rs system/BodySite.read"), "system/Patient.rs"),
    ("two spaces", |r| asks(r, "system/Patient.rs  system/Patient.rs "), "system/Patient.rs"),
    ("aud as a list", |r| r.claims["aud"] = json!(["https://other.example", aud(r)]), "system/Patient.rs"),
    ("no typ", |r| { r.header.as_object_mut().unwrap().remove("typ"); }, "system/Patient.rs"),
    ("typ in small letters", |r| r.header["typ"] = json!("jwt"), "system/Patient.rs"),
    ("no iat", |r| { r.claims.as_object_mut().unwrap().remove("iat"); }, "system/Patient.rs"),
    ("an nbf", |r| r.claims["nbf"] = json!(exp(r) - 310), "system/Patient.rs"),
    ("exp as a fraction", |r| r.claims["exp"] = json!(f64::from(u32::try_from(exp(r)).unwrap()) - 0.5), "system/Patient.rs"),
    ("exp a little past", |r| r.claims["exp"] = json!(exp(r) - 300 - 30), "system/Patient.rs"),
    ("exp a little too far", |r| r.claims["exp"] = json!(exp(r) + 30), "system/Patient.rs"),
    ("claims that nobody knows", |r| r.claims["name"] = json!("someone"), "system/Patient.rs"),
    ("a header that nobody knows", |r| r.header["x5t"] = json!("AAAA"), "system/Patient.rs"),
    ("its own client_id", |r| r.more.push(("client_id", "reader".to_owned())), "system/Patient.rs"),
    ("a parameter that nobody knows", |r| r.more.push(("resource", "x".to_owned())), "system/Patient.rs"),
    ("a charset", |r| r.content_type = Some("application/x-www-form-urlencoded; charset=UTF-8"), "system/Patient.rs"),
    ("a content type in capitals", |r| r.content_type = Some("Application/X-WWW-Form-URLEncoded"), "system/Patient.rs"),
    ("a jti of 256 characters", |r| r.claims["jti"] = json!(format!("{:>256}", fresh_jti())), "system/Patient.rs"),
];

/// A real client asks for every type that it can think of, in its own words, and must not be turned away.
#[tokio::test]
async fn good_requests_in_other_words_get_tokens_a_22_a_23_a_30_a_31_a_32_a_40_a_41_a_45() {
    let table = Table::new().await;
    for (name, change, granted) in GOOD {
        let mut request = table.request();
        change(&mut request);
        let answer = table.send(&request).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let token = answer.json();
        assert_eq!(token["scope"], *granted, "{name}");
        assert_eq!(token["token_type"], "bearer", "{name}");
        assert!(token["expires_in"].as_u64().unwrap() <= 300, "{name}");
        assert_eq!(token.get("refresh_token"), None, "{name}");
    }
}

/// A client may have several keys, and rotate them (A-14); RS384 is as good as ES384, and the other two where they are asked for.
#[tokio::test]
async fn keys_of_every_algorithm_sign_where_they_are_accepted_a_13_a_14() {
    use fhirhose_server::{AuthSettings, SmartSettings};
    let server = Server::smart_with(|settings| {
        settings.auth = AuthSettings::Smart(SmartSettings {
            algorithms: Algorithm::ALL.to_vec(),
            ..SmartSettings::default()
        });
    })
    .await;
    let keys = [Algorithm::Es384, Algorithm::Es256, Algorithm::Rs384]
        .map(|algorithm| SigningKey::generate(algorithm).expect("a key"));
    let jwks = json!({"keys": keys.iter().map(SigningKey::public_jwk).collect::<Vec<_>>()});
    let mut record = client("many", "system/*.rs", &keys[0]);
    record.keys = ClientKeys::Jwks(jwks.to_string());
    put_client(&server.store, &record).await;
    for key in keys {
        let algorithm = key.algorithm();
        let id = "many".to_owned();
        let answer = server
            .request_token(&crate::registered::Registered { id, key }, "system/*.rs")
            .await;
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
    }
}

/// The signature is checked before anything is written: a stranger cannot use up the ids of a client.
#[tokio::test]
async fn an_assertion_that_is_not_the_clients_uses_nothing_up_a_24() {
    let table = Table::new().await;
    let mut request = table.request();
    request.sign = Sign::Foreign;
    assert_eq!(table.send(&request).await.status, 400);
    request.sign = Sign::Own;
    assert_eq!(table.send(&request).await.status, 200);
    assert_eq!(table.send(&request).await.json()["error"], CLIENT);
}
