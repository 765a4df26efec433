//! Assertions: what the client's side signs, the server's side takes; each rule at both sides of its edge.

use fhirhose_auth::{
    Algorithm, Assertion, AssertionClaims, AssertionFault, AssertionRules, ClaimFault, JwsFault,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{NOW, SIGNER, now_plus, secs, signer};

const TOKEN_URL: &str = "https://ehr.example.org/auth/token";

fn rules() -> AssertionRules {
    AssertionRules::smart(TOKEN_URL)
}

fn claims() -> AssertionClaims<'static> {
    AssertionClaims {
        client_id: "warehouse",
        audience: TOKEN_URL,
        jku: None,
        jti: "1",
        now: NOW,
        lifetime_secs: 300,
    }
}

fn good() -> Value {
    json!({"iss": "warehouse", "sub": "warehouse", "aud": TOKEN_URL, "exp": secs(300), "jti": "1"})
}

/// The claims of a good assertion with one changed, or taken away by `null`.
fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    let members = claims.as_object_mut().expect("an object");
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    claims
}

fn judged(claims: &Value) -> Result<(), AssertionFault> {
    let text = SIGNER.sign("JWT", &[], claims).expect("signed");
    let assertion = Assertion::parse(&text)?;
    assertion.check(&rules(), NOW)?;
    assertion.verify(&SIGNER.verifying_key())
}

#[track_caller]
fn check(claims: Value, expected: Result<(), AssertionFault>) {
    assert_eq!(judged(&claims), expected, "{claims}");
}

#[test]
fn a_13_a_23_what_a_client_signs_is_taken_in_each_algorithm() {
    for algorithm in Algorithm::ALL {
        let key = signer(algorithm);
        let claims = AssertionClaims {
            jku: Some("https://client.example.org/jwks"),
            ..claims()
        };
        let text = key.assertion(&claims).expect("signed");
        let assertion = Assertion::parse(&text).expect("an assertion");
        assert_eq!(assertion.client_id(), "warehouse");
        assert_eq!(assertion.jku(), Some("https://client.example.org/jwks"));
        assert_eq!((assertion.kid(), assertion.jti()), (algorithm.name(), "1"));
        assert_eq!(
            (assertion.algorithm(), assertion.expires()),
            (algorithm, now_plus(300))
        );
        assert_eq!(assertion.verify(&key.verifying_key()), Ok(()));
        let is_default = Algorithm::DEFAULT.contains(&algorithm);
        let expected = if is_default {
            Ok(())
        } else {
            Err(AssertionFault::Algorithm)
        };
        assert_eq!(assertion.check(&rules(), NOW), expected, "{algorithm}");
        assert!(!format!("{assertion:?}").contains("warehouse"));
    }
    let other = Assertion::parse("a.b").expect_err("refused");
    assert_eq!(other, AssertionFault::Jws(JwsFault::Parts));
}

