//! Which Data Provider a command speaks to, and as whom: [`ProviderUrl`] and [`ProviderArgs`], shared by all commands that do.

use crate::commands::say;
use crate::failure::usage;
use crate::operator_access::{is_confidential, variable};
use crate::secret::{Secret, SecretSource, parse_key, read_from};
use crate::typed::Typed;
use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_client::{
    DataProvider, Http, HttpSettings, PlainHttp, QuirkProfile, SmartConfiguration, SmartSettings, TokenGiver,
    TokenSource, roots_from_pem,
};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is asked for where nothing is said.
const SCOPE: &str = "system/*.rs";

/// The same of a server that is written to.
const SCOPE_WRITING: &str = "system/*.cruds";

/// The same in the words of SMART 1.
const SCOPE_V1: &str = "system/*.read";

/// Whether a text is a server and not a folder.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Whether a token endpoint is named; `none` says that there is none.
fn is_endpoint(token_url: Option<&str>) -> bool {
    token_url.is_some_and(|url| url != "none")
}

/// The server, for commands that speak to one.
#[derive(Debug, Args)]
pub(crate) struct ProviderUrl {
    /// FHIR base URL of the server [env: FHIRHOSE_FHIR_URL]
    #[arg(value_name = "URL")]
    url: Option<String>,

    /// The same as a flag
    #[arg(
        short = 'f',
        long,
        alias = "fhirUrl",
        value_name = "URL",
        conflicts_with = "url"
    )]
    fhir_url: Option<String>,
}

impl ProviderUrl {
    /// The FHIR base URL.
    pub(crate) fn base(&self) -> Result<String> {
        let given = self.url.clone().or_else(|| self.fhir_url.clone());
        // Read here and not by clap, to which a variable would contradict the flag.
        let base = match given {
            Some(url) => Some(url),
            None => variable("FHIRHOSE_FHIR_URL")?,
        };
        base.ok_or_else(|| usage("the FHIR base URL of the server is missing"))
    }
}

/// As whom a second server is spoken to: the target of a sync, the other side of a comparison. Nothing of what the first is shown goes to it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access to the second server")]
pub(crate) struct OtherProviderArgs {
    /// Id that the second server gave this client
    #[arg(long, env = "FHIRHOSE_OTHER_CLIENT_ID", value_name = "ID")]
    other_client_id: Option<String>,

    /// File with the private key for the second server; or the key itself in FHIRHOSE_OTHER_CLIENT_KEY_TEXT
    #[arg(long, env = "FHIRHOSE_OTHER_CLIENT_KEY", value_name = "FILE")]
    other_key: Option<PathBuf>,

    /// Token endpoint of the second server; `none` for one without authorization
    #[arg(long, env = "FHIRHOSE_OTHER_TOKEN_URL", value_name = "URL")]
    other_token_url: Option<String>,

    /// Scopes to ask the second server for
    #[arg(long, env = "FHIRHOSE_OTHER_SCOPE", value_name = "SCOPES")]
    other_scope: Option<String>,

    /// File with an access token for the second server, or the token itself in FHIRHOSE_OTHER_BEARER_TOKEN
    #[arg(long, env = "FHIRHOSE_OTHER_BEARER_TOKEN_FILE", value_name = "FILE")]
    other_bearer_token_file: Option<PathBuf>,
}

