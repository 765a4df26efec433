//! Where a server gives tokens: [`SmartConfiguration`].

use fhirhose_auth::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Http, name, parse};
use crate::{Error, ErrorKind, Result};

/// Bytes of a `smart-configuration` at most.
const CONFIGURATION_BYTES_MAX: usize = 256 << 10;
/// Bytes of a CapabilityStatement at most; those of large servers have some megabytes.
const CAPABILITY_BYTES_MAX: usize = 16 << 20;
/// The extension of a CapabilityStatement that has the authorization server's URLs.
const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

/// What a server says of its authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmartConfiguration {
    /// Where tokens are asked for. As the server wrote it, for assertions have it as their `aud`.
    pub token_url: String,
    /// The algorithms with which assertions may be signed; empty where the server does not say.
    pub algorithms: Vec<Algorithm>,
}

/// The members of `smart-configuration` that are looked at.
#[derive(Deserialize)]
struct Document {
    token_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_signing_alg_values_supported: Vec<String>,
}

impl SmartConfiguration {
    /// Asks a FHIR server by its base URL: `.well-known/smart-configuration`, and where that does not give a token endpoint the
    /// CapabilityStatement (CL-01).
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when neither gives one, or what is given is no absolute URL; else as [`Http::fetch_small`].
    pub async fn discover(http: &Http, base: &str) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let url = format!("{base}/.well-known/smart-configuration");
        let found = match http
            .fetch_small(&url, "application/json", CONFIGURATION_BYTES_MAX)
            .await
        {
            Ok(document) => from_document(&document.bytes),
            // A server without that document may still have the other.
            Err(error) if error.kind() == ErrorKind::Refused => None,
            Err(error) => return Err(error),
        };
        let (token_url, algorithms) = match found {
            Some(found) => found,
            None => (from_capabilities(http, base).await?, Vec::new()),
        };
        parse(&token_url)?;
        Ok(Self {
            token_url,
            algorithms,
        })
    }
}

fn from_document(text: &[u8]) -> Option<(String, Vec<Algorithm>)> {
    let document: Document = serde_json::from_slice(text).ok()?;
    let names = document.token_endpoint_auth_signing_alg_values_supported;
    let algorithms = names.iter().filter_map(|name| Algorithm::parse(name)).collect();
    Some((document.token_endpoint?, algorithms))
}

async fn from_capabilities(http: &Http, base: &str) -> Result<String> {
    let url = format!("{base}/metadata");
    let statement = http
        .fetch_small(&url, "application/fhir+json", CAPABILITY_BYTES_MAX)
        .await?;
    let statement: Value = serde_json::from_slice(&statement.bytes).unwrap_or_default();
    let found = token_uri(&statement).map(str::to_owned);
    found.ok_or_else(|| {
        let place = parse(base).map(|base| name(&base)).unwrap_or_default();
        let problem = format!(
            "{place} names no token endpoint, neither in its smart-configuration nor in its CapabilityStatement"
        );
        Error::new(ErrorKind::Protocol, problem)
    })
}

fn token_uri(statement: &Value) -> Option<&str> {
    let rests = statement["rest"].as_array()?;
    rests.iter().find_map(|rest| {
        let uris = extension(&rest["security"], OAUTH_URIS)?;
        extension(uris, "token")?["valueUri"].as_str()
    })
}

fn extension<'a>(owner: &'a Value, url: &str) -> Option<&'a Value> {
    let extensions = owner["extension"].as_array()?;
    extensions.iter().find(|extension| extension["url"] == url)
}
