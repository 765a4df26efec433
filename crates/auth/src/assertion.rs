//! A client's proof of who it is: [`Assertion`], read and checked by the server, and [`AssertionClaims`], signed by the client.

use std::fmt;

use fhirhose_fhir::instant::Instant;
use serde_json::json;

use crate::claims::{Claims, Times, after, whole_seconds};
use crate::{Algorithm, ClaimFault, Jws, JwsFault, KeyFault, SigningKey, VerifyingKey};

/// Characters of an assertion's `jti` at most.
pub const ASSERTION_ID_CHARS_MAX: usize = 256;

/// Why an assertion is refused. The texts quote nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    /// It is no signed text, or its signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsFault),
    /// A claim is missing, malformed or says that it is too early or too late.
    #[error(transparent)]
    Claim(#[from] ClaimFault),
    /// It says that it is something else, such as an access token.
    #[error("the assertion's `typ` is not `JWT`")]
    Type,
    /// It names no key.
    #[error("the assertion's header has no `kid`")]
    NoKeyId,
    /// `iss` and `sub` differ.
    #[error("the assertion's `iss` and `sub` are not the same; both are the client's id")]
    Subject,
    /// It is for somebody else.
    #[error("the assertion's `aud` is not the URL of this token endpoint")]
    Audience,
    /// It is good for longer than assertions may be.
    #[error("the assertion's `exp` is too far ahead; five minutes are the most")]
    Lifetime,
    /// Its algorithm is not one that is accepted here.
    #[error("the assertion's `alg` is not accepted here")]
    Algorithm,
}

/// What an assertion is held to.
#[derive(Debug, Clone)]
pub struct AssertionRules {
    /// The names of the token endpoint: `aud` has to have one of them, character by character.
    pub audiences: Vec<String>,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// How far ahead `exp` may be, in seconds.
    pub lifetime_secs_max: u64,
    /// How far the clocks may differ, in seconds.
    pub skew_secs: u64,
}

impl AssertionRules {
    /// The rules of SMART for a token endpoint: RS384 and ES384, five minutes, and a minute between the clocks.
    pub fn smart(token_url: impl Into<String>) -> Self {
        Self {
            audiences: vec![token_url.into()],
            algorithms: Algorithm::DEFAULT.to_vec(),
            lifetime_secs_max: 300,
            skew_secs: 60,
        }
    }
}

/// A client's assertion (RFC 7523, SMART): read, and neither verified nor checked before [`Assertion::verify`] and [`Assertion::check`].
pub struct Assertion<'a> {
    jws: Jws<'a>,
    kid: String,
    client_id: String,
    audiences: Vec<String>,
    jti: String,
    times: Times,
}

impl<'a> Assertion<'a> {
    /// Reads an assertion with all that it has to have.
    ///
    /// A missing `typ` is let pass; another one than `JWT` is not, for then it was signed to be something else.
    ///
    /// # Errors
    /// See [`AssertionFault`].
    pub fn parse(text: &'a str) -> Result<Self, AssertionFault> {
        let jws = Jws::parse(text)?;
        if jws.typ().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(AssertionFault::Type);
        }
        let kid = jws.kid().ok_or(AssertionFault::NoKeyId)?.to_owned();
        let claims = Claims::parse(jws.payload())?;
        let client_id = claims.needed("iss")?.to_owned();
        if claims.needed("sub")? != client_id {
            return Err(AssertionFault::Subject);
        }
        let audiences = claims.texts("aud")?.ok_or(ClaimFault::Missing("aud"))?;
        let audiences = audiences.into_iter().map(str::to_owned).collect();
        let times = Times::read(&claims)?;
        let jti = claims.needed("jti")?;
        if jti.chars().count() > ASSERTION_ID_CHARS_MAX {
            return Err(ClaimFault::Malformed("jti").into());
        }
        let jti = jti.to_owned();
        Ok(Self {
            jws,
            kid,
            client_id,
            audiences,
            jti,
            times,
        })
    }

    /// The client that it says it is from: `iss` and `sub`. True only once it is verified with a key of that client.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The id of the key that signed it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Where it says that its key is.
    pub fn jku(&self) -> Option<&str> {
        self.jws.jku()
    }

    /// How it is signed.
    pub fn algorithm(&self) -> Algorithm {
        self.jws.algorithm()
    }

    /// Its own id, which no other of its client may have.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// When it ends.
    pub fn expires(&self) -> Instant {
        self.times.expires
    }

    /// Holds everything but the signature to the rules.
    ///
    /// # Errors
    /// See [`AssertionFault`].
    pub fn check(&self, rules: &AssertionRules, now: Instant) -> Result<(), AssertionFault> {
        if !rules.algorithms.contains(&self.algorithm()) {
            return Err(AssertionFault::Algorithm);
        }
        if !self.audiences.iter().any(|own| rules.audiences.contains(own)) {
            return Err(AssertionFault::Audience);
        }
        self.times.check(now, rules.skew_secs)?;
        let latest = after(after(now, rules.lifetime_secs_max), rules.skew_secs);
        if self.times.expires > latest {
            return Err(AssertionFault::Lifetime);
        }
        Ok(())
    }

    /// Verifies the signature with a key of the client.
    ///
    /// # Errors
    /// See [`Jws::verify`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), AssertionFault> {
        Ok(self.jws.verify(key)?)
    }
}

impl fmt::Debug for Assertion<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Assertion")
            .field("jws", &self.jws)
            .finish_non_exhaustive()
    }
}

/// What a client says in an assertion.
#[derive(Debug, Clone, Copy)]
pub struct AssertionClaims<'a> {
    /// Its id, as it was given at registration.
    pub client_id: &'a str,
    /// The URL of the token endpoint.
    pub audience: &'a str,
    /// Where its keys are, if the server is to be told.
    pub jku: Option<&'a str>,
    /// The assertion's own id, never used before.
    pub jti: &'a str,
    /// The time.
    pub now: Instant,
    /// For how long it is good, in seconds: 300 at most.
    pub lifetime_secs: u64,
}

impl SigningKey {
    /// Signs an assertion.
    ///
    /// # Errors
    /// [`KeyFault::Unusable`] if the key does not sign.
    pub fn assertion(&self, claims: &AssertionClaims<'_>) -> Result<String, KeyFault> {
        let body = json!({
            "iss": claims.client_id,
            "sub": claims.client_id,
            "aud": claims.audience,
            "iat": whole_seconds(claims.now),
            "exp": whole_seconds(after(claims.now, claims.lifetime_secs)),
            "jti": claims.jti,
        });
        let jku = claims.jku.map(|jku| ("jku", jku));
        self.sign("JWT", jku.as_slice(), &body)
    }
}