/// How a Data Provider is spoken to, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct ProviderArgs {
    /// Id that the server gave this client (SMART Backend Services); without one no token is asked for
    #[arg(
        long,
        alias = "smart-client-id",
        env = "FHIRHOSE_CLIENT_ID",
        value_name = "ID"
    )]
    client_id: Option<String>,

    /// File with the client's private key, PEM, JWK or JWKS; `-` is stdin; or the key itself in FHIRHOSE_CLIENT_KEY_TEXT
    #[arg(long, alias = "smart-key", env = "FHIRHOSE_CLIENT_KEY", value_name = "FILE")]
    key: Option<PathBuf>,

    /// Command that prints the private key
    #[arg(long, env = "FHIRHOSE_CLIENT_KEY_COMMAND", value_name = "COMMAND")]
    key_command: Option<String>,

    /// What the key is called in the client's JWKS [default: what a JWK says, else its thumbprint]
    #[arg(long, env = "FHIRHOSE_CLIENT_KID", value_name = "NAME")]
    kid: Option<String>,

    /// URL of the client's JWKS, where the server is to be told it
    #[arg(long, env = "FHIRHOSE_CLIENT_JKU", value_name = "URL")]
    jku: Option<String>,

    /// Token endpoint; `none` for a server without authorization [default: what the server's smart-configuration says]
    #[arg(long, alias = "tokenUrl", env = "FHIRHOSE_TOKEN_URL", value_name = "URL")]
    token_url: Option<String>,

    /// Scopes to ask for, parted by spaces [default: system/*.rs, or system/*.read of a server that knows no other]
    #[arg(long, env = "FHIRHOSE_SCOPE", value_name = "SCOPES")]
    scope: Option<String>,

    /// File with an access token that was got by other means, or the token itself in FHIRHOSE_BEARER_TOKEN; read again when the server
    /// refuses it
    #[arg(long, env = "FHIRHOSE_BEARER_TOKEN_FILE", value_name = "FILE")]
    bearer_token_file: Option<PathBuf>,

    /// Command that prints an access token; run again when the server refuses it
    #[arg(long, env = "FHIRHOSE_BEARER_TOKEN_COMMAND", value_name = "COMMAND")]
    bearer_token_command: Option<String>,

    /// Other server that tokens may go to, because files lie there that want one; may be given again
    #[arg(
        id = "trusted_file_origin",
        long = "trusted-file-origin",
        env = "FHIRHOSE_TRUSTED_FILE_ORIGIN",
        value_name = "URL",
        value_delimiter = ','
    )]
    trusted_file_origins: Vec<String>,

    /// Header that goes to this server with each request; may be given again
    #[arg(id = "header", long = "header", env = "FHIRHOSE_HEADER", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Asks for files as they are, and not compressed
    #[arg(long, env = "FHIRHOSE_NO_COMPRESSION")]
    no_compression: bool,

    /// Certificates (PEM) of authorities to trust besides those of the operating system
    #[arg(long, env = "FHIRHOSE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// How the server is taken: `auto` looks what it is, `standard` does nothing differently, else the name or the FILE of quirks
    /// (`fhirhose doctor --list-quirks`)
    #[arg(
        long,
        env = "FHIRHOSE_QUIRKS",
        default_value = "auto",
        value_name = "auto|NAME|FILE"
    )]
    quirks: String,

    /// How long a connection may take to be made, in seconds
    #[arg(long, env = "FHIRHOSE_CONNECT_TIMEOUT_SECS", default_value_t = 20, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    connect_timeout_secs: u64,

    /// How long the server may send nothing, in seconds; a kick-off can take minutes
    #[arg(long, env = "FHIRHOSE_READ_TIMEOUT_SECS", default_value_t = 300, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    read_timeout_secs: u64,

    /// Whether these are of a second server, whose secrets have variables of their own.
    #[arg(skip)]
    is_other: bool,

    /// The private key that stands in the settings file.
    #[arg(skip)]
    key_of_file: Option<Secret>,
}

impl OtherProviderArgs {
    /// All of them.
    pub(crate) const FLAGS: [&str; 5] = [
        "other_client_id",
        "other_key",
        "other_token_url",
        "other_scope",
        "other_bearer_token_file",
    ];

