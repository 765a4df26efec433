//! Tokens: [`TokenSource`] asks for one, keeps it while it is good, and asks anew.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_auth::{AssertionClaims, Scopes, SigningKey, random_id};
use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use url::Url;

use crate::clock::{Clock, SystemClock};
use crate::http::{Http, name, parse};
use crate::smart::SmartConfiguration;
use crate::{Error, ErrorKind, Result};

/// How long assertions are good, in seconds: enough for clocks that differ, and no longer than SMART allows.
const ASSERTION_SECS: u64 = 240;
/// How long before its end a token is not used any more; of tokens that live for less than a minute, half of their time.
const MARGIN: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Characters of the server's own words that go into an error.
const WORDS_CHARS_MAX: usize = 200;

/// Who asks for tokens, and for what.
#[derive(Debug)]
pub struct SmartSettings {
    /// The client's id, as the server gave it.
    pub client_id: String,
    /// The client's private key.
    pub key: SigningKey,
    /// Where the client's public keys are, if it was registered with a URL and the server wants to hear it.
    pub jku: Option<String>,
    /// The scopes that are asked for, parted by spaces.
    pub scopes: String,
}

/// A token with what it is good for. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    scopes: String,
    since: Instant,
    until: Instant,
}

impl Token {
    /// The token itself, for `Authorization: Bearer`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What was granted, in the server's words: may be less than was asked for (CL-03).
    pub fn scope_text(&self) -> &str {
        &self.scopes
    }

    /// What was granted, as far as it is known here.
    pub fn scopes(&self) -> Scopes {
        Scopes::parse_known(&self.scopes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Token")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Gives the token for the next request; clones share it.
#[derive(Debug, Clone)]
pub struct TokenSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    token_url: Url,
    /// The URL as the server writes it, which another spelling would not be.
    audience: String,
    settings: SmartSettings,
    /// The last token. Held while one is asked for, so that many who wait ask once.
    last: Mutex<Option<Token>>,
}

/// The answer of a token endpoint.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<f64>,
    scope: Option<String>,
}

/// A refusal of a token endpoint.
#[derive(Deserialize)]
struct OAuthError {
    error: String,
    error_description: Option<String>,
}

impl TokenSource {
    /// Asks a FHIR server where it gives tokens. Asks for none yet.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] if the server takes no assertions signed as the key signs; else as [`SmartConfiguration::discover`].
    pub async fn discover(http: &Http, base: &str, settings: SmartSettings) -> Result<Self> {
        let configuration = SmartConfiguration::discover(http, base).await?;
        let (known, own) = (&configuration.algorithms, settings.key.algorithm());
        if !known.is_empty() && !known.contains(&own) {
            let names: Vec<&str> = known.iter().map(|known| known.name()).collect();
            let problem = format!(
                "the server takes signatures by {}, the key signs by {own}",
                names.join(", ")
            );
            return Err(Error::new(ErrorKind::Refused, problem));
        }
        Self::at(http, &configuration.token_url, settings)
    }

    /// Asks for tokens at this URL.
    ///
    /// # Errors
    /// [`ErrorKind::Url`].
    pub fn at(http: &Http, token_url: &str, settings: SmartSettings) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            http: http.clone(),
            token_url: parse(token_url)?,
            audience: token_url.to_owned(),
            settings,
            last: Mutex::new(None),
        })))
    }

    /// The scopes that are asked for.
    pub fn scopes_asked(&self) -> &str {
        &self.0.settings.scopes
    }

    /// Gives a token that is good for half a minute at least, unless the server's live for less than a minute: the last one, or a new one
    /// (CL-02).
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] or [`ErrorKind::Busy`] with the server's own words, [`ErrorKind::Protocol`] for an answer that is no token;
    /// else as [`Http::fetch_small`].
    pub async fn token(&self) -> Result<Token> {
        self.token_by(&SystemClock).await
    }

    /// Does as [`token`](Self::token), by this clock.
    pub(crate) async fn token_by(&self, clock: &dyn Clock) -> Result<Token> {
        let mut last = self.0.last.lock().await;
        let now = clock.now();
        // One that is said to come from the future was got before the clock was set back: nobody knows how old it is.
        if let Some(token) = last
            .as_ref()
            .filter(|token| (token.since..token.until).contains(&now))
        {
            return Ok(token.clone());
        }
        let token = self.0.ask(now).await?;
        *last = Some(token.clone());
        Ok(token)
    }

    /// Forgets a token that a server has refused, so that the next one is new. One that was given since stays (CL-02).
    pub async fn forget(&self, refused: &Token) {
        let mut last = self.0.last.lock().await;
        if last.as_ref() == Some(refused) {
            *last = None;
        }
    }
}

