//! Sets of public keys: what is read, what is left out, what is refused, and which key a signature gets.

use fhirhose_auth::{Algorithm, JWKS_BYTES_MAX, JWKS_KEYS_MAX, Jwks, KeyFault};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::signer;

fn jwk(algorithm: Algorithm) -> Value {
    signer(algorithm).public_jwk()
}

/// A key with a member changed, or taken away by `null`.
fn with(algorithm: Algorithm, name: &str, value: Value) -> Value {
    let mut jwk = jwk(algorithm);
    let members = jwk.as_object_mut().expect("an object");
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    jwk
}

fn parse(keys: &[Value]) -> Result<Jwks, KeyFault> {
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[track_caller]
fn check_refused(key: Value, fault: KeyFault) {
    assert_eq!(parse(std::slice::from_ref(&key)), Err(fault), "{key}");
}

#[track_caller]
fn check_left_out(key: Value) {
    let keys = parse(&[key.clone(), jwk(Algorithm::Es384)]).expect("a JWKS");
    assert_eq!(keys.kids().collect::<Vec<_>>(), ["ES384"], "{key}");
}

#[test]
fn a_12_a_set_is_read_with_the_bare_numbers_of_its_keys() {
    let bare = |algorithm| {
        let jwk = with(algorithm, "use", Value::Null);
        let mut jwk = jwk.as_object().expect("an object").clone();
        jwk.remove("alg");
        Value::Object(jwk)
    };
    let keys = parse(&Algorithm::ALL.map(bare)).expect("a JWKS");
    assert_eq!((keys.len(), keys.is_empty()), (4, false));
    for algorithm in Algorithm::ALL {
        let key = keys.choose(algorithm.name(), algorithm).expect("a key");
        assert_eq!(key.thumbprint(), signer(algorithm).verifying_key().thumbprint());
        // An RSA key that says nothing is good for either hash; a curve says it by itself.
        assert_eq!(
            Algorithm::ALL.iter().filter(|other| key.fits(**other)).count(),
            if algorithm.key_type() == "RSA" { 2 } else { 1 }
        );
    }
    let certificate = with(Algorithm::Rs384, "x5c", json!(["anything"]));
    assert_eq!(parse(&[certificate]).map(|keys| keys.len()), Ok(1));
    assert!(parse(&[]).expect("a JWKS").is_empty());
}

#[test]
fn a_12_a_set_survives_being_written() {
    let keys: Jwks = Algorithm::ALL
        .iter()
        .map(|known| signer(*known).verifying_key())
        .collect();
    let text = keys.to_json().to_string();
    assert_eq!(Jwks::parse(text.as_bytes()), Ok(keys));
}

#[test]
fn leading_zeros_make_no_other_key() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let n = jwk(Algorithm::Rs384)["n"].as_str().expect("n").to_owned();
    let mut digits = vec![0];
    digits.extend(URL_SAFE_NO_PAD.decode(&n).expect("base64url"));
    let padded = with(Algorithm::Rs384, "n", URL_SAFE_NO_PAD.encode(digits).into());
    assert_eq!(parse(&[padded]), parse(&[jwk(Algorithm::Rs384)]));
}

#[test]
fn keys_for_other_things_are_left_out() {
    check_left_out(json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}));
    check_left_out(json!({"kty": "AKP", "alg": "ML-DSA-44"}));
    check_left_out(with(Algorithm::Es256, "crv", json!("P-521")));
    check_left_out(with(Algorithm::Es256, "crv", json!("secp256k1")));
    check_left_out(with(Algorithm::Rs384, "use", json!("enc")));
    check_left_out(with(Algorithm::Rs384, "key_ops", json!(["wrapKey"])));
    check_left_out(with(Algorithm::Rs384, "alg", json!("RSA-OAEP")));
    check_left_out(with(Algorithm::Rs384, "alg", json!("PS384")));
    let for_signatures = with(Algorithm::Rs384, "key_ops", json!(["verify"]));
    assert_eq!(parse(&[for_signatures]).map(|keys| keys.len()), Ok(1));
}

#[test]
fn a_12_broken_keys_refuse_the_whole_set() {
    let (rsa, ec) = (Algorithm::Rs384, Algorithm::Es384);
    check_refused(with(rsa, "kty", Value::Null), KeyFault::NoKeyType);
    check_refused(with(rsa, "kty", json!(1)), KeyFault::NoKeyType);
    check_refused(with(rsa, "kid", Value::Null), KeyFault::NoKeyId);
    check_refused(with(rsa, "kid", json!("")), KeyFault::NoKeyId);
    check_refused(with(rsa, "kid", json!("a".repeat(257))), KeyFault::NoKeyId);
    for name in ["n", "e"] {
        check_refused(with(rsa, name, Value::Null), KeyFault::Member(name));
        check_refused(with(rsa, name, json!("A===")), KeyFault::Member(name));
    }
    for name in ["crv", "x", "y"] {
        check_refused(with(ec, name, Value::Null), KeyFault::Member(name));
    }
    check_refused(with(ec, "x", json!("AAAA")), KeyFault::Member("x"));
    check_refused(with(rsa, "e", json!("AQ")), KeyFault::Member("e"));
    check_refused(with(rsa, "e", json!("Ag")), KeyFault::Member("e"));
    check_refused(with(rsa, "e", json!("AQAAAAAB")), KeyFault::Member("e"));
    check_refused(with(rsa, "n", json!("AQAB")), KeyFault::Weak);
    check_refused(with(rsa, "n", json!("_".repeat(1400))), KeyFault::TooStrong);
    check_refused(with(ec, "alg", json!("RS384")), KeyFault::Member("alg"));
    check_refused(with(ec, "alg", json!("ES256")), KeyFault::Member("alg"));
    check_refused(with(ec, "alg", json!(1)), KeyFault::Member("alg"));
    check_refused(with(ec, "use", json!(1)), KeyFault::Member("use"));
    check_refused(with(ec, "key_ops", json!("verify")), KeyFault::Member("key_ops"));
    check_refused(json!("a key"), KeyFault::NotJwks);
}

