//! The flags of `serve` that say who may do what.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use fhirhose_auth::Algorithm;
use fhirhose_server::{
    AuthSettings, ExternalSettings, Secret, SmartSettings, TokenProof, UnregisteredClients,
};
use url::Url;

use crate::secret::SecretSource;

#[derive(Debug, Args)]
pub(super) struct Authorization {
    /// Who may do what
    #[arg(long, env = "FHIRHOSE_AUTH", value_enum, default_value_t = Auth::None)]
    auth: Auth,

    /// How long an access token lives, in seconds, 3600 at most [default: 300]
    #[arg(long, env = "FHIRHOSE_TOKEN_SECS", value_name = "SECONDS")]
    token_secs: Option<u64>,

    /// How clients may sign their assertions: RS384, ES384, RS256, ES256 [default: RS384,ES384]
    #[arg(
        long,
        env = "FHIRHOSE_ASSERTION_ALGORITHMS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    assertion_algorithms: Vec<Algorithm>,

    /// By how much the clocks of others may differ from this one's, in seconds [default: 60]
    #[arg(long, env = "FHIRHOSE_CLOCK_SKEW_SECS", value_name = "SECONDS")]
    clock_skew_secs: Option<u64>,

    /// The other authorization server, exactly as its tokens name it in `iss`; for --auth external
    #[arg(long, env = "FHIRHOSE_ISSUER", value_name = "URL")]
    issuer: Option<String>,

    /// Where the issuer's keys are [default: from its metadata]
    #[arg(long, env = "FHIRHOSE_ISSUER_JWKS_URL", value_name = "URL")]
    issuer_jwks_url: Option<Url>,

    /// Where the issuer is asked about each token, instead of checking its signature here
    #[arg(
        long,
        env = "FHIRHOSE_ISSUER_INTROSPECTION_URL",
        value_name = "URL",
        conflicts_with = "issuer_jwks_url",
        requires = "issuer_client_id"
    )]
    issuer_introspection_url: Option<Url>,

    /// As whom this server asks the issuer about tokens
    #[arg(
        long,
        env = "FHIRHOSE_ISSUER_CLIENT_ID",
        value_name = "ID",
        requires = "issuer_introspection_url"
    )]
    issuer_client_id: Option<String>,

    /// File with the secret of that client, or FHIRHOSE_ISSUER_SECRET in the environment
    #[arg(
        long,
        env = "FHIRHOSE_ISSUER_SECRET_FILE",
        value_name = "FILE",
        requires = "issuer_introspection_url"
    )]
    issuer_secret_file: Option<PathBuf>,

    /// Command line that prints the secret
    #[arg(
        long,
        env = "FHIRHOSE_ISSUER_SECRET_COMMAND",
        value_name = "COMMAND",
        requires = "issuer_introspection_url"
    )]
    issuer_secret_command: Option<String>,

    /// Where clients get tokens from the issuer, for them to be told [default: from its metadata]
    #[arg(long, env = "FHIRHOSE_ISSUER_TOKEN_URL", value_name = "URL")]
    issuer_token_url: Option<Url>,

    /// What the issuer's tokens must name in `aud` [default: the public FHIR base]
    #[arg(long, env = "FHIRHOSE_TOKEN_AUDIENCE", value_name = "TEXT")]
    token_audience: Option<String>,

    /// What clients of the issuer may do that are not registered here
    #[arg(long, env = "FHIRHOSE_EXTERNAL_CLIENTS", value_enum)]
    external_clients: Option<Clients>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Everybody on this machine may do everything; loopback only
    None,
    /// Registered clients, with tokens that this server gives (SMART Backend Services)
    Smart,
    /// Clients with tokens of another authorization server, see --issuer
    External,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clients {
    /// Nothing
    Refuse,
    /// What their tokens say
    Any,
}

impl Authorization {
    /// Makes the settings out of the flags; one that would mean nothing is refused.
    pub(super) fn settings(&self) -> Result<AuthSettings> {
        let given = self.given();
        let fitting: &[&str] = match self.auth {
            Auth::None => &[],
            Auth::Smart => &["--token-secs", "--assertion-algorithms", "--clock-skew-secs"],
            Auth::External => &[
                "--clock-skew-secs",
                "--issuer",
                "--token-audience",
                "--external-clients",
            ],
        };
        let fits = |name: &str| fitting.iter().any(|start| name.starts_with(start));
        if let Some(name) = given.into_iter().find(|name| !fits(name)) {
            bail!("{name} has no meaning with --auth {}", self.auth.name());
        }
        match self.auth {
            Auth::None => Ok(AuthSettings::None),
            Auth::Smart => Ok(AuthSettings::Smart(self.smart())),
            Auth::External => Ok(AuthSettings::External(Box::new(self.external()?))),
        }
    }

    /// The names of the flags that are given, `--auth` apart.
    fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("--token-secs", self.token_secs.is_some()),
            ("--assertion-algorithms", !self.assertion_algorithms.is_empty()),
            ("--clock-skew-secs", self.clock_skew_secs.is_some()),
            ("--issuer", self.issuer.is_some()),
            ("--issuer-jwks-url", self.issuer_jwks_url.is_some()),
            (
                "--issuer-introspection-url",
                self.issuer_introspection_url.is_some(),
            ),
            ("--issuer-token-url", self.issuer_token_url.is_some()),
            ("--token-audience", self.token_audience.is_some()),
            ("--external-clients", self.external_clients.is_some()),
        ];
        let given = flags.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }

    fn smart(&self) -> SmartSettings {
        let mut settings = SmartSettings::default();
        settings.token_secs = self.token_secs.unwrap_or(settings.token_secs);
        settings.skew_secs = self.clock_skew_secs.unwrap_or(settings.skew_secs);
        if !self.assertion_algorithms.is_empty() {
            settings.algorithms.clone_from(&self.assertion_algorithms);
        }
        settings
    }

    fn external(&self) -> Result<ExternalSettings> {
        let issuer = self
            .issuer
            .clone()
            .context("--auth external needs --issuer, the authorization server whose tokens are accepted")?;
        let mut settings = ExternalSettings::new(issuer);
        settings.audience.clone_from(&self.token_audience);
        settings.token_url.clone_from(&self.issuer_token_url);
        settings.skew_secs = self.clock_skew_secs.unwrap_or(settings.skew_secs);
        settings.proof = self.proof()?;
        settings.unregistered = match self.external_clients {
            Some(Clients::Any) => UnregisteredClients::Any,
            Some(Clients::Refuse) | None => UnregisteredClients::Refuse,
        };
        Ok(settings)
    }

    fn proof(&self) -> Result<TokenProof> {
        if let Some(url) = &self.issuer_jwks_url {
            return Ok(TokenProof::Jwks(url.clone()));
        }
        let Some(url) = &self.issuer_introspection_url else {
            return Ok(TokenProof::Discovered);
        };
        let source = SecretSource {
            what: "issuer's secret",
            file: self.issuer_secret_file.as_deref(),
            command: self.issuer_secret_command.as_deref(),
            variable: "FHIRHOSE_ISSUER_SECRET",
        };
        let (Some(client_id), Some(secret)) = (&self.issuer_client_id, source.read()?) else {
            bail!("--issuer-introspection-url needs --issuer-client-id and --issuer-secret-file");
        };
        Ok(TokenProof::Introspection {
            url: url.clone(),
            client_id: client_id.clone(),
            secret: Secret(secret.text().to_owned()),
        })
    }
}

impl Auth {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Smart => "smart",
            Self::External => "external",
        }
    }
}
