//! Public keys: [`Jwks`], a set of them, and [`VerifyingKey`], one.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value, json};

use crate::der::trimmed;
use crate::json::{decode, encode, object};
use crate::{Algorithm, KeyFault};

/// Bytes of a JWKS at most.
pub const JWKS_BYTES_MAX: usize = 256 << 10;
/// Keys in a JWKS at most, those of unknown kinds included.
pub const JWKS_KEYS_MAX: usize = 100;
/// Characters of a `kid` at most.
const KEY_ID_CHARS_MAX: usize = 256;
/// Bits of a public RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of an RSA key's public exponent at most: all that is verified with.
const EXPONENT_BYTES_MAX: usize = 4;
/// Members that only private or secret keys have.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A curve of elliptic keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(crate) const ALL: [Self; 2] = [Self::P256, Self::P384];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    pub(crate) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    pub(crate) const fn object_id(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
        }
    }

    pub(crate) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
        }
    }
}

/// The numbers of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The point uncompressed: 4, x, y.
    Ec { curve: Curve, point: Vec<u8> },
}

impl PublicKey {
    /// Makes an RSA key of the digits of its numbers.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let (n, e) = (trimmed(n), trimmed(e));
        let bits = n
            .first()
            .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if bits < *RSA_BITS.start() {
            return Err(KeyFault::Weak);
        }
        if bits > *RSA_BITS.end() {
            return Err(KeyFault::TooStrong);
        }
        let is_odd = e.last().is_some_and(|last| last % 2 == 1);
        if !is_odd || e == [1] || e.len() > EXPONENT_BYTES_MAX {
            return Err(KeyFault::Member("e"));
        }
        let (n, e) = (n.to_vec(), e.to_vec());
        Ok(Self::Rsa { n, e })
    }

    pub(crate) fn key_type(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RSA",
            Self::Ec { .. } => "EC",
        }
    }

    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.key_type() == "RSA",
            Self::Ec { curve, .. } => curve.algorithm() == algorithm,
        }
    }

    /// The coordinates of a point.
    fn coordinates(point: &[u8]) -> (&[u8], &[u8]) {
        let both = &point[1..];
        both.split_at(both.len() / 2)
    }

    /// The members that make the key what it is, in the order and form of RFC 7638.
    fn canonical(&self) -> String {
        match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
            Self::Ec { curve, point } => {
                let (x, y) = Self::coordinates(point);
                format!(
                    r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                    curve.name(),
                    encode(x),
                    encode(y)
                )
            }
        }
    }

    /// The thumbprint of RFC 7638, with SHA-256.
    pub(crate) fn thumbprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.canonical().as_bytes());
        encode(digest.as_ref())
    }

    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { n, e }, Algorithm::Rs256 | Algorithm::Rs384) => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA384,
                };
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, message, signature)
                    .is_ok()
            }
            (Self::Ec { curve, point }, _) if curve.algorithm() == algorithm => {
                let parameters = match curve {
                    Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
                    Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
                };
                UnparsedPublicKey::new(parameters, point)
                    .verify(message, signature)
                    .is_ok()
            }
            _ => false,
        }
    }
}

/// A public key that verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    kid: String,
    key: PublicKey,
    /// The only algorithm that it is for, where it says so.
    algorithm: Option<Algorithm>,
}

impl VerifyingKey {
    pub(crate) fn new(kid: String, key: PublicKey, algorithm: Algorithm) -> Self {
        let algorithm = Some(algorithm);
        Self { kid, key, algorithm }
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK with `use` and, where it is for one algorithm, `alg`.
    pub fn to_jwk(&self) -> Value {
        let mut jwk = match &self.key {
            PublicKey::Rsa { n, e } => json!({"kty": "RSA", "n": encode(n), "e": encode(e)}),
            PublicKey::Ec { curve, point } => {
                let (x, y) = PublicKey::coordinates(point);
                json!({"kty": "EC", "crv": curve.name(), "x": encode(x), "y": encode(y)})
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        if let Some(algorithm) = self.algorithm {
            jwk["alg"] = algorithm.name().into();
        }
        jwk
    }

    /// The thumbprint of RFC 7638, with SHA-256: the same for the same key whatever its `kid`.
    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }

    /// Whether signatures of an algorithm can be verified with it.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.fits(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm) && self.key.verify(algorithm, message, signature)
    }

    /// Reads a JWK; `None` for keys that are not for the signatures that are known here.
    fn read(jwk: &Map<String, Value>) -> Result<Option<Self>, KeyFault> {
        if SECRET_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyFault::Private);
        }
        let key_type = text(jwk, "kty").map_err(|_| KeyFault::NoKeyType)?;
        let known = ["RSA", "EC"].contains(&key_type);
        if !known || !is_for_signatures(jwk)? {
            return Ok(None);
        }
        let kid = text(jwk, "kid").map_err(|_| KeyFault::NoKeyId)?;
        if !(1..=KEY_ID_CHARS_MAX).contains(&kid.chars().count()) {
            return Err(KeyFault::NoKeyId);
        }
        let Some(key) = read_public(jwk)? else {
            return Ok(None);
        };
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => match Algorithm::parse(name.as_str().ok_or(KeyFault::Member("alg"))?) {
                // A key of another algorithm is not for us; one that contradicts itself is for nobody.
                None => return Ok(None),
                Some(algorithm) if !key.fits(algorithm) => return Err(KeyFault::Member("alg")),
                known => known,
            },
        };
        let kid = kid.to_owned();
        Ok(Some(Self { kid, key, algorithm }))
    }
}

