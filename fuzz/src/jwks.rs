//! Keys: any bytes give keys or a reason; keys survive being written; no set holds a secret; choosing is counting.

use fhirhose_auth::{Algorithm, JWKS_KEYS_MAX, Jwks, Jws, KeyFault, SigningKey};
use serde_json::Value;

/// Checks the laws. The bytes are a JWKS, a JWK or PEM, whatever they can be read as.
pub fn check(data: &[u8]) {
    if let Ok(keys) = Jwks::parse(data) {
        check_set(&keys, data);
    }
    if let Ok(key) = SigningKey::from_jwk(data) {
        check_private(&key);
    }
    if let Ok(key) = SigningKey::from_pem(&String::from_utf8_lossy(data)) {
        check_private(&key);
    }
}

fn check_set(keys: &Jwks, text: &[u8]) {
    let tree: Value = serde_json::from_slice(text).expect("a set is JSON");
    let all = tree["keys"].as_array().expect("a set has keys");
    assert!(
        all.iter().all(|key| key.get("d").is_none()),
        "no set holds a secret"
    );
    assert!(keys.len() <= all.len() && all.len() <= JWKS_KEYS_MAX);
    let written = keys.to_json().to_string();
    assert_eq!(
        Jwks::parse(written.as_bytes()).as_ref(),
        Ok(keys),
        "a set survives being written"
    );
    for key in keys.iter() {
        assert!(!key.kid().is_empty());
        assert_eq!(key.thumbprint().len(), 43, "a thumbprint has 256 bits");
        for algorithm in Algorithm::ALL {
            let of_type = keys
                .iter()
                .filter(|other| other.kid() == key.kid() && other.to_jwk()["kty"] == algorithm.key_type());
            match (keys.choose(key.kid(), algorithm), of_type.count()) {
                (Ok(chosen), 1) => assert!(chosen.fits(algorithm)),
                (Err(KeyFault::OtherAlgorithm), 1) => {}
                (Err(KeyFault::Absent), 0) => {}
                (Err(KeyFault::Several), 2..) => {}
                (chosen, count) => panic!("{count} keys, and chosen is {chosen:?}"),
            }
        }
    }
}

fn check_private(key: &SigningKey) {
    let text = key.sign("JWT", &[], &Value::Null).expect("a key signs");
    let jws = Jws::parse(&text).expect("what is signed can be read");
    let again = [
        SigningKey::from_pem(&key.to_pem()).expect("PEM that was written"),
        SigningKey::from_jwk(key.private_jwk().to_string().as_bytes()).expect("a JWK that was written"),
    ];
    assert_eq!(again[1].kid(), key.kid());
    for read in again {
        let read = read.with_algorithm(key.algorithm()).expect("it is the same key");
        assert_eq!(
            jws.verify(&read.verifying_key()),
            Ok(()),
            "a key survives being written"
        );
    }
    let public = key.public_jwk();
    let secret = key.private_jwk()["d"]
        .as_str()
        .expect("a private JWK has d")
        .to_owned();
    assert!(!public.to_string().contains(&secret), "a public key is no secret");
}
