//! Who we say that we are: [`Credentials`].

use std::fmt;

use reqwest::header::HeaderValue;

use crate::clock::Clock;
use crate::smart::{Token, TokenSource};
use crate::{Error, ErrorKind, Result};

/// What goes along as `Authorization`. Its `Debug` shows no secret.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    /// A token that somebody else has got.
    Bearer(HeaderValue),
    Tokens(TokenSource),
}

/// What goes along with one request.
pub(super) struct Shown {
    pub(super) header: HeaderValue,
    /// The token, where another one can be had.
    pub(super) token: Option<Token>,
}

impl Credentials {
    pub(super) fn bearer(token: &str) -> Result<Self> {
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token {
            let problem = "the bearer token has characters that no header takes";
            return Err(Error::new(ErrorKind::Refused, problem));
        }
        Ok(Self::Bearer(header(token)?))
    }

    /// Gives what is to be shown now, after asking for a token where there is none that is good.
    pub(super) async fn shown(&self, clock: &dyn Clock) -> Result<Option<Shown>> {
        match self {
            Self::None => Ok(None),
            Self::Bearer(header) => Ok(Some(Shown {
                header: header.clone(),
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
            (Self::Tokens(tokens), Some(token)) => {
                tokens.forget(token).await;
                self.shown(clock).await
            }
            _ => Ok(None),
        }
    }
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
            Self::Tokens(_) => "Tokens",
        })
    }
}
