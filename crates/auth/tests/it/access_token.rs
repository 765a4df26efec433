//! Access tokens: ours, and those of other issuers.

use fhirhose_auth::{
    AccessToken, Algorithm, ClaimFault, JwsFault, KeyFault, Scopes, SigningKey, TokenFault, TokenProfile,
    TokenRules,
};
use serde_json::{Value, json};

use crate::fixture::{NOW, SIGNER, now_plus, secs, signer};

const ISSUER: &str = "https://ehr.example.org";
const BASE: &str = "https://ehr.example.org/fhir";

fn token() -> AccessToken {
    AccessToken {
        issuer: ISSUER.to_owned(),
        client: "warehouse".to_owned(),
        scopes: Scopes::parse("system/Patient.rs system/*.read").expect("scopes"),
        audience: BASE.to_owned(),
        issued: fhirhose_fhir::instant::Instant::from_micros(NOW.micros() + 123_457),
        expires: now_plus(300),
        id: "1".to_owned(),
    }
}

fn rules(profile: TokenProfile) -> TokenRules {
    TokenRules {
        issuer: ISSUER.to_owned(),
        audience: BASE.to_owned(),
        algorithms: vec![Algorithm::Es384],
        skew_secs: 1,
        profile,
    }
}

fn verify(text: &str, profile: TokenProfile) -> Result<AccessToken, TokenFault> {
    AccessToken::verify(text, &SIGNER.to_jwks(), &rules(profile), NOW)
}

/// Claims of a token with some changed, or taken away by `null`.
fn claims(changes: &[(&str, Value)]) -> Value {
    let mut claims = json!({"iss": ISSUER, "sub": "warehouse", "client_id": "warehouse", "aud": BASE,
        "scope": "system/Patient.rs", "iat": secs(0), "exp": secs(300), "jti": "1"});
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes {
        match value {
            Value::Null => members.remove(*name),
            value => members.insert((*name).to_owned(), value.clone()),
        };
    }
    claims
}

#[track_caller]
fn check(typ: &str, profile: TokenProfile, changes: &[(&str, Value)], expected: Result<(), TokenFault>) {
    let text = SIGNER.sign(typ, &[], &claims(changes)).expect("signed");
    assert_eq!(verify(&text, profile).map(drop), expected, "{typ} {changes:?}");
}

#[track_caller]
fn check_own(name: &str, value: Value, expected: Result<(), TokenFault>) {
    check("at+jwt", TokenProfile::Own, &[(name, value)], expected);
}

#[track_caller]
fn check_external(changes: &[(&str, Value)], client: &str, scopes: &str) {
    let text = SIGNER.sign("JWT", &[], &claims(changes)).expect("signed");
    let token = verify(&text, TokenProfile::External).expect("a token");
    assert_eq!(
        (token.client.as_str(), token.scopes.to_string().as_str()),
        (client, scopes)
    );
}

#[test]
fn a_50_a_token_survives_being_issued_to_the_microsecond() {
    for algorithm in Algorithm::ALL {
        let key = signer(algorithm);
        let text = token().issue(&key).expect("issued");
        let rules = TokenRules {
            algorithms: vec![algorithm],
            ..rules(TokenProfile::Own)
        };
        let read = AccessToken::verify(&text, &key.to_jwks(), &rules, NOW);
        assert_eq!(read, Ok(token()));
    }
    let shown = format!("{:?}", token());
    assert!(!shown.contains("id:"), "{shown}");
}

#[test]
fn a_50_a_token_of_another_key_or_algorithm_is_refused() {
    let text = token().issue(&SIGNER).expect("issued");
    let other = SigningKey::generate(Algorithm::Es384).expect("a key");
    let verify = |key: &SigningKey, algorithms: &[Algorithm]| {
        let rules = TokenRules {
            algorithms: algorithms.to_vec(),
            ..rules(TokenProfile::Own)
        };
        AccessToken::verify(&text, &key.to_jwks(), &rules, NOW).map(drop)
    };
    assert_eq!(
        verify(&other, &[Algorithm::Es384]),
        Err(TokenFault::Key(KeyFault::Absent))
    );
    let disguised = other.with_kid(SIGNER.kid());
    assert_eq!(
        verify(&disguised, &[Algorithm::Es384]),
        Err(TokenFault::Jws(JwsFault::Signature))
    );
    assert_eq!(verify(&SIGNER, &[Algorithm::Es256]), Err(TokenFault::Algorithm));
}

