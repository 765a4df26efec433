//! Private keys: every form that they come in, and what is refused.

use fhirhose_auth::{Algorithm, Jwks, Jws, KeyFault, SigningKey};
use serde_json::{Value, json};

use crate::fixture::{P256_PKCS8, P256_SEC1, P384_PKCS8, P384_SEC1, RSA_PKCS1, RSA_PKCS8, key, signer};

/// Signs with one key and verifies with the public half of another.
#[track_caller]
fn check_same(one: &SigningKey, other: &SigningKey) {
    let text = one.sign("JWT", &[], &json!({"a": 1})).expect("signed");
    let jws = Jws::parse(&text).expect("a signed text");
    assert_eq!(jws.verify(&other.verifying_key()), Ok(()));
    assert_eq!(
        one.verifying_key().thumbprint(),
        other.verifying_key().thumbprint()
    );
}

#[track_caller]
fn check_pem(pem: &str, fault: KeyFault) {
    assert_eq!(SigningKey::from_pem(pem).expect_err("refused"), fault);
}

#[track_caller]
fn check_jwk(jwk: &Value, fault: KeyFault) {
    let refused = SigningKey::from_jwk(jwk.to_string().as_bytes());
    assert_eq!(refused.expect_err("refused"), fault);
}

#[test]
fn a_13_keys_of_openssl_are_read_in_each_of_their_forms() {
    for (pem, other, algorithm) in [
        (RSA_PKCS8, RSA_PKCS1, Algorithm::Rs384),
        (P256_PKCS8, P256_SEC1, Algorithm::Es256),
        (P384_PKCS8, P384_SEC1, Algorithm::Es384),
    ] {
        assert_eq!(key(pem).algorithm(), algorithm);
        check_same(&key(pem), &key(other));
        assert_eq!(key(pem).kid(), key(pem).verifying_key().thumbprint());
    }
    let with_parameters = include_str!("keys/test-only-ec-p384-with-parameters.pem");
    assert_eq!(key(with_parameters).algorithm(), Algorithm::Es384);
    let windows = RSA_PKCS8.replace('\n', "\r\n");
    check_same(&key(&windows), &key(RSA_PKCS8));
}

#[test]
fn keys_survive_being_written_as_pem_and_as_jwk() {
    for algorithm in Algorithm::ALL {
        let first = signer(algorithm);
        let pem = SigningKey::from_pem(&first.to_pem()).expect("PEM");
        check_same(&pem.with_algorithm(algorithm).expect("fits"), &first);
        assert!(first.to_pem().lines().all(|line| line.len() <= 64));
        let jwk = first.private_jwk();
        let read = SigningKey::from_jwk(jwk.to_string().as_bytes()).expect("JWK");
        check_same(&read, &first);
        assert_eq!((read.kid(), read.algorithm()), (first.kid(), algorithm));
        assert_eq!(read.private_jwk(), jwk);
        let set = json!({"keys": [signer(Algorithm::Rs384).public_jwk(), jwk]});
        check_same(
            &SigningKey::from_jwk(set.to_string().as_bytes()).expect("JWKS"),
            &first,
        );
    }
}

#[test]
fn pem_of_pkcs8_is_byte_for_byte_that_of_openssl() {
    for pem in [RSA_PKCS8, P256_PKCS8, P384_PKCS8] {
        assert_eq!(key(pem).to_pem(), pem);
    }
}