/// Whether a key's `use` and `key_ops` let signatures be verified with it.
fn is_for_signatures(jwk: &Map<String, Value>) -> Result<bool, KeyFault> {
    if jwk.contains_key("use") && text(jwk, "use")? != "sig" {
        return Ok(false);
    }
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(true);
    };
    let operations = operations.as_array().ok_or(KeyFault::Member("key_ops"))?;
    Ok(operations.iter().any(|operation| operation == "verify"))
}

/// Reads the public numbers of a JWK of type RSA or EC; `None` for other curves.
pub(crate) fn read_public(jwk: &Map<String, Value>) -> Result<Option<PublicKey>, KeyFault> {
    if text(jwk, "kty")? == "RSA" {
        return PublicKey::rsa(&number(jwk, "n")?, &number(jwk, "e")?).map(Some);
    }
    let name = text(jwk, "crv")?;
    let Some(curve) = Curve::ALL.into_iter().find(|curve| curve.name() == name) else {
        return Ok(None);
    };
    let mut point = vec![4];
    for member in ["x", "y"] {
        let coordinate = number(jwk, member)?;
        if coordinate.len() != curve.coordinate_bytes() {
            return Err(KeyFault::Member(member));
        }
        point.extend(coordinate);
    }
    Ok(Some(PublicKey::Ec { curve, point }))
}

/// A member that is a text.
pub(crate) fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, KeyFault> {
    jwk.get(name)
        .and_then(Value::as_str)
        .ok_or(KeyFault::Member(name))
}

/// A member that is bytes as base64url.
pub(crate) fn number(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    decode(text(jwk, name)?).ok_or(KeyFault::Member(name))
}

/// A set of public keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Jwks(Vec<VerifyingKey>);

impl Jwks {
    /// Reads a JWKS.
    ///
    /// Keys that no signature known here can be verified with are left out: other types, curves and algorithms, and keys that are not for
    /// signatures. `x5c`, `x5u` and other members are not looked at (A-12).
    ///
    /// # Errors
    /// See [`KeyFault`]; one key that is refused refuses all, so that nobody believes it registered.
    pub fn parse(text: &[u8]) -> Result<Self, KeyFault> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(KeyFault::TooLong);
        }
        let set = object(text).ok_or(KeyFault::NotJson)?;
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeyFault::NotJwks)?;
        if keys.len() > JWKS_KEYS_MAX {
            return Err(KeyFault::TooMany);
        }
        let mut found = Vec::new();
        for key in keys {
            let jwk = key.as_object().ok_or(KeyFault::NotJwks)?;
            found.extend(VerifyingKey::read(jwk)?);
        }
        Ok(Self(found))
    }

    /// Chooses the key of a signature: the one with its `kid` and the type of its algorithm (A-26).
    ///
    /// # Errors
    /// [`KeyFault::Absent`] if there is none, [`KeyFault::Several`] if there are more, [`KeyFault::OtherAlgorithm`] if that one is over
    /// another curve or says by its `alg` that it is for another algorithm.
    pub fn choose(&self, kid: &str, algorithm: Algorithm) -> Result<&VerifyingKey, KeyFault> {
        let mut fitting = self
            .0
            .iter()
            .filter(|known| known.kid == kid && known.key.key_type() == algorithm.key_type());
        let key = fitting.next().ok_or(KeyFault::Absent)?;
        if fitting.next().is_some() {
            return Err(KeyFault::Several);
        }
        key.fits(algorithm).then_some(key).ok_or(KeyFault::OtherAlgorithm)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys in their order.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter()
    }

    /// The ids of the keys in their order.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(VerifyingKey::kid)
    }

    /// The set as JSON: `{"keys": […]}`.
    pub fn to_json(&self) -> Value {
        let keys: Vec<Value> = self.iter().map(VerifyingKey::to_jwk).collect();
        json!({ "keys": keys })
    }
}

impl FromIterator<VerifyingKey> for Jwks {
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}