#[test]
fn a_50_an_assertion_is_no_token_and_a_token_no_assertion() {
    for typ in ["JWT", "", "jwt"] {
        check(typ, TokenProfile::Own, &[], Err(TokenFault::Type));
    }
    check("AT+JWT", TokenProfile::Own, &[], Ok(()));
    check("application/at+jwt", TokenProfile::Own, &[], Ok(()));
    check("JWT", TokenProfile::External, &[], Ok(()));
    check("at+jwt", TokenProfile::External, &[], Ok(()));
    check("logout+jwt", TokenProfile::External, &[], Err(TokenFault::Type));
    let text = token().issue(&SIGNER).expect("issued");
    assert!(fhirhose_auth::Assertion::parse(&text).is_err());
}

#[test]
fn a_50_a_token_is_from_us_for_us_and_of_now() {
    check_own("iss", json!("https://ehr.example.org/"), Err(TokenFault::Issuer));
    check_own("aud", json!("https://ehr.example.org"), Err(TokenFault::Audience));
    check_own("aud", json!(["a", BASE]), Ok(()));
    check_own("exp", json!(secs(0)), Ok(()));
    check_own("exp", json!(secs(-1)), Err(ClaimFault::Expired.into()));
    check_own("iat", json!(secs(1)), Ok(()));
    check_own("iat", json!(secs(2)), Err(ClaimFault::Early.into()));
    check_own("nbf", json!(secs(2)), Err(ClaimFault::Early.into()));
    check_own("sub", json!("other"), Err(ClaimFault::Malformed("sub").into()));
    for name in ["iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti"] {
        check_own(
            name,
            Value::Null,
            Err(ClaimFault::Missing(match name {
                "iss" => "iss",
                "sub" => "sub",
                "client_id" => "client_id",
                "aud" => "aud",
                "scope" => "scope",
                "iat" => "iat",
                "exp" => "exp",
                _ => "jti",
            })
            .into()),
        );
    }
    check_own(
        "scope",
        json!("system/Patient.rs openid"),
        Err(TokenFault::Scopes(fhirhose_auth::ScopeFault::Malformed)),
    );
}

#[test]
fn tokens_of_other_issuers_may_say_things_in_their_own_way() {
    check_external(&[], "warehouse", "system/Patient.rs");
    check_external(
        &[(
            "scope",
            json!("openid system/Patient.rs system/Patient.rs?a=b patient/*.read system/Nothing.rs"),
        )],
        "warehouse",
        "system/Patient.rs",
    );
    check_external(&[("scope", json!("openid"))], "warehouse", "");
    let scp = json!(["system/Patient.read", "system/Group.rs openid"]);
    check_external(
        &[("scope", Value::Null), ("scp", scp), ("jti", Value::Null)],
        "warehouse",
        "system/Group.rs system/Patient.read",
    );
    check_external(&[("azp", json!("other"))], "warehouse", "system/Patient.rs");
    check_external(
        &[
            ("client_id", Value::Null),
            ("azp", json!("azp")),
            ("sub", json!("person")),
        ],
        "azp",
        "system/Patient.rs",
    );
    check_external(&[("client_id", Value::Null)], "warehouse", "system/Patient.rs");
    for (changes, fault) in [
        (vec![("scope", Value::Null)], ClaimFault::Missing("scope")),
        (vec![("client_id", json!(1))], ClaimFault::Malformed("client_id")),
        (
            vec![("client_id", Value::Null), ("sub", Value::Null)],
            ClaimFault::Missing("client_id"),
        ),
        (vec![("iat", Value::Null)], ClaimFault::Missing("iat")),
    ] {
        check("JWT", TokenProfile::External, &changes, Err(fault.into()));
    }
}
