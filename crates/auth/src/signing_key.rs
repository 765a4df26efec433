//! Private keys: [`SigningKey`].

use std::fmt;

use base64::Engine as _;
use ring::rand::{self, SystemRandom};
use ring::rsa::KeyPair as RsaPair;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::der::{self, Reader, Wrapped};
use crate::json::{encode, object};
use crate::jwks::{Curve, JWKS_BYTES_MAX, PublicKey, number, read_public};
use crate::{Algorithm, Jwks, KeyFault, VerifyingKey};

/// Bits of an RSA key that is made here: some 128 bits of strength, as P-256 has.
const RSA_BITS: usize = 3072;
/// Bytes of a PEM text at most.
const PEM_BYTES_MAX: usize = 64 << 10;
/// Bytes of the modulus of a private RSA key at most.
const RSA_MODULUS_BYTES_MAX: usize = 512;
/// Characters of a line of PEM.
const PEM_LINE_CHARS: usize = 64;
/// Numbers of a private RSA key in the order of PKCS#1, by their names in a JWK.
const RSA_MEMBERS: [&str; 8] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

/// A private key that signs, with its public half, its algorithm and its `kid`.
///
/// Signing with an elliptic key and making keys take randomness from the operating system: the library beneath takes no other.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    public: PublicKey,
    pair: Pair,
}

enum Pair {
    Rsa {
        pair: Box<RsaPair>,
        /// PKCS#1.
        der: Vec<u8>,
    },
    Ec {
        pair: Box<EcdsaKeyPair>,
        curve: Curve,
        scalar: Vec<u8>,
    },
}