    /// Refuses what would be ignored without a client's id.
    pub(crate) fn check(&self, typed: &Typed) -> Result<()> {
        if self.other_client_id.is_some() {
            return Ok(());
        }
        let why = "wants the client's id beside it: --other-client-id";
        typed.refuse(&["other_key", "other_scope"], why)?;
        match is_endpoint(self.other_token_url.as_deref()) {
            true => typed.refuse(&["other_token_url"], why),
            false => Ok(()),
        }
    }
}

impl ProviderArgs {
    /// What a server is shown, and how it is taken.
    pub(crate) const IDENTITY: [&str; 12] = [
        "client_id",
        "key",
        "key_command",
        "kid",
        "jku",
        "token_url",
        "scope",
        "bearer_token_file",
        "bearer_token_command",
        "trusted_file_origin",
        "header",
        "quirks",
    ];

    /// How connections are made, to a second server too.
    pub(crate) const CONNECTION: [&str; 4] = [
        "no_compression",
        "ca",
        "connect_timeout_secs",
        "read_timeout_secs",
    ];

    /// Refuses what would be ignored without a client's id.
    pub(crate) fn check(&self, typed: &Typed) -> Result<()> {
        if self.client_id.is_some() {
            return Ok(());
        }
        let why = "wants the client's id beside it: --client-id";
        typed.refuse(&["key", "key_command", "kid", "jku", "scope"], why)?;
        match is_endpoint(self.token_url.as_deref()) {
            true => typed.refuse(&["token_url"], why),
            false => Ok(()),
        }
    }

    /// The same for a second server: how connections are made carries over, nothing that is shown to the first does.
    pub(crate) fn of_other(&self, other: &OtherProviderArgs) -> Self {
        Self {
            client_id: other.other_client_id.clone(),
            key: other.other_key.clone(),
            key_command: None,
            kid: None,
            jku: None,
            token_url: other.other_token_url.clone(),
            scope: other.other_scope.clone(),
            bearer_token_file: other.other_bearer_token_file.clone(),
            bearer_token_command: None,
            trusted_file_origins: Vec::new(),
            headers: Vec::new(),
            quirks: "auto".to_owned(),
            is_other: true,
            key_of_file: None,
            ..self.clone()
        }
    }

    /// Makes what speaks to the server; asks it where it gives tokens, if it is to give one, and what kind of server it is.
    pub(crate) async fn provider(&self, base: &str) -> Result<DataProvider> {
        let http = self.http(base)?;
        let tokens = self.tokens(&http, base).await?;
        let provider = self.speaking(&http, base, tokens)?;
        let provider = match self.quirks()? {
            Some(profile) => provider.with_quirks(profile.quirks().clone()),
            None => provider.discover_quirks().await,
        };
        let quirks = provider.quirks();
        if !quirks.is_standard() {
            // The flag is for the first server only.
            let way_out = match self.is_other {
                true => "",
                false => " (--quirks standard takes it as the standard says)",
            };
            say(&format!(
                "{base} is taken as a server of the kind `{}`{way_out}",
                quirks.name
            ));
        }
        Ok(provider)
    }

    /// The same for a server that is written to: unless told otherwise, the token is to allow that too.
    #[must_use]
    pub(crate) fn for_writing(mut self) -> Self {
        self.scope.get_or_insert_with(|| SCOPE_WRITING.to_owned());
        self
    }

    /// Takes the private key of the settings file, for where none is given.
    pub(crate) fn take_key(&mut self, key: Option<Secret>) {
        self.key_of_file = key;
    }

    /// Makes what speaks to the server as the standard says.
    pub(crate) fn speaking(
        &self,
        http: &Http,
        base: &str,
        tokens: Option<TokenSource>,
    ) -> Result<DataProvider> {
        let mut provider = DataProvider::new(http, base)?
            .with_headers(&self.headers)?
            .with_trusted_file_origins(&self.trusted_file_origins)?;
        if self.no_compression {
            provider = provider.without_compression();
        }
        match (self.bearers(base)?, tokens) {
            (Some(_), Some(_)) => Err(usage(
                "a token of one's own and a client's key are too much: name one",
            )),
            (Some(give), None) => Ok(provider.with_given_bearers(give)),
            (None, Some(tokens)) => Ok(provider.with_tokens(tokens)),
            (None, None) => Ok(provider),
        }
    }

