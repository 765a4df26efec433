//! The seal of a receipt: a signature, or a bare digest, over the exact bytes of `manifest.json`.
//!
//! The seal is a text within the file that it binds. What it binds is the file without that text, which occurs in it exactly once; so one
//! changed byte anywhere, white space too, is seen, and nobody has to agree on a canonical form of JSON.

use std::fmt::Write as _;

use fhirhose_auth::{Jwks, Jws, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::record::Receipt;
use crate::{Error, ErrorKind, Result};

/// The `typ` of the signature.
const TYPE: &str = "fhirhose-receipt";

/// What is signed.
#[derive(Serialize, Deserialize)]
struct Claims {
    /// The digest of the manifest without the signature, in hex.
    #[serde(rename = "sha-256")]
    sha256: String,
}

/// Puts the seal in the place of the one `placeholder` in `text`.
pub(super) fn seal(text: &str, placeholder: &str, key: Option<&SigningKey>) -> Result<String> {
    let bound = without(text, placeholder)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "the manifest has no one place for a seal"))?;
    let sha256 = digest(bound.as_bytes());
    let seal = match key {
        None => sha256,
        Some(key) => key
            .sign(TYPE, &[], &Claims { sha256 })
            .map_err(|source| Error::new(ErrorKind::Protocol, "signing the receipt").caused_by(source))?,
    };
    Ok(text.replace(placeholder, &seal))
}

/// Holds the text of a manifest to the seal of its receipt; gives the signer, if there is one.
///
/// # Errors
/// In words, what does not fit.
pub(super) fn check(text: &str, receipt: &Receipt) -> Result<Option<VerifyingKey>, String> {
    match (&receipt.signature, &receipt.digest) {
        (Some(signature), None) => check_signature(text, signature, receipt.key.as_ref()).map(Some),
        (None, Some(expected)) => {
            let bound = without(text, expected).ok_or("its digest is not there once")?;
            if digest(bound.as_bytes()) != *expected {
                return Err("it is not what it was when its digest was taken".to_owned());
            }
            Ok(None)
        }
        _ => Err("its receipt has not exactly one of signature and digest".to_owned()),
    }
}

fn check_signature(text: &str, signature: &str, key: Option<&Value>) -> Result<VerifyingKey, String> {
    let key = key.ok_or("its receipt has a signature, but no key")?;
    let key = public_key(key).ok_or("the key in its receipt is not a public key")?;
    let jws = Jws::parse(signature).map_err(|fault| format!("its signature cannot be read: {fault}"))?;
    jws.verify(&key)
        .map_err(|_| "its signature is not that of its key")?;
    let claims: Option<Claims> = serde_json::from_slice(jws.payload()).ok();
    let claims = claims
        .filter(|_| jws.typ() == Some(TYPE))
        .ok_or("its signature is not that of a receipt")?;
    let bound = without(text, signature).ok_or("its signature is not there once")?;
    if digest(bound.as_bytes()) != claims.sha256 {
        return Err("it is not what it was when it was signed".to_owned());
    }
    Ok(key)
}

/// Reads one public JWK.
fn public_key(jwk: &Value) -> Option<VerifyingKey> {
    let jwks = serde_json::to_vec(&json!({ "keys": [jwk] })).ok()?;
    Jwks::parse(&jwks).ok()?.iter().next().cloned()
}

/// The text without the one occurrence of a part of it.
fn without(text: &str, part: &str) -> Option<String> {
    let (before, after) = text.split_once(part).filter(|_| !part.is_empty())?;
    (!after.contains(part)).then(|| [before, after].concat())
}

/// SHA-256 in lower-case hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
