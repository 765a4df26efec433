//! Signed texts: the examples of the RFC, round trips, and what is refused.

use fhirhose_auth::{Algorithm, JWS_BYTES_MAX, Jwks, Jws, JwsFault};
use proptest::prelude::*;
use serde_json::json;

use crate::fixture::{SIGNER, encoded, signer};

/// The payload of RFC 7515, appendix A.
const PAYLOAD: &str = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const ES256_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const RS256_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// A text with a header of its own and a signature of our key, which does not fit.
fn with_header(header: &str) -> String {
    let signed = SIGNER.sign("JWT", &[], &json!({})).expect("signed");
    let signature = signed.rsplit('.').next().expect("a signature");
    format!("{}.{}.{signature}", encoded(header), encoded("{}"))
}

#[track_caller]
fn check_refused(text: &str, fault: JwsFault) {
    assert_eq!(Jws::parse(text).expect_err(text), fault, "{text}");
}

#[test]
fn the_examples_of_rfc_7515_verify() {
    let keys = json!({"keys": [
        {"kty": "RSA", "kid": "a2", "n": RS256_N, "e": "AQAB"},
        {"kty": "EC", "kid": "a3", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
         "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    ]});
    let keys = Jwks::parse(keys.to_string().as_bytes()).expect("a JWKS");
    let examples = [
        ("a2", Algorithm::Rs256, RS256_SIGNATURE),
        ("a3", Algorithm::Es256, ES256_SIGNATURE),
    ];
    for (kid, algorithm, signature) in examples {
        let header = encoded(&format!("{{\"alg\":\"{algorithm}\"}}"));
        let text = format!("{header}.{}.{signature}", encoded(PAYLOAD));
        let jws = Jws::parse(&text).expect("a signed text");
        assert_eq!(jws.algorithm(), algorithm);
        assert_eq!(jws.payload(), PAYLOAD.as_bytes());
        let key = keys.choose(kid, algorithm).expect("its key");
        assert_eq!(jws.verify(key), Ok(()));
        let other = signer(Algorithm::Rs384).verifying_key();
        assert_eq!(jws.verify(&other), Err(JwsFault::OtherKey));
    }
}

#[test]
fn a_13_what_is_signed_verifies_in_each_algorithm_and_with_its_own_key_only() {
    for algorithm in Algorithm::ALL {
        let text = signer(algorithm)
            .sign("JWT", &[("jku", "https://example.org/jwks")], &json!({"a": 1}))
            .expect("signed");
        let jws = Jws::parse(&text).expect("a signed text");
        assert_eq!(jws.kid(), Some(algorithm.name()));
        assert_eq!(jws.typ(), Some("JWT"));
        assert_eq!(jws.jku(), Some("https://example.org/jwks"));
        assert_eq!(jws.payload(), br#"{"a":1}"#);
        for other in Algorithm::ALL {
            let verified = jws.verify(&signer(other).verifying_key());
            assert_eq!(
                verified.is_ok(),
                other == algorithm,
                "{algorithm} by the key of {other}"
            );
        }
    }
}

#[test]
fn a_13_none_and_shared_secrets_are_refused_by_name() {
    for name in ["none", "None", "NONE", "nOnE"] {
        check_refused(
            &with_header(&format!(r#"{{"alg":"{name}"}}"#)),
            JwsFault::Unsigned,
        );
    }
    for name in ["HS256", "HS384", "HS512", "hs256"] {
        check_refused(
            &with_header(&format!(r#"{{"alg":"{name}"}}"#)),
            JwsFault::SharedSecret,
        );
    }
    for name in ["ES512", "PS384", "RS512", "EdDSA", "es384", "ES384 ", ""] {
        check_refused(
            &with_header(&format!(r#"{{"alg":"{name}"}}"#)),
            JwsFault::UnknownAlgorithm,
        );
    }
    let unsigned = format!("{}.{}.", encoded(r#"{"alg":"ES384"}"#), encoded("{}"));
    check_refused(&unsigned, JwsFault::Unsigned);
}

#[test]
fn a_22_headers_are_objects_with_each_name_once_and_texts_in_them() {
    check_refused(&with_header(r#"["ES384"]"#), JwsFault::Header);
    check_refused(&with_header("{"), JwsFault::Header);
    check_refused(&with_header(r#"{"alg":"none","alg":"ES384"}"#), JwsFault::Header);
    check_refused(
        &with_header(r#"{"alg":"ES384","a":{"b":1,"b":2}}"#),
        JwsFault::Header,
    );
    check_refused(&with_header(r#"{"alg":"ES384"} x"#), JwsFault::Header);
    check_refused(&with_header(r#"{"kid":"a"}"#), JwsFault::Member("alg"));
    check_refused(&with_header(r#"{"alg":["ES384"]}"#), JwsFault::Member("alg"));
    for name in ["kid", "typ", "jku"] {
        for value in ["1", "null", "[\"a\"]"] {
            let header = format!(r#"{{"alg":"ES384","{name}":{value}}}"#);
            check_refused(&with_header(&header), JwsFault::Member(name));
        }
    }
    check_refused(
        &with_header(r#"{"alg":"ES384","crit":["exp"]}"#),
        JwsFault::Critical,
    );
    check_refused(&with_header(r#"{"alg":"ES384","b64":false}"#), JwsFault::Critical);
}

#[test]
fn a_key_within_the_header_chooses_nothing() {
    let jwk = signer(Algorithm::Es384).public_jwk();
    let header = json!({"alg": "ES384", "kid": "a", "jwk": jwk}).to_string();
    let text = with_header(&header);
    let jws = Jws::parse(&text).expect("a signed text");
    assert_eq!(jws.verify(&SIGNER.verifying_key()), Err(JwsFault::Signature));
}

#[test]
fn texts_have_three_parts_of_base64url_and_a_length() {
    check_refused("", JwsFault::Parts);
    check_refused("a.b", JwsFault::Parts);
    check_refused("a.b.c.d", JwsFault::Parts);
    check_refused("a.b.c.d.e", JwsFault::Parts);
    let good = SIGNER.sign("JWT", &[], &json!({"a": "?>"})).expect("signed");
    check_refused(&format!("{good}="), JwsFault::Encoding);
    check_refused(&format!(" {good}"), JwsFault::Encoding);
    check_refused(&format!("{good}\n"), JwsFault::Encoding);
    check_refused(&format!("{good}+"), JwsFault::Encoding);
    check_refused(&"a".repeat(JWS_BYTES_MAX + 1), JwsFault::TooLong);
    assert!(!format!("{:?}", Jws::parse(&good)).contains(&good[..20]));
}

#[test]
fn a_signature_in_der_is_none() {
    // JOSE has the two numbers side by side; DER would let one signature have several forms.
    let good = SIGNER.sign("JWT", &[], &json!({})).expect("signed");
    let (signed, _) = good.rsplit_once('.').expect("parts");
    let der = encoded(&format!("0f\u{2}10{}\u{2}10{}", "a".repeat(48), "b".repeat(48)));
    let text = format!("{signed}.{der}");
    let jws = Jws::parse(&text).expect("a signed text");
    assert_eq!(jws.verify(&SIGNER.verifying_key()), Err(JwsFault::Signature));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_character_of_any_part_is_let_through(
        which in 0..4usize, at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]", claim in ".{0,40}",
    ) {
        let algorithm = Algorithm::ALL[which];
        let key = signer(algorithm);
        let good = key.sign("JWT", &[], &json!({"claim": claim})).expect("signed");
        let jws = Jws::parse(&good).expect("a signed text");
        prop_assert_eq!(jws.verify(&key.verifying_key()), Ok(()));
        let at = at.index(good.len());
        prop_assume!(good[at..=at] != to);
        let bad = format!("{}{to}{}", &good[..at], &good[at + 1..]);
        let passed = Jws::parse(&bad).is_ok_and(|jws| jws.verify(&key.verifying_key()).is_ok());
        prop_assert!(!passed, "{} for {}", bad, good);
    }
}
