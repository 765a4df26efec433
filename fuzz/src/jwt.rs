//! Signed texts: any bytes give one or a reason, none verifies that was not signed, and what is let through is what the rules say, read
//! independently.

use std::sync::LazyLock;

use fhirhose_auth::{
    AccessToken, Algorithm, Assertion, AssertionRules, Jwks, Jws, SigningKey, TokenProfile, TokenRules,
};
use fhirhose_fhir::instant::Instant;
use serde_json::Value;

const NOW_SECS: i64 = 1_795_278_407;
const NOW: Instant = Instant::from_micros(NOW_SECS * 1_000_000);
const URL: &str = "https://ehr.example.org";

/// Made when the run begins, so that no input can have been signed with it.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::Es256).expect("a key");
    key.with_kid("a")
});
static KEYS: LazyLock<Jwks> = LazyLock::new(|| KEY.to_jwks());

/// Of the same key, over another text.
static SIGNATURE: LazyLock<String> = LazyLock::new(|| {
    let signed = KEY.sign("JWT", &[], &Value::Null).expect("signed");
    signed.rsplit('.').next().expect("a signature").to_owned()
});

/// Checks the laws. The bytes are a signed text; or a header, a line break, and claims.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_foreign(&text);
    if let Some((header, claims)) = text.split_once('\n') {
        let [header, body] = [header, claims].map(|part| base64url(part.as_bytes()));
        check_foreign(&format!("{header}.{body}.{}", &**SIGNATURE));
        if let Ok(claims) = serde_json::from_str::<Value>(claims) {
            check_assertion(&claims);
            check_token(&claims);
        }
    }
}

/// Nothing verifies that the key did not sign.
fn check_foreign(text: &str) {
    let key = KEY.verifying_key();
    if let Ok(jws) = Jws::parse(text) {
        assert_eq!(text.matches('.').count(), 2);
        assert!(jws.verify(&key).is_err(), "nobody signed this");
    }
    if let Ok(assertion) = Assertion::parse(text) {
        assert!(assertion.verify(&key).is_err(), "nobody signed this");
        assert!(!assertion.client_id().is_empty());
        assert!((1..=256).contains(&assertion.jti().chars().count()));
    }
    for profile in [TokenProfile::Own, TokenProfile::External] {
        assert!(AccessToken::verify(text, &KEYS, &token_rules(profile), NOW).is_err());
    }
}

fn check_assertion(claims: &Value) {
    let text = KEY.sign("JWT", &[], claims).expect("signed");
    let rules = AssertionRules {
        algorithms: Algorithm::ALL.to_vec(),
        ..AssertionRules::smart(URL)
    };
    let Ok(assertion) = Assertion::parse(&text) else {
        return;
    };
    assert_eq!(assertion.verify(&KEY.verifying_key()), Ok(()));
    assert_eq!(claims["iss"], claims["sub"]);
    assert_eq!(claims["iss"], assertion.client_id());
    if assertion.check(&rules, NOW).is_ok() {
        assert!(has_audience(claims));
        let ahead = claims["exp"].as_f64().expect("a number") - NOW_SECS as f64;
        assert!(ahead > -60.001 && ahead < 360.001, "{ahead} s ahead");
        for name in ["nbf", "iat"] {
            let ahead = claims[name]
                .as_f64()
                .map_or(0.0, |number| number - NOW_SECS as f64);
            assert!(ahead < 60.001, "{name} is {ahead} s ahead");
        }
    }
}

fn check_token(claims: &Value) {
    for profile in [TokenProfile::Own, TokenProfile::External] {
        let text = KEY.sign("at+jwt", &[], claims).expect("signed");
        let Ok(token) = AccessToken::verify(&text, &KEYS, &token_rules(profile), NOW) else {
            continue;
        };
        assert_eq!(claims["iss"], URL);
        assert!(has_audience(claims));
        assert!(token.expires > NOW && token.issued <= NOW && !token.client.is_empty());
        let names = ["client_id", "azp", "sub"].map(|name| claims[name].as_str());
        assert!(
            names.contains(&Some(token.client.as_str())),
            "the client is one of those named"
        );
        let scopes = token.scopes.to_string();
        let said = format!("{} {}", claims["scope"], claims["scp"]);
        assert!(
            scopes.split(' ').all(|scope| said.contains(scope)),
            "no scope comes from nowhere"
        );
        let again = token.issue(&KEY).expect("issued");
        if !token.id.is_empty() && !token.scopes.is_empty() {
            let read = AccessToken::verify(&again, &KEYS, &token_rules(TokenProfile::Own), NOW);
            assert_eq!(read, Ok(token), "a token survives being issued");
        }
    }
}

fn token_rules(profile: TokenProfile) -> TokenRules {
    TokenRules {
        issuer: URL.to_owned(),
        audience: URL.to_owned(),
        algorithms: Algorithm::ALL.to_vec(),
        skew_secs: 0,
        profile,
    }
}

fn has_audience(claims: &Value) -> bool {
    let audience = &claims["aud"];
    audience == URL
        || audience
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == URL))
}

/// Base64url, without the library that the reader uses.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let letter = group >> (18 - 6 * place) & 63;
            out.push(char::from(LETTERS[letter as usize]));
        }
    }
    out
}
