//! A registered client: [`Client`].

use std::fmt;
use std::str::FromStr;

use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{GroupAccess, Scopes};

/// Characters of a client's id at most.
pub const CLIENT_ID_CHARS_MAX: usize = 128;

/// The id of a client: 1 to [`CLIENT_ID_CHARS_MAX`] letters, digits and `-._~:/`, so that URLs can be ids too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Reads an id; `None` for what cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte);
        let fits = (1..=CLIENT_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        fits.then(|| Self(text.into()))
    }

    /// The id as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for ClientId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a client's id has 1 to {CLIENT_ID_CHARS_MAX} letters, digits and -._~:/");
        Self::parse(text).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Where a client's public keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKeys {
    /// Here: the text of a JWKS, checked when it was registered.
    Jwks(String),
    /// At this `https` URL, fetched when they are needed.
    Url(String),
}

/// A client's own limits; `None` means the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientLimits {
    /// Jobs that wait, run or are paused at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_live_max: Option<usize>,
    /// Files that it downloads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloads_parallel_max: Option<usize>,
    /// How long its tokens live, in seconds; never longer than the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secs: Option<u64>,
}

/// A registered client with the most that it can be granted. Serialises with serde; meant for JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// What people call it.
    pub name: String,
    /// Its public keys.
    pub keys: ClientKeys,
    /// All that it can be granted. Whether a client may write is said here and nowhere else.
    pub scopes: Scopes,
    /// Which Groups it may export.
    #[serde(default)]
    pub groups: GroupAccess,
    /// Its own limits.
    #[serde(default)]
    pub limits: ClientLimits,
    /// Whom to ask about it, such as a mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When it was registered.
    pub created: Instant,
    /// When its registration ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Instant>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Instant>,
    /// Tokens that were issued before this are worthless: set when keys are rotated away in haste.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_from: Option<Instant>,
}

/// Whether a client may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// Its registration has ended by itself.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Client {
    /// Whether it may come in at an instant.
    pub fn standing(&self, now: Instant) -> Standing {
        if self.revoked.is_some() {
            Standing::Revoked
        } else if self.expires.is_some_and(|expires| expires <= now) {
            Standing::Expired
        } else {
            Standing::Active
        }
    }
}
