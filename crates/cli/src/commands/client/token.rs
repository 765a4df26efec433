//! `fhirhose client token`.

use crate::commands::{print, say};
use crate::operator_access::{is_confidential, own_http};
use crate::secret::read_signing_key;
use anyhow::{Context, Result, bail};
use clap::Args;
use fhirhose_auth::{Algorithm, AssertionClaims, ClientId, SigningKey, random_id};
use fhirhose_client::{SmartSettings, TokenSource};
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Clock, SystemClock};
use std::path::PathBuf;

/// Fetches an access token as a client, or signs the assertion for one; prints nothing else on stdout
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose client token --token-url https://example.org/auth/token --client-id my-app --key keys/private-key.pem \\
    --scope 'system/Patient.rs system/Group.rs' > token
  assertion=$(fhirhose client token --assertion-only --token-url https://example.org/auth/token \\
    --client-id my-app --key keys/private-key.pem)")]
pub(crate) struct Token {
    /// The token endpoint, which the server's .well-known/smart-configuration names
    #[arg(long, env = "FHIRHOSE_TOKEN_URL", value_name = "URL")]
    token_url: String,

    /// The id that the client was registered with
    #[arg(long, env = "FHIRHOSE_CLIENT_ID", value_name = "ID")]
    client_id: ClientId,

    /// A file with the client's private key, PEM or JWK; `-` is stdin
    #[arg(long, env = "FHIRHOSE_CLIENT_KEY", value_name = "FILE")]
    key: PathBuf,

    /// What the key is called in the client's JWKS [default: what a JWK says, else its thumbprint]
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,

    /// How to sign: ES384, RS384, ES256 or RS256 [default: what the key is for]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<Algorithm>,

    /// The URL of the client's JWKS, where the server is to be told it; the one that is registered
    #[arg(long, value_name = "URL")]
    jku: Option<String>,

    /// Scopes to ask for, parted by spaces
    #[arg(
        long,
        value_name = "SCOPES",
        required_unless_present = "assertion_only",
        conflicts_with = "assertion_only"
    )]
    scope: Option<String>,

    /// Prints the signed assertion, for a token request by other means; it is good for one request
    #[arg(long)]
    assertion_only: bool,

    /// How long the assertion is good for, in seconds
    #[arg(
        long,
        default_value_t = 300,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=300),
        requires = "assertion_only"
    )]
    lifetime_secs: u64,
}

impl Token {
    pub(super) async fn run(self) -> Result<()> {
        let key = self.signing_key()?;
        let Some(scope) = self.scope else {
            return print(&format!("{}\n", self.assertion(&key)?));
        };
        if !is_confidential(&self.token_url) {
            bail!("tokens are fetched over https only, or from this machine");
        }
        let settings = SmartSettings {
            client_id: self.client_id.to_string(),
            key,
            jku: self.jku,
            scopes: scope,
        };
        let source = TokenSource::at(&own_http()?, &self.token_url, settings)?;
        let token = source.token().await?;
        say(&format!("granted: {}", token.scope_text()));
        print(&format!("{}\n", token.as_str()))
    }

    fn assertion(&self, key: &SigningKey) -> Result<String> {
        let claims = AssertionClaims {
            client_id: self.client_id.as_str(),
            audience: &self.token_url,
            jku: self.jku.as_deref(),
            jti: &random_id()?,
            now: Instant::from_micros(SystemClock.now().as_micros()),
            lifetime_secs: self.lifetime_secs,
        };
        Ok(key.assertion(&claims)?)
    }

    fn signing_key(&self) -> Result<SigningKey> {
        let mut key = read_signing_key("private key", &self.key)?;
        if let Some(kid) = &self.kid {
            key = key.with_kid(kid);
        }
        if let Some(algorithm) = self.algorithm {
            key = key.with_algorithm(algorithm).context("choosing how to sign")?;
        }
        Ok(key)
    }
}