impl SigningKey {
    /// Makes a key: RSA of 3072 bits, which takes a second or more, or EC over the algorithm's curve. Its `kid` is its thumbprint.
    ///
    /// # Errors
    /// [`KeyFault::Unusable`] if the machine gives no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyFault> {
        let key = match algorithm {
            Algorithm::Rs384 | Algorithm::Rs256 => {
                let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS);
                let der = key.map_err(|_| KeyFault::Unusable)?.to_pkcs1_der();
                Self::from_pkcs1(der.map_err(|_| KeyFault::Unusable)?.as_bytes())?
            }
            Algorithm::Es384 => Self::generate_ec(Curve::P384)?,
            Algorithm::Es256 => Self::generate_ec(Curve::P256)?,
        };
        key.with_algorithm(algorithm)
    }

    fn generate_ec(curve: Curve) -> Result<Self, KeyFault> {
        let made = EcdsaKeyPair::generate_pkcs8(signing(curve), &SystemRandom::new());
        Self::from_pkcs8(made.map_err(|_| KeyFault::Unusable)?.as_ref())
    }

    /// Reads the first private key of a PEM text: PKCS#8 (`PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    ///
    /// Its `kid` is its thumbprint; its algorithm RS384, ES384 or ES256, by its type and curve.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn from_pem(text: &str) -> Result<Self, KeyFault> {
        if text.len() > PEM_BYTES_MAX {
            return Err(KeyFault::TooLong);
        }
        if text.contains("ENCRYPTED") {
            return Err(KeyFault::Encrypted);
        }
        match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(key)) => Self::from_pkcs8(key.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(key)) => Self::from_pkcs1(key.secret_pkcs1_der()),
            Ok(PrivateKeyDer::Sec1(key)) => Self::from_sec1(key.secret_sec1_der(), None),
            _ => Err(KeyFault::NoPrivateKey),
        }
    }

    /// Reads a private JWK, or a JWKS with exactly one private key that signs. `alg` and `kid` are taken where they are given.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn from_jwk(text: &[u8]) -> Result<Self, KeyFault> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(KeyFault::TooLong);
        }
        let jwk = object(text).ok_or(KeyFault::NotJson)?;
        let Some(keys) = jwk.get("keys") else {
            return Self::from_members(&jwk);
        };
        let keys = keys.as_array().ok_or(KeyFault::NotJwks)?;
        let mut private = keys
            .iter()
            .filter_map(Value::as_object)
            .filter(|key| key.contains_key("d"));
        let key = private.next().ok_or(KeyFault::NoPrivateKey)?;
        if private.next().is_some() {
            return Err(KeyFault::SeveralPrivateKeys);
        }
        Self::from_members(key)
    }

    fn from_members(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        let text = |name: &'static str| match jwk.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(KeyFault::Member(name)),
        };
        if !jwk.contains_key("d") {
            return Err(KeyFault::NoPrivateKey);
        }
        let key = match text("kty")?.ok_or(KeyFault::NoKeyType)? {
            "RSA" => {
                let mut numbers = vec![der::number(&[])];
                for name in RSA_MEMBERS {
                    numbers.push(der::number(&number(jwk, name)?));
                }
                let numbers: Vec<&[u8]> = numbers.iter().map(Vec::as_slice).collect();
                Self::from_pkcs1(&der::value(der::SEQUENCE, &numbers))?
            }
            "EC" => {
                let public = read_public(jwk)?.ok_or(KeyFault::Unsupported)?;
                Self::from_ec(public, &number(jwk, "d")?)?
            }
            _ => return Err(KeyFault::Unsupported),
        };
        let key = match text("alg")? {
            None => key,
            Some(name) => key.with_algorithm(Algorithm::parse(name).ok_or(KeyFault::Member("alg"))?)?,
        };
        Ok(match text("kid")? {
            None => key,
            Some(kid) => key.with_kid(kid),
        })
    }

    fn from_pkcs8(key: &[u8]) -> Result<Self, KeyFault> {
        match der::unwrap_pkcs8(key).ok_or(KeyFault::Damaged)? {
            Wrapped::Rsa(key) => Self::from_pkcs1(key),
            Wrapped::Ec(key, curve_id) => Self::from_sec1(key, Some(curve_id)),
            Wrapped::Other => Err(KeyFault::Unsupported),
        }
    }

    fn from_pkcs1(key: &[u8]) -> Result<Self, KeyFault> {
        let mut numbers = Reader(Reader(key).value(der::SEQUENCE).ok_or(KeyFault::Damaged)?);
        let mut number = || numbers.number().ok_or(KeyFault::Damaged);
        let (_version, n, e) = (number()?, number()?, number()?);
        let public = PublicKey::rsa(n, e)?;
        if n.len() > RSA_MODULUS_BYTES_MAX {
            return Err(KeyFault::TooStrong);
        }
        let pair = RsaPair::from_der(key).map_err(|_| KeyFault::Damaged)?;
        let der = key.to_vec();
        let pair = Box::new(pair);
        let key = Self::new(public, Algorithm::Rs384, Pair::Rsa { pair, der });
        // Some numbers that do not belong together are seen only by what they sign.
        key.signature(&[]).map_err(|_| KeyFault::Damaged)?;
        Ok(key)
    }

    fn from_sec1(key: &[u8], curve_id: Option<&[u8]>) -> Result<Self, KeyFault> {
        let mut key = Reader(Reader(key).value(der::SEQUENCE).ok_or(KeyFault::Damaged)?);
        key.number().ok_or(KeyFault::Damaged)?;
        let scalar = key.value(der::OCTET_STRING).ok_or(KeyFault::Damaged)?;
        let own_id = key
            .value(der::CONTEXT_0)
            .and_then(|id| Reader(id).value(der::OBJECT_ID));
        let id = curve_id.or(own_id).ok_or(KeyFault::Unsupported)?;
        let curve = Curve::ALL.into_iter().find(|curve| curve.object_id() == id);
        let curve = curve.ok_or(KeyFault::Unsupported)?;
        let public = key.value(der::CONTEXT_1).ok_or(KeyFault::NoPublicHalf)?;
        let bits = Reader(public).value(der::BIT_STRING).ok_or(KeyFault::Damaged)?;
        // The first byte says how many bits at the end are not meant.
        let point = bits.strip_prefix(&[0]).ok_or(KeyFault::Damaged)?.to_vec();
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.coordinate_bytes() {
            return Err(KeyFault::NoPublicHalf);
        }
        Self::from_ec(PublicKey::Ec { curve, point }, scalar)
    }

    fn from_ec(public: PublicKey, scalar: &[u8]) -> Result<Self, KeyFault> {
        let PublicKey::Ec { curve, point } = &public else {
            return Err(KeyFault::Unsupported);
        };
        let (curve, random) = (*curve, SystemRandom::new());
        let pair = EcdsaKeyPair::from_private_key_and_public_key(signing(curve), scalar, point, &random);
        let pair = Box::new(pair.map_err(|_| KeyFault::Damaged)?);
        let scalar = scalar.to_vec();
        Ok(Self::new(
            public,
            curve.algorithm(),
            Pair::Ec { pair, curve, scalar },
        ))
    }

    fn new(public: PublicKey, algorithm: Algorithm, pair: Pair) -> Self {
        Self {
            kid: public.thumbprint(),
            algorithm,
            public,
            pair,
        }
    }

    /// Gives the key another `kid`.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// Lets the key sign by another algorithm of its type.
    ///
    /// # Errors
    /// [`KeyFault::OtherAlgorithm`] if that is one of another type or curve.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, KeyFault> {
        if !self.public.fits(algorithm) {
            return Err(KeyFault::OtherAlgorithm);
        }
        self.algorithm = algorithm;
        Ok(self)
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::new(self.kid.clone(), self.public.clone(), self.algorithm)
    }

    /// The public half as a set of one key.
    pub fn to_jwks(&self) -> Jwks {
        Jwks::from_iter([self.verifying_key()])
    }

    /// The public half as a JWK.
    pub fn public_jwk(&self) -> Value {
        self.verifying_key().to_jwk()
    }

    /// Both halves as a JWK: a secret.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.public_jwk();
        match &self.pair {
            Pair::Ec { scalar, .. } => jwk["d"] = encode(scalar).into(),
            Pair::Rsa { der, .. } => {
                let mut numbers = Reader(Reader(der).value(der::SEQUENCE).unwrap_or_default());
                let _version = numbers.number();
                for name in RSA_MEMBERS {
                    jwk[name] = encode(numbers.number().unwrap_or_default()).into();
                }
            }
        }
        jwk
    }

    /// Both halves as PKCS#8 in PEM: a secret. The `kid` and the algorithm are not within.
    pub fn to_pem(&self) -> String {
        let key = match &self.pair {
            Pair::Rsa { der, .. } => der::wrap_rsa(der),
            Pair::Ec { curve, scalar, .. } => der::wrap_ec(&sec1(scalar, &self.public), curve.object_id()),
        };
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let mut rest = base64::engine::general_purpose::STANDARD.encode(key);
        while !rest.is_empty() {
            let after = rest.split_off(rest.len().min(PEM_LINE_CHARS));
            pem.push_str(&rest);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// Signs claims as a JWT: a JWS in its compact form, whose header has `alg`, `kid`, `typ` and what else is given.
    ///
    /// # Errors
    /// [`KeyFault::Unusable`] if the key does not sign, or the claims have no form in JSON.
    pub fn sign(
        &self,
        typ: &str,
        header: &[(&str, &str)],
        claims: &impl Serialize,
    ) -> Result<String, KeyFault> {
        let own = [("alg", self.algorithm.name()), ("kid", self.kid()), ("typ", typ)];
        let members = header.iter().chain(&own);
        let header: Map<String, Value> = members
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let header = Value::Object(header).to_string();
        let claims = serde_json::to_vec(claims).map_err(|_| KeyFault::Unusable)?;
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(&claims));
        let signature = self.signature(signed.as_bytes())?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec { pair, .. } => {
                let signature = pair.sign(&random, message);
                Ok(signature.map_err(|_| KeyFault::Unusable)?.as_ref().to_vec())
            }
            Pair::Rsa { pair, .. } => {
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
                    _ => &signature::RSA_PKCS1_SHA384,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(padding, &random, message, &mut signature);
                signed.map_err(|_| KeyFault::Unusable)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Makes an id that nobody can guess and nobody has: 128 bits in 22 letters, digits, `-` and `_`. For `jti`.
///
/// # Errors
/// [`KeyFault::Unusable`] if the machine gives no randomness.
pub fn random_id() -> Result<String, KeyFault> {
    let bits: rand::Random<[u8; 16]> =
        rand::generate(&SystemRandom::new()).map_err(|_| KeyFault::Unusable)?;
    Ok(encode(&bits.expose()))
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    }
}

/// An elliptic key as SEC1 has it, its curve left to what is around it.
fn sec1(scalar: &[u8], public: &PublicKey) -> Vec<u8> {
    let point: &[u8] = match public {
        PublicKey::Ec { point, .. } => point,
        PublicKey::Rsa { .. } => &[],
    };
    let bits = der::value(der::BIT_STRING, &[&[0], point]);
    let version = der::number(&[1]);
    let scalar = der::value(der::OCTET_STRING, &[scalar]);
    let public = der::value(der::CONTEXT_1, &[&bits]);
    der::value(der::SEQUENCE, &[&version, &scalar, &public])
}