#[test]
fn generated_keys_sign_and_show_no_secret() {
    for algorithm in [Algorithm::Rs384, Algorithm::Es384, Algorithm::Es256] {
        let made = SigningKey::generate(algorithm).expect("a key");
        assert_eq!(made.algorithm(), algorithm);
        check_same(
            &made,
            &SigningKey::from_pem(&made.to_pem())
                .expect("PEM")
                .with_algorithm(algorithm)
                .expect("fits"),
        );
        let public = made.public_jwk().to_string();
        let keys = Jwks::parse(format!(r#"{{"keys":[{public}]}}"#).as_bytes()).expect("public");
        assert_eq!(keys.kids().collect::<Vec<_>>(), [made.kid()]);
        let secret = made.private_jwk()["d"].as_str().expect("d").to_owned();
        assert!(!format!("{made:?}{public}").contains(&secret));
    }
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let keys = json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}]});
    let keys = Jwks::parse(keys.to_string().as_bytes()).expect("a JWKS");
    let key = keys.choose("2011-04-29", Algorithm::Rs256).expect("the key");
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn keys_that_cannot_sign_are_refused_with_their_reason() {
    check_pem("", KeyFault::NoPrivateKey);
    check_pem("-----BEGIN PRIVATE KEY-----\n", KeyFault::NoPrivateKey);
    check_pem(
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        KeyFault::Damaged,
    );
    check_pem(include_str!("keys/test-only-encrypted.pem"), KeyFault::Encrypted);
    check_pem(include_str!("keys/test-only-rsa-1024-pkcs8.pem"), KeyFault::Weak);
    check_pem(
        include_str!("keys/test-only-ec-p521-pkcs8.pem"),
        KeyFault::Unsupported,
    );
    check_pem(
        include_str!("keys/test-only-ed25519-pkcs8.pem"),
        KeyFault::Unsupported,
    );
    check_pem(
        include_str!("keys/test-only-ec-p256-no-public.pem"),
        KeyFault::NoPublicHalf,
    );
    check_pem(&"a".repeat(70_000), KeyFault::TooLong);
    for wrong in [Algorithm::Rs384, Algorithm::Es256] {
        let refused = key(P384_PKCS8).with_algorithm(wrong);
        assert_eq!(refused.expect_err("refused"), KeyFault::OtherAlgorithm);
    }
}

#[test]
fn private_jwks_are_refused_with_their_reason() {
    let ec = signer(Algorithm::Es384).private_jwk();
    let rsa = signer(Algorithm::Rs384).private_jwk();
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    check_jwk(&json!([]), KeyFault::NotJson);
    check_jwk(&signer(Algorithm::Es384).public_jwk(), KeyFault::NoPrivateKey);
    check_jwk(&json!({"keys": []}), KeyFault::NoPrivateKey);
    check_jwk(&json!({"keys": 1}), KeyFault::NotJwks);
    check_jwk(&json!({"keys": [ec, rsa]}), KeyFault::SeveralPrivateKeys);
    check_jwk(&with(&ec, "kty", json!("oct")), KeyFault::Unsupported);
    check_jwk(&with(&ec, "crv", json!("P-521")), KeyFault::Unsupported);
    check_jwk(&with(&ec, "alg", json!("ES256")), KeyFault::OtherAlgorithm);
    check_jwk(&with(&ec, "alg", json!("none")), KeyFault::Member("alg"));
    check_jwk(&with(&ec, "kid", json!(1)), KeyFault::Member("kid"));
    check_jwk(&with(&ec, "x", json!("AAAA")), KeyFault::Member("x"));
    check_jwk(
        &with(&ec, "d", signer(Algorithm::Es256).private_jwk()["d"].clone()),
        KeyFault::Damaged,
    );
    check_jwk(&with(&rsa, "p", json!(null)), KeyFault::Member("p"));
    check_jwk(&with(&rsa, "p", rsa["q"].clone()), KeyFault::Damaged);
    check_jwk(&with(&rsa, "qi", rsa["dq"].clone()), KeyFault::Damaged);
    check_jwk(&with(&rsa, "n", json!("AQAB")), KeyFault::Weak);
    let without_type = ec.as_object().expect("an object").clone();
    let without_type: Value = without_type
        .into_iter()
        .filter(|(name, _)| name != "kty")
        .collect();
    check_jwk(&without_type, KeyFault::NoKeyType);
}

#[test]
fn a_24_ids_are_new_each_time() {
    let made: std::collections::BTreeSet<String> = (0..100)
        .map(|_| fhirhose_auth::random_id().expect("an id"))
        .collect();
    assert_eq!(made.len(), 100);
    assert!(made.iter().all(|id| id.len() == 22));
}
