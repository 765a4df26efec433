//! Signed texts: [`Jws`], the compact form, read and verified.

use std::fmt;

use serde_json::{Map, Value};

use crate::json::{decode, object};
use crate::{Algorithm, VerifyingKey};

/// Bytes of a signed text at most.
pub const JWS_BYTES_MAX: usize = 16 << 10;

/// Why a signed text is refused. The texts quote nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsFault {
    /// It is longer than is read.
    #[error("the JWT is longer than {JWS_BYTES_MAX} bytes")]
    TooLong,
    /// It has not three parts.
    #[error("the JWT has not three parts parted by dots")]
    Parts,
    /// A part is no base64url.
    #[error("a part of the JWT is not base64url without padding")]
    Encoding,
    /// The header is no object, or has a name twice.
    #[error("the JWT's header is not a JSON object in which each name comes once")]
    Header,
    /// A member of the header is missing or of another type.
    #[error("the JWT's header member `{0}` is missing or is not a text")]
    Member(&'static str),
    /// `alg` is `none`, or there is no signature.
    #[error("the JWT is not signed")]
    Unsigned,
    /// `alg` is an HMAC.
    #[error(
        "the JWT is signed with a shared secret (HMAC), which is never accepted; sign with a private key"
    )]
    SharedSecret,
    /// `alg` is something else.
    #[error("the JWT's `alg` is not supported")]
    UnknownAlgorithm,
    /// The header wants something that is not done here.
    #[error("the JWT's header has `crit` or `b64`, which are not supported")]
    Critical,
    /// The key is for another algorithm.
    #[error("the key does not fit the JWT's `alg`")]
    OtherKey,
    /// The signature is not that of the key over the text.
    #[error("the JWT's signature does not verify")]
    Signature,
}

/// A signed text of three parts (RFC 7515, compact), read and not yet verified.
///
/// Nothing in the header chooses a key by itself: `jwk`, `x5c` and `x5u` are not looked at.
pub struct Jws<'a> {
    algorithm: Algorithm,
    header: Map<String, Value>,
    /// What the signature is over.
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Reads a signed text.
    ///
    /// # Errors
    /// See [`JwsFault`].
    pub fn parse(text: &'a str) -> Result<Self, JwsFault> {
        if text.len() > JWS_BYTES_MAX {
            return Err(JwsFault::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsFault::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsFault::Parts)?;
        if payload.contains('.') {
            return Err(JwsFault::Parts);
        }
        let [header, payload, signature] =
            [header, payload, signature].map(|part| decode(part).ok_or(JwsFault::Encoding));
        let header = object(&header?).ok_or(JwsFault::Header)?;
        if let Some(name) = ["kid", "typ", "jku"]
            .into_iter()
            .find(|name| header.get(*name).is_some_and(|value| !value.is_string()))
        {
            return Err(JwsFault::Member(name));
        }
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwsFault::Critical);
        }
        let algorithm = algorithm(&header)?;
        let (payload, signature) = (payload?, signature?);
        if signature.is_empty() {
            return Err(JwsFault::Unsigned);
        }
        Ok(Self {
            algorithm,
            header,
            signed,
            payload,
            signature,
        })
    }

    /// How it says that it is signed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The id of the key by which it says that it is signed.
    pub fn kid(&self) -> Option<&str> {
        self.member("kid")
    }

    /// What kind of text it says that it is.
    pub fn typ(&self) -> Option<&str> {
        self.member("typ")
    }

    /// Where it says that its key is.
    pub fn jku(&self) -> Option<&str> {
        self.member("jku")
    }

    /// What is signed, decoded.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Verifies the signature.
    ///
    /// # Errors
    /// [`JwsFault::OtherKey`] if the key is not for the algorithm, [`JwsFault::Signature`] if the signature is not the key's.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), JwsFault> {
        if !key.fits(self.algorithm) {
            return Err(JwsFault::OtherKey);
        }
        if !key.verify(self.algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(JwsFault::Signature);
        }
        Ok(())
    }

    fn member(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who has the text has what it is good for.
        out.debug_struct("Jws")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, JwsFault> {
    let name = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or(JwsFault::Member("alg"))?;
    if let Some(known) = Algorithm::parse(name) {
        return Ok(known);
    }
    let upper = name.to_ascii_uppercase();
    if upper == "NONE" {
        return Err(JwsFault::Unsigned);
    }
    if upper.starts_with("HS") {
        return Err(JwsFault::SharedSecret);
    }
    Err(JwsFault::UnknownAlgorithm)
}
