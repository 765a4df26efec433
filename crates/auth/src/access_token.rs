//! What a client shows with each request: [`AccessToken`], issued by us or by another authorization server.

use std::fmt;

use fhirhose_fhir::instant::Instant;
use serde_json::json;

use crate::claims::{Claims, Times, numeric_date};
use crate::{Algorithm, ClaimFault, Jwks, Jws, JwsFault, KeyFault, ScopeFault, Scopes, SigningKey};

/// `typ` of access tokens (RFC 9068).
const ACCESS_TOKEN: &str = "at+jwt";

/// Why an access token is refused. The texts quote nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is no signed text, or its signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsFault),
    /// A claim is missing, malformed or says that it is too early or too late.
    #[error(transparent)]
    Claim(#[from] ClaimFault),
    /// There is no one key for it.
    #[error("the token's key is not known: {0}")]
    Key(KeyFault),
    /// It says that it is something else, such as an assertion.
    #[error("the JWT is not an access token")]
    Type,
    /// It names no key.
    #[error("the token's header has no `kid`")]
    NoKeyId,
    /// Its algorithm is not one that is accepted here.
    #[error("the token's `alg` is not accepted here")]
    Algorithm,
    /// Somebody else issued it.
    #[error("the token is from another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another server")]
    Audience,
    /// Its scopes cannot be read.
    #[error("the token's scopes cannot be read: {0}")]
    Scopes(ScopeFault),
}

/// Who issues the tokens, which decides how exactly they are held to our form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenProfile {
    /// We: `typ` is `at+jwt`, and each claim is as [`AccessToken::issue`] writes it.
    Own,
    /// Another authorization server: `typ` may be `JWT` or missing, scopes may be in `scope` or `scp` and those that mean nothing here are
    /// left out, the client is `client_id`, `azp` or `sub`, and `jti` may be missing.
    External,
}

/// What a token is held to.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// `iss`, character by character.
    pub issuer: String,
    /// What `aud` has to be or to have, character by character.
    pub audience: String,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// How far the clocks may differ, in seconds; 0 for tokens of our own clock.
    pub skew_secs: u64,
    /// Who issues.
    pub profile: TokenProfile,
}

/// An access token: who may do what until when.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Who issued it.
    pub issuer: String,
    /// The client to which it was issued.
    pub client: String,
    /// What it may do. May be empty for a token of another issuer.
    pub scopes: Scopes,
    /// For whom it is.
    pub audience: String,
    /// When it was issued.
    pub issued: Instant,
    /// When it ends.
    pub expires: Instant,
    /// Its own id; empty where another issuer gave none.
    pub id: String,
}

impl AccessToken {
    /// Signs the token (RFC 9068).
    ///
    /// Instants are written to the microsecond, so that a client's `tokens_from` parts tokens of one second.
    ///
    /// # Errors
    /// [`KeyFault::Unusable`] if the key does not sign.
    pub fn issue(&self, key: &SigningKey) -> Result<String, KeyFault> {
        let claims = json!({
            "iss": self.issuer,
            "sub": self.client,
            "client_id": self.client,
            "aud": self.audience,
            "scope": self.scopes,
            "iat": numeric_date(self.issued),
            "exp": numeric_date(self.expires),
            "jti": self.id,
        });
        key.sign(ACCESS_TOKEN, &[], &claims)
    }

    /// Reads a token and holds it to everything: signature, type, issuer, audience, times.
    ///
    /// What it does not know: whether the client is still registered.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub fn verify(text: &str, keys: &Jwks, rules: &TokenRules, now: Instant) -> Result<Self, TokenFault> {
        let jws = Jws::parse(text)?;
        check_type(jws.typ(), rules.profile)?;
        if !rules.algorithms.contains(&jws.algorithm()) {
            return Err(TokenFault::Algorithm);
        }
        let kid = jws.kid().ok_or(TokenFault::NoKeyId)?;
        let key = keys.choose(kid, jws.algorithm()).map_err(TokenFault::Key)?;
        jws.verify(key)?;
        let claims = Claims::parse(jws.payload())?;
        if claims.needed("iss")? != rules.issuer {
            return Err(TokenFault::Issuer);
        }
        let audiences = claims.texts("aud")?.ok_or(ClaimFault::Missing("aud"))?;
        if !audiences.contains(&rules.audience.as_str()) {
            return Err(TokenFault::Audience);
        }
        let times = Times::read(&claims)?;
        times.check(now, rules.skew_secs)?;
        let (client, scopes, id) = match rules.profile {
            TokenProfile::Own => own(&claims)?,
            TokenProfile::External => external(&claims)?,
        };
        Ok(Self {
            issuer: rules.issuer.clone(),
            client,
            scopes,
            audience: rules.audience.clone(),
            issued: times.issued.ok_or(ClaimFault::Missing("iat"))?,
            expires: times.expires,
            id,
        })
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AccessToken")
            .field("client", &self.client)
            .field("scopes", &self.scopes)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn check_type(typ: Option<&str>, profile: TokenProfile) -> Result<(), TokenFault> {
    let is = |known: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(known));
    let is_token = is(ACCESS_TOKEN) || is("application/at+jwt");
    let is_lenient = profile == TokenProfile::External && (typ.is_none() || is("JWT"));
    (is_token || is_lenient).then_some(()).ok_or(TokenFault::Type)
}

/// Client, scopes and id of a token of ours.
fn own(claims: &Claims) -> Result<(String, Scopes, String), TokenFault> {
    let client = claims.needed("client_id")?;
    if claims.needed("sub")? != client {
        return Err(ClaimFault::Malformed("sub").into());
    }
    let scopes = Scopes::parse(claims.needed("scope")?).map_err(TokenFault::Scopes)?;
    Ok((client.to_owned(), scopes, claims.needed("jti")?.to_owned()))
}

/// Client, scopes and id of a token of another issuer.
fn external(claims: &Claims) -> Result<(String, Scopes, String), TokenFault> {
    let mut client = None;
    for name in ["client_id", "azp", "sub"] {
        if client.is_none() {
            client = claims.text(name)?;
        }
    }
    let client = client.ok_or(ClaimFault::Missing("client_id"))?;
    let texts = match claims.texts("scope")? {
        Some(texts) => texts,
        None => claims.texts("scp")?.ok_or(ClaimFault::Missing("scope"))?,
    };
    // Such a server has scopes for others too, such as `openid`; what means nothing here grants nothing here.
    let scopes = Scopes::parse_known(&texts.join(" "));
    let id = claims.text("jti")?.unwrap_or_default();
    Ok((client.to_owned(), scopes, id.to_owned()))
}
