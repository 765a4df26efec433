//! What can be wrong with keys: [`KeyFault`].

use crate::jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX};

/// Why a key or a set of keys is refused. The texts quote nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is no JSON object, or has a name twice.
    #[error("it is not a JSON object in which each name comes once")]
    NotJson,
    /// The member `keys` is missing, or holds what is no object.
    #[error("it is not a JWKS: an object whose member `keys` is an array of keys")]
    NotJwks,
    /// It is longer than is read.
    #[error("the keys are longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// There are more keys than are read.
    #[error("there are more than {JWKS_KEYS_MAX} keys")]
    TooMany,
    /// A key has no `kty`.
    #[error("a key has no `kty`")]
    NoKeyType,
    /// A key has no `kid`.
    #[error("a key has no `kid`; each needs one of 1 to 256 characters")]
    NoKeyId,
    /// A member is missing or is not what it should be.
    #[error("a key's member `{0}` is missing or malformed")]
    Member(&'static str),
    /// A private half is where only public ones belong.
    #[error("it holds a private or secret key; take that one out of use, and give the public halves only")]
    Private,
    /// It is too easy to break.
    #[error("an RSA key has fewer than 2048 bits; make a longer one")]
    Weak,
    /// It is longer than is taken.
    #[error("an RSA key has more bits than are taken: 8192 for public keys, 4096 for private ones")]
    TooStrong,
    /// No key has the `kid` and the type.
    #[error("no key with this `kid` fits the signature's algorithm")]
    Absent,
    /// Several keys have the `kid` and the type.
    #[error("several keys of this type have the same `kid`")]
    Several,
    /// The key is for another algorithm.
    #[error("the key is not one for this algorithm")]
    OtherAlgorithm,
    /// There is no private key in a PEM text or a JWKS.
    #[error("there is no private key in it; it is read as PKCS#8, PKCS#1 or SEC1 in PEM, or as a JWK")]
    NoPrivateKey,
    /// There are several private keys in a JWKS.
    #[error("there are several private keys in it; give the one that is meant")]
    SeveralPrivateKeys,
    /// It is encrypted.
    #[error("the private key is encrypted; decrypt it, for instance with `openssl pkey`")]
    Encrypted,
    /// It is of a kind that nothing here signs with.
    #[error("the private key is neither RSA nor EC over P-256 or P-384")]
    Unsupported,
    /// It has no public half.
    #[error("the private key has no public half within; write it anew, for instance with `openssl pkey`")]
    NoPublicHalf,
    /// Its numbers do not belong together.
    #[error("the private key is damaged: its parts do not belong together")]
    Damaged,
    /// The machine gave no randomness, or the key refused to sign.
    #[error("the key cannot be made or used on this machine")]
    Unusable,
}
