//! Who we say that we are: [`Credentials`].

use std::fmt;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::smart::{Token, TokenSource};
use crate::{Error, ErrorKind, Result};

/// What goes along as `Authorization`. Its `Debug` shows no secret.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    /// A token that somebody else has got.
    Bearer(HeaderValue),
    /// Tokens that somebody else gets, whenever one is asked for.
    Given(Arc<Given>),
    Tokens(TokenSource),
}

/// Gives a token that somebody else has got: what a file holds or a command prints. It may block. It is asked again when the server has
/// refused the last one.
pub type TokenGiver = Box<dyn Fn() -> Result<String> + Send + Sync>;

pub(super) struct Given {
    give: TokenGiver,
    /// The last one. Held while one is asked for, so that many who wait ask once.
    last: Mutex<Option<HeaderValue>>,
}

/// What goes along with one request.
pub(super) struct Shown {
    pub(super) header: HeaderValue,
    /// The token, where another one can be had.
    pub(super) token: Option<Token>,
}

impl Credentials {
    pub(super) fn bearer(token: &str) -> Result<Self> {
        Ok(Self::Bearer(checked(token)?))
    }

    pub(super) fn given(give: TokenGiver) -> Self {
        let last = Mutex::new(None);
        Self::Given(Arc::new(Given { give, last }))
    }

    /// Gives what is to be shown now, after asking for a token where there is none that is good.
    pub(super) async fn shown(&self, clock: &dyn Clock) -> Result<Option<Shown>> {
        match self {
            Self::None => Ok(None),
            Self::Bearer(header) => Ok(Some(Shown {
                header: header.clone(),
                token: None,
            })),
            Self::Given(given) => Ok(Some(Shown {
                header: Given::token(given).await?,
                token: None,
            })),
            Self::Tokens(tokens) => {
                let token = tokens.token_by(clock).await?;
                Ok(Some(Shown {
                    header: header(token.as_str())?,
                    token: Some(token),
                }))
            }
        }
    }

    /// Gives another one after the server has refused this one, if there can be another (CL-02).
    pub(super) async fn renewed(&self, refused: &Shown, clock: &dyn Clock) -> Result<Option<Shown>> {
        match (self, &refused.token) {
            (Self::Given(given), _) => {
                let mut last = given.last.lock().await;
                if last.as_ref() == Some(&refused.header) {
                    *last = None;
                }
                drop(last);
                self.shown(clock).await
            }
            (Self::Tokens(tokens), Some(token)) => {
                tokens.forget(token).await;
                self.shown(clock).await
            }
            _ => Ok(None),
        }
    }
}

impl Given {
    async fn token(given: &Arc<Self>) -> Result<HeaderValue> {
        let mut last = given.last.lock().await;
        if let Some(header) = last.as_ref() {
            return Ok(header.clone());
        }
        let asked = Arc::clone(given);
        let token = tokio::task::spawn_blocking(move || (asked.give)()).await;
        let token = token.map_err(|source| {
            Error::new(ErrorKind::Refused, "a thread that gets a token has ended").caused_by(source)
        })??;
        let header = checked(&token)?;
        *last = Some(header.clone());
        Ok(header)
    }
}

/// Takes a token of others, if it is one.
fn checked(token: &str) -> Result<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token {
        let problem = "the bearer token has characters that no header takes";
        return Err(Error::new(ErrorKind::Refused, problem));
    }
    header(token)
}

fn header(token: &str) -> Result<HeaderValue> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| Error::new(ErrorKind::Refused, "a token that no header takes"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer",
            Self::Given(_) => "Given",
            Self::Tokens(_) => "Tokens",
        })
    }
}