#[test]
fn a_22_typ_is_jwt_or_nothing_and_kid_is_there() {
    let signed = |typ: &str| SIGNER.sign(typ, &[], &good()).expect("signed");
    assert!(Assertion::parse(&signed("jwt")).is_ok());
    for typ in ["at+jwt", "", "JWT "] {
        assert_eq!(
            Assertion::parse(&signed(typ)).expect_err("refused"),
            AssertionFault::Type
        );
    }
    let signature = signed("JWT").rsplit_once('.').expect("parts").1.to_owned();
    let claims = crate::fixture::encoded(&good().to_string());
    let bare = |header: &str| format!("{}.{claims}.{signature}", crate::fixture::encoded(header));
    assert!(Assertion::parse(&bare(r#"{"alg":"ES384","kid":"a"}"#)).is_ok());
    let no_kid = bare(r#"{"alg":"ES384","typ":"JWT"}"#);
    assert_eq!(
        Assertion::parse(&no_kid).expect_err("refused"),
        AssertionFault::NoKeyId
    );
}

#[test]
fn a_23_a_25_issuer_and_subject_are_the_same_client() {
    check(good(), Ok(()));
    check(with("sub", json!("other")), Err(AssertionFault::Subject));
    check(with("iss", json!("Warehouse")), Err(AssertionFault::Subject));
    for name in ["iss", "sub", "jti"] {
        check(with(name, Value::Null), Err(ClaimFault::Missing(name).into()));
        for value in [json!(""), json!(1), json!(["warehouse"]), json!(false)] {
            check(with(name, value), Err(ClaimFault::Malformed(name).into()));
        }
    }
    let twice = format!(r#"{{"iss":"other",{}"#, &good().to_string()[1..]);
    let value: Box<serde_json::value::RawValue> =
        serde_json::value::RawValue::from_string(twice).expect("JSON");
    let text = SIGNER.sign("JWT", &[], &value).expect("signed");
    assert_eq!(
        Assertion::parse(&text).expect_err("refused"),
        ClaimFault::NotJson.into()
    );
}

#[test]
fn a_23_the_audience_is_the_token_endpoint_character_by_character() {
    check(with("aud", json!([TOKEN_URL])), Ok(()));
    check(
        with("aud", json!(["https://other.example.org", TOKEN_URL])),
        Ok(()),
    );
    for other in [
        "https://ehr.example.org/auth/token/",
        "https://EHR.example.org/auth/token",
        "https://ehr.example.org/auth",
        "http://ehr.example.org/auth/token",
        "https://ehr.example.org:443/auth/token",
    ] {
        check(with("aud", json!(other)), Err(AssertionFault::Audience));
        check(with("aud", json!([other])), Err(AssertionFault::Audience));
    }
    check(with("aud", Value::Null), Err(ClaimFault::Missing("aud").into()));
    for value in [
        json!([]),
        json!(1),
        json!([TOKEN_URL, 1]),
        json!({"a": TOKEN_URL}),
    ] {
        check(with("aud", value), Err(ClaimFault::Malformed("aud").into()));
    }
}

#[test]
fn a_23_a_32_times_hold_to_the_second_and_the_clocks_may_differ_by_a_minute() {
    check(with("exp", json!(secs(-59))), Ok(()));
    check(with("exp", json!(secs(-60))), Err(ClaimFault::Expired.into()));
    check(with("exp", json!(secs(360))), Ok(()));
    check(with("exp", json!(secs(361))), Err(AssertionFault::Lifetime));
    check(
        with("exp", json!(secs(360) as f64 + 0.001)),
        Err(AssertionFault::Lifetime),
    );
    check(with("exp", json!(secs(300) as f64 + 0.5)), Ok(()));
    check(with("exp", json!(u64::MAX)), Err(AssertionFault::Lifetime));
    check(with("exp", json!(1e300)), Err(AssertionFault::Lifetime));
    check(with("exp", json!(i64::MIN)), Err(ClaimFault::Expired.into()));
    check(with("exp", Value::Null), Err(ClaimFault::Missing("exp").into()));
    for name in ["exp", "nbf", "iat"] {
        check(
            with(name, json!(secs(0).to_string())),
            Err(ClaimFault::Malformed(name).into()),
        );
    }
    for name in ["nbf", "iat"] {
        check(with(name, json!(secs(60))), Ok(()));
        check(with(name, json!(secs(61))), Err(ClaimFault::Early.into()));
        check(with(name, json!(secs(-100_000))), Ok(()));
    }
}

#[test]
fn a_24_an_assertions_id_has_its_length() {
    check(with("jti", json!("ä".repeat(256))), Ok(()));
    check(
        with("jti", json!("ä".repeat(257))),
        Err(ClaimFault::Malformed("jti").into()),
    );
}

#[test]
fn a_28_another_keys_signature_does_not_verify() {
    let text = signer(Algorithm::Es384).assertion(&claims()).expect("signed");
    let assertion = Assertion::parse(&text).expect("an assertion");
    let other = fhirhose_auth::SigningKey::generate(Algorithm::Es384).expect("a key");
    assert_eq!(
        assertion.verify(&other.verifying_key()),
        Err(AssertionFault::Jws(JwsFault::Signature))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_23_a_32_an_assertion_is_good_in_its_window_and_never_beside_it(
        exp in -1000..1000i64, nbf in -1000..1000i64, skew in 0..120u64, lifetime in 0..400u64,
    ) {
        let text = SIGNER
            .sign("JWT", &[], &with("nbf", json!(secs(nbf))).as_object_mut().map(|claims| {
                claims.insert("exp".to_owned(), json!(secs(exp)));
                claims.clone()
            }))
            .expect("signed");
        let assertion = Assertion::parse(&text).expect("an assertion");
        let rules = AssertionRules { lifetime_secs_max: lifetime, skew_secs: skew, ..rules() };
        let (skew, lifetime) = (skew as i64, lifetime as i64);
        let is_good = exp + skew > 0 && exp <= lifetime + skew && nbf <= skew;
        prop_assert_eq!(assertion.check(&rules, NOW).is_ok(), is_good);
    }
}