impl Inner {
    /// Asks for a token with an assertion that is used this once.
    async fn ask(&self, now: Instant) -> Result<Token> {
        let form = self.form(now)?;
        let place = name(&self.token_url);
        let (status, body) = self
            .http
            .ask_by_form(&self.token_url, form, ANSWER_BYTES_MAX)
            .await?;
        if !status.is_success() {
            let busy = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            let kind = if busy { ErrorKind::Busy } else { ErrorKind::Refused };
            return Err(Error::new(
                kind,
                format!("{place} answers {status}{}", words(&body)),
            ));
        }
        // What is wrong with the answer is told without its text, for a token may be in it.
        let wrong = |why: &str| Error::new(ErrorKind::Protocol, format!("{place}: {why}"));
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| wrong("the answer is no token"))?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(wrong("the token is not a bearer token"));
        }
        let is_token = |byte: u8| byte.is_ascii_graphic();
        if answer.access_token.is_empty() || !answer.access_token.bytes().all(is_token) {
            return Err(wrong("the token has characters that no header takes"));
        }
        let life = answer.expires_in.unwrap_or_default();
        let life = Duration::try_from_secs_f64(life.clamp(0.0, 86_400.0)).unwrap_or_default();
        Ok(Token {
            text: answer.access_token,
            // RFC 6749: left out where it is what was asked for.
            scopes: answer.scope.unwrap_or_else(|| self.settings.scopes.clone()),
            since: now,
            until: now.after(life.saturating_sub(MARGIN.min(life / 2))),
        })
    }

    /// The form of a request.
    fn form(&self, now: Instant) -> Result<String> {
        let unusable = |fault| Error::new(ErrorKind::Disk, "signing an assertion").caused_by(fault);
        let settings = &self.settings;
        let jti = random_id().map_err(unusable)?;
        let claims = AssertionClaims {
            client_id: &settings.client_id,
            audience: &self.audience,
            jku: settings.jku.as_deref(),
            jti: &jti,
            now,
            lifetime_secs: ASSERTION_SECS,
        };
        let assertion = settings.key.assertion(&claims).map_err(unusable)?;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials")
            .append_pair("scope", &settings.scopes)
            .append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .append_pair("client_assertion", &assertion);
        Ok(form.finish())
    }
}

/// A number or, as some servers write it (BCDA), a text that is one.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Number(f64),
        Text(String),
    }
    match Option::<Seconds>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Seconds::Number(seconds)) => Ok(Some(seconds)),
        Some(Seconds::Text(text)) => match text.trim().parse::<u32>() {
            Ok(seconds) => Ok(Some(f64::from(seconds))),
            Err(_) => Err(serde::de::Error::custom("a text that is no number of seconds")),
        },
    }
}

/// The server's own words, as far as they can be shown: no long words, for one might be the assertion sent back.
fn words(body: &[u8]) -> String {
    let Ok(said) = serde_json::from_slice::<OAuthError>(body) else {
        return String::new();
    };
    let is_shown = |text: &str| {
        let is_plain = text.split_whitespace().all(|word| word.len() <= 64);
        is_plain && !text.chars().any(char::is_control)
    };
    let mut words = String::new();
    for text in [Some(said.error), said.error_description].into_iter().flatten() {
        if is_shown(&text) {
            words.push_str(": ");
            words.extend(text.chars().take(WORDS_CHARS_MAX));
        }
    }
    words
}