    /// A flag as it is called for this server.
    fn flag(&self, name: &str) -> String {
        match self.is_other {
            true => format!("--other-{name}"),
            false => format!("--{name}"),
        }
    }

    /// Whether the user says as whom the server is asked.
    pub(crate) fn has_client(&self) -> bool {
        self.client_id.is_some()
    }

    /// The quirks that the user names; `None` where the server is looked at.
    pub(crate) fn quirks(&self) -> Result<Option<QuirkProfile>> {
        if self.quirks == "auto" {
            return Ok(None);
        }
        if let Some(known) = QuirkProfile::named(&self.quirks) {
            return Ok(Some(known.clone()));
        }
        let file = Path::new(&self.quirks);
        if !file.exists() {
            let known: Vec<&str> = QuirkProfile::known()
                .iter()
                .map(|profile| &*profile.name)
                .collect();
            let problem = format!(
                "`{}` is neither a file nor the name of quirks: auto, {}",
                self.quirks,
                known.join(", ")
            );
            return Err(usage(problem));
        }
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("reading {}", file.display()))?;
        Ok(Some(QuirkProfile::parse(&text)?))
    }

    /// Makes the connection. A server behind https never leads to plain http.
    pub(crate) fn http(&self, base: &str) -> Result<Http> {
        let plain_http = match base.starts_with("https:") {
            true => PlainHttp::Never,
            false => PlainHttp::Anywhere,
        };
        let mut settings = HttpSettings::for_provider();
        settings.connect_timeout_secs = self.connect_timeout_secs;
        settings.read_timeout_secs = self.read_timeout_secs;
        settings.policy.plain_http = plain_http;
        if let Some(file) = &self.ca {
            let reading = || format!("reading the authorities in {}", file.display());
            let pem = std::fs::read(file).with_context(reading)?;
            settings.extra_roots = roots_from_pem(&pem).with_context(reading)?;
        }
        Ok(Http::new(&settings)?)
    }

    /// Where tokens of other means come from.
    fn bearers(&self, base: &str) -> Result<Option<TokenGiver>> {
        let (file, command) = (self.bearer_token_file.clone(), self.bearer_token_command.clone());
        let variable = match self.is_other {
            true => "FHIRHOSE_OTHER_BEARER_TOKEN",
            false => "FHIRHOSE_BEARER_TOKEN",
        };
        let read = move || {
            let source = SecretSource {
                what: "access token",
                file: file.as_deref(),
                command: command.as_deref(),
                variable,
            };
            source.read()
        };
        // A file that is wrong is told at once, a command is run when its token is wanted.
        if self.bearer_token_command.is_none() && read()?.is_none() {
            return Ok(None);
        }
        if !is_confidential(base) {
            bail!("a token is sent over https only, or on this machine");
        }
        Ok(Some(Box::new(move || {
            let failed = |why: String| fhirhose_client::Error::new(fhirhose_client::ErrorKind::Refused, why);
            let secret = read().map_err(|error| failed(format!("{error:#}")))?;
            let secret = secret.ok_or_else(|| failed("there is no access token any more".to_owned()))?;
            Ok(secret.text().to_owned())
        })))
    }

    /// Where tokens come from; `None` for a server without authorization.
    pub(crate) async fn tokens(&self, http: &Http, base: &str) -> Result<Option<TokenSource>> {
        if self.token_url.as_deref() == Some("none") {
            return Ok(None);
        }
        let keys = self.keys()?;
        let Some(client_id) = &self.client_id else {
            if keys.is_empty() {
                return Ok(None);
            }
            let flag = self.flag("client-id");
            return Err(usage(format!("a key wants the client's id beside it: {flag}")));
        };
        if keys.is_empty() {
            let flag = self.flag("key");
            let problem = format!("a client id wants the client's private key beside it: {flag} FILE");
            return Err(usage(problem));
        }
        let configuration = match &self.token_url {
            Some(url) => SmartConfiguration {
                token_url: url.clone(),
                ..SmartConfiguration::default()
            },
            None => SmartConfiguration::discover(http, base).await?,
        };
        for url in [base, &configuration.token_url] {
            if !is_confidential(url) {
                bail!("tokens are fetched and sent over https only, or on this machine");
            }
        }
        let mut key = fitting(keys, &configuration.algorithms)?;
        if let Some(kid) = &self.kid {
            key = key.with_kid(kid);
        }
        let scope = match configuration.speaks_scopes_v1_only() {
            true => SCOPE_V1,
            false => SCOPE,
        };
        let settings = SmartSettings {
            client_id: client_id.clone(),
            key,
            jku: self.jku.clone(),
            scopes: self.scope.clone().unwrap_or_else(|| scope.to_owned()),
        };
        Ok(Some(TokenSource::at(http, &configuration.token_url, settings)?))
    }

    /// The client's private keys; several where a JWKS has so many.
    fn keys(&self) -> Result<Vec<SigningKey>> {
        let stdin = Path::new("-");
        let secret = match &self.key {
            Some(file) if file == stdin => Some(read_from("private key", file)?),
            file => SecretSource {
                what: "private key",
                file: file.as_deref(),
                command: self.key_command.as_deref(),
                variable: match self.is_other {
                    true => "FHIRHOSE_OTHER_CLIENT_KEY_TEXT",
                    false => "FHIRHOSE_CLIENT_KEY_TEXT",
                },
            }
            .read()?,
        };
        let Some(secret) = secret.as_ref().or(self.key_of_file.as_ref()) else {
            return Ok(Vec::new());
        };
        read_keys(secret.text()).context("reading the private key")
    }
}

