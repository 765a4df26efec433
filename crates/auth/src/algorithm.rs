//! Which signatures there are: [`Algorithm`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A way to sign, as JWS names it. There is no other: neither `none` nor anything with a shared secret has a place in the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// All.
    pub const ALL: [Self; 4] = [Self::Rs384, Self::Es384, Self::Rs256, Self::Es256];
    /// Those that SMART names; the others are for who asks for them.
    pub const DEFAULT: &[Self] = &[Self::Rs384, Self::Es384];

    /// Reads a name of JWS, such as `ES384`; letters as they are there.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The name in JWS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs384 => "RS384",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The `kty` of its keys.
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::Rs384 | Self::Rs256 => "RSA",
            Self::Es384 | Self::Es256 => "EC",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name).ok_or("a signature's algorithm is RS384, ES384, RS256 or ES256")
    }
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}
