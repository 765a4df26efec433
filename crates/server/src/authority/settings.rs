//! How requests are authorized: [`AuthSettings`].

use std::fmt;
use std::thread::available_parallelism;

use fhirhose_auth::Algorithm;
use url::Url;

use crate::{Error, ErrorKind, Result};

/// The longest life of an access token that can be set, in seconds.
pub const TOKEN_SECS_MAX: u64 = 3_600;

/// Who decides what a request may do.
#[derive(Debug, Clone, Default)]
pub enum AuthSettings {
    /// Nobody: everybody may do everything, so the server listens on loopback addresses only.
    #[default]
    None,
    /// The server itself: it registers clients and issues tokens (SMART Backend Services).
    Smart(SmartSettings),
    /// Another authorization server, whose tokens are accepted.
    External(Box<ExternalSettings>),
}

/// How the authorization server inside this one behaves.
#[derive(Debug, Clone)]
pub struct SmartSettings {
    /// How long an access token lives, in seconds, at most [`TOKEN_SECS_MAX`]. Default: 300.
    pub token_secs: u64,
    /// How clients may sign. Default: RS384 and ES384.
    pub algorithms: Vec<Algorithm>,
    /// How far ahead the end of a client's assertion may lie, in seconds. Default: 300.
    pub assertion_secs_max: u64,
    /// By how much the clocks of clients may differ from this one's, in seconds. Default: 60.
    pub skew_secs: u64,
    /// Ids of used assertions that are kept at a time; while there are so many, tokens are refused with 503. Each is kept until its
    /// assertion has ended, so this is the most tokens in some six minutes. Default: 1,000,000.
    pub used_assertions_max: usize,
    /// Tokens of one client in a minute; further requests get 429. Default: 120.
    pub client_tokens_per_minute_max: u32,
    /// Signatures of assertions that are checked at a time; further ones wait. Default: half of the processors.
    pub checks_parallel: usize,
    /// The longest token or introspection request, in bytes. Default: 64 KiB.
    pub form_bytes_max: usize,
    /// How keys of clients are fetched.
    pub keys: KeySettings,
}

/// How the keys behind a URL are fetched and kept.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// The longest JWKS, in bytes. Default: 256 KiB.
    pub jwks_bytes_max: usize,
    /// How long a JWKS is kept whose answer had no `Cache-Control`, in seconds. Default: 300.
    pub cache_secs: u64,
    /// How long a JWKS is kept at most, whatever its `Cache-Control` says, in seconds. Default: one hour.
    pub cache_secs_max: u64,
    /// How long to wait until a kept JWKS is fetched again because a key was not in it, or because a fetch failed, in seconds.
    /// Default: 60.
    pub refetch_pause_secs: u64,
    /// URLs whose keys are kept at a time. Default: 1,000.
    pub urls_max: usize,
}

/// Which tokens of another authorization server are accepted.
#[derive(Debug, Clone)]
pub struct ExternalSettings {
    /// Its issuer identifier, exactly as it is in its tokens.
    pub issuer: String,
    /// What tokens must name as their audience. Default: the public FHIR base.
    pub audience: Option<String>,
    /// How a token is proved.
    pub proof: TokenProof,
    /// What clients may do of which nothing is registered here.
    pub unregistered: UnregisteredClients,
    /// By how much the issuer's clock may differ from this one's, in seconds. Default: 60.
    pub skew_secs: u64,
    /// Where clients get tokens, for them to be told. Default: what the issuer's metadata says.
    pub token_url: Option<Url>,
    /// How long what an introspection said is believed, in seconds; so long a token counts that the issuer has taken back. Default: 30.
    pub introspection_secs: u64,
    /// Tokens at a time of which is remembered what an introspection said. Default: 10,000.
    pub introspections_max: usize,
    /// How the issuer's keys and metadata are fetched.
    pub keys: KeySettings,
}

/// How a token of another authorization server is proved.
#[derive(Debug, Clone)]
pub enum TokenProof {
    /// By its signature, with keys from the `jwks_uri` of the issuer's metadata.
    Discovered,
    /// By its signature, with keys from this URL.
    Jwks(Url),
    /// By asking the issuer about it (RFC 7662).
    Introspection {
        /// Where to ask.
        url: Url,
        /// As whom.
        client_id: String,
        /// With which secret.
        secret: Secret,
    },
}

/// What clients of another authorization server may do of which nothing is registered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnregisteredClients {
    /// Nothing.
    #[default]
    Refuse,
    /// What their tokens say.
    Any,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl Default for SmartSettings {
    fn default() -> Self {
        Self {
            token_secs: 300,
            algorithms: Algorithm::DEFAULT.to_vec(),
            assertion_secs_max: 300,
            skew_secs: 60,
            used_assertions_max: 1_000_000,
            client_tokens_per_minute_max: 120,
            checks_parallel: available_parallelism().map_or(1, |processors| processors.get().div_ceil(2)),
            form_bytes_max: 64 << 10,
            keys: KeySettings::default(),
        }
    }
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            jwks_bytes_max: 256 << 10,
            cache_secs: 300,
            cache_secs_max: 60 * 60,
            refetch_pause_secs: 60,
            urls_max: 1_000,
        }
    }
}

impl ExternalSettings {
    /// Makes settings for an issuer that tells in its metadata where its keys are.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: None,
            proof: TokenProof::Discovered,
            unregistered: UnregisteredClients::Refuse,
            skew_secs: 60,
            token_url: None,
            introspection_secs: 30,
            introspections_max: 10_000,
            keys: KeySettings::default(),
        }
    }
}

impl AuthSettings {
    /// Whether everybody may do everything.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Smart(smart) => {
                if smart.token_secs > TOKEN_SECS_MAX {
                    return Err(refused(format!(
                        "access tokens live for {TOKEN_SECS_MAX} seconds at most"
                    )));
                }
                if smart.algorithms.is_empty() {
                    return Err(refused("clients may sign by no algorithm"));
                }
                at_least_one(&[
                    ("token_secs", smart.token_secs),
                    ("assertion_secs_max", smart.assertion_secs_max),
                    ("used_assertions_max", smart.used_assertions_max as u64),
                    ("form_bytes_max", smart.form_bytes_max as u64),
                ])?;
                smart.keys.check()
            }
            Self::External(external) => {
                if Url::parse(&external.issuer).is_err() {
                    return Err(refused("the issuer is no URL"));
                }
                external.keys.check()
            }
        }
    }
}

impl KeySettings {
    fn check(&self) -> Result<()> {
        at_least_one(&[
            ("jwks_bytes_max", self.jwks_bytes_max as u64),
            ("refetch_pause_secs", self.refetch_pause_secs),
            ("urls_max", self.urls_max as u64),
        ])
    }
}

fn at_least_one(limits: &[(&str, u64)]) -> Result<()> {
    match limits.iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(refused(format!("{name} is 0"))),
        None => Ok(()),
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::Settings, problem)
}
