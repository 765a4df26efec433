//! Keys of tests, and texts signed with them. The keys were made with OpenSSL for these tests only.

use std::sync::LazyLock;

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_fhir::instant::Instant;

pub(crate) const RSA_PKCS8: &str = include_str!("keys/test-only-rsa-2048-pkcs8.pem");
pub(crate) const RSA_PKCS1: &str = include_str!("keys/test-only-rsa-2048-pkcs1.pem");
pub(crate) const P256_PKCS8: &str = include_str!("keys/test-only-ec-p256-pkcs8.pem");
pub(crate) const P256_SEC1: &str = include_str!("keys/test-only-ec-p256-sec1.pem");
pub(crate) const P384_PKCS8: &str = include_str!("keys/test-only-ec-p384-pkcs8.pem");
pub(crate) const P384_SEC1: &str = include_str!("keys/test-only-ec-p384-sec1.pem");

pub(crate) fn key(pem: &str) -> SigningKey {
    SigningKey::from_pem(pem).expect("a key of the tests")
}

/// One key per algorithm, with the algorithm's name as its `kid`.
pub(crate) fn signer(algorithm: Algorithm) -> SigningKey {
    let pem = match algorithm {
        Algorithm::Rs384 | Algorithm::Rs256 => RSA_PKCS8,
        Algorithm::Es384 => P384_PKCS8,
        Algorithm::Es256 => P256_PKCS8,
    };
    let key = key(pem).with_algorithm(algorithm).expect("it fits");
    key.with_kid(algorithm.name())
}

/// The key that most tests sign with.
pub(crate) static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| signer(Algorithm::Es384));

/// The instant at which tests happen.
pub(crate) const NOW: Instant = Instant::from_micros(1_795_278_407_000_000);

/// So many seconds from [`NOW`].
pub(crate) fn now_plus(secs: i64) -> Instant {
    Instant::from_micros(NOW.micros() + secs * 1_000_000)
}

/// The seconds of [`NOW`], and so many more.
pub(crate) fn secs(more: i64) -> i64 {
    NOW.micros() / 1_000_000 + more
}

/// Base64url of a text.
pub(crate) fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}