#[test]
fn private_and_secret_keys_are_refused_loudly() {
    for algorithm in Algorithm::ALL {
        check_refused(signer(algorithm).private_jwk(), KeyFault::Private);
    }
    check_refused(json!({"kty": "oct", "kid": "a", "k": "AAAA"}), KeyFault::Private);
    check_refused(
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"}),
        KeyFault::Private,
    );
    check_refused(with(Algorithm::Rs384, "qi", json!("AAAA")), KeyFault::Private);
    assert!(KeyFault::Private.to_string().contains("private"));
}

#[test]
fn sets_have_their_form_and_their_limits() {
    for text in ["", "[]", "{", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[]}x"] {
        assert_eq!(Jwks::parse(text.as_bytes()), Err(KeyFault::NotJson), "{text}");
    }
    for text in ["{}", "{\"keys\":{}}", "{\"keys\":[1]}"] {
        assert_eq!(Jwks::parse(text.as_bytes()), Err(KeyFault::NotJwks), "{text}");
    }
    assert_eq!(
        Jwks::parse(&vec![b' '; JWKS_BYTES_MAX + 1]),
        Err(KeyFault::TooLong)
    );
    let many = vec![json!({"kty": "other"}); JWKS_KEYS_MAX + 1];
    assert_eq!(parse(&many), Err(KeyFault::TooMany));
    assert!(parse(&many[1..]).is_ok());
    let deep = format!("{{\"keys\":{}{}}}", "[".repeat(9000), "]".repeat(9000));
    assert_eq!(Jwks::parse(deep.as_bytes()), Err(KeyFault::NotJson));
}

#[test]
fn a_26_exactly_one_key_has_the_kid_and_the_type() {
    let named = |algorithm, kid: &str| with(algorithm, "kid", json!(kid));
    let choose = |keys: &[Value], algorithm| {
        let keys = parse(keys).expect("a JWKS");
        keys.choose("a", algorithm).map(|key| key.to_jwk()["kty"].clone())
    };
    let (rsa, p384) = (named(Algorithm::Rs384, "a"), named(Algorithm::Es384, "a"));
    let p256 = named(Algorithm::Es256, "a");
    let both = [rsa.clone(), p384.clone()];
    assert_eq!(choose(&both, Algorithm::Rs384), Ok(json!("RSA")));
    assert_eq!(choose(&both, Algorithm::Es384), Ok(json!("EC")));
    assert_eq!(choose(&both[1..], Algorithm::Rs384), Err(KeyFault::Absent));
    assert_eq!(
        choose(&[named(Algorithm::Rs384, "A")], Algorithm::Rs384),
        Err(KeyFault::Absent)
    );
    let twice = [rsa.clone(), rsa.clone()];
    assert_eq!(choose(&twice, Algorithm::Rs384), Err(KeyFault::Several));
    // Two curves are one type.
    assert_eq!(
        choose(&[p256.clone(), p384], Algorithm::Es384),
        Err(KeyFault::Several)
    );
    assert_eq!(choose(&[p256], Algorithm::Es384), Err(KeyFault::OtherAlgorithm));
    // The key says for which hash it is.
    assert_eq!(choose(&[rsa], Algorithm::Rs256), Err(KeyFault::OtherAlgorithm));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_26_choosing_is_counting(
        keys in prop::collection::vec((0..4usize, 0..3usize), 0..6), asked in 0..3usize, by in 0..4usize,
    ) {
        let algorithm = Algorithm::ALL[by];
        let kid = |number: usize| format!("kid-{number}");
        let set: Vec<Value> = keys
            .iter()
            .map(|(which, number)| with(Algorithm::ALL[*which], "kid", json!(kid(*number))))
            .collect();
        let set = parse(&set).expect("a JWKS");
        let fitting: Vec<Algorithm> = keys
            .iter()
            .filter(|(_, number)| *number == asked)
            .map(|(which, _)| Algorithm::ALL[*which])
            .filter(|own| own.key_type() == algorithm.key_type())
            .collect();
        let expected = match fitting.as_slice() {
            [] => Err(KeyFault::Absent),
            [own] if *own == algorithm => Ok(kid(asked)),
            [_] => Err(KeyFault::OtherAlgorithm),
            _ => Err(KeyFault::Several),
        };
        prop_assert_eq!(set.choose(&kid(asked), algorithm).map(|key| key.kid().to_owned()), expected);
    }
}