/// Reads `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once(':')
        .map(|(name, value)| (name.trim(), value.trim()));
    match parts {
        Some((name, _)) if name.eq_ignore_ascii_case("authorization") => {
            Err("others could read it on the command line: use --bearer-token-file".to_owned())
        }
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is `Name: value`".to_owned()),
    }
}

/// Reads a PEM key, a JWK, or the private keys of a JWKS.
fn read_keys(text: &str) -> Result<Vec<SigningKey>> {
    // The error of what is no JSON shows nothing of it.
    let set: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(keys) = set["keys"].as_array() else {
        return Ok(vec![parse_key(text)?]);
    };
    let private = keys.iter().filter(|key| key["d"].is_string());
    let read: Vec<SigningKey> = private
        .map(|key| SigningKey::from_jwk(key.to_string().as_bytes()))
        .collect::<Result<_, _>>()?;
    if read.is_empty() {
        bail!("the JWKS has no private key");
    }
    Ok(read)
}

/// The first key that signs as the server wants it; as its `alg` says, else by another algorithm of its type.
fn fitting(keys: Vec<SigningKey>, algorithms: &[Algorithm]) -> Result<SigningKey> {
    let mut others = Vec::new();
    for key in keys {
        if algorithms.is_empty() || algorithms.contains(&key.algorithm()) {
            return Ok(key);
        }
        others.push(key);
    }
    for key in others {
        // A curve has one algorithm, RSA keys have two.
        let own = key.algorithm().key_type();
        let other = algorithms
            .iter()
            .find(|wanted| own == "RSA" && wanted.key_type() == own);
        if let Some(algorithm) = other {
            return Ok(key.with_algorithm(*algorithm)?);
        }
    }
    let names: Vec<&str> = algorithms.iter().map(|known| known.name()).collect();
    bail!(
        "the server takes signatures by {}, which no key makes",
        names.join(", ")
    )
}
