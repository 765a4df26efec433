//! Where a server gives tokens: [`SmartConfiguration`].

use fhirhose_auth::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Http, name, parse};
use crate::metadata::Metadata;
use crate::{Error, ErrorKind, Result};

/// Bytes of a `smart-configuration` at most.
const CONFIGURATION_BYTES_MAX: usize = 256 << 10;
/// The extension of a CapabilityStatement that has the authorization server's URLs.
const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

/// What a server says of its authorization server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmartConfiguration {
    /// Where tokens are asked for. As the server wrote it, for assertions have it as their `aud`.
    pub token_url: String,
    /// The algorithms with which assertions may be signed; empty where the server does not say.
    pub algorithms: Vec<Algorithm>,
    /// The scopes that it knows of; empty where it does not say.
    pub scopes_supported: Vec<String>,
    /// What it can do, such as `permission-v2`; empty where it does not say.
    pub capabilities: Vec<String>,
}

/// The members of `smart-configuration` that are looked at.
#[derive(Deserialize)]
struct Document {
    token_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    capabilities: Vec<String>,
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
        let configuration = match found {
            Some(found) => found,
            None => Self {
                token_url: from_capabilities(http, base).await?,
                ..Self::default()
            },
        };
        parse(&configuration.token_url)?;
        Ok(configuration)
    }

    /// Whether it knows scopes of SMART 1 (`system/*.read`) and, as far as it says, none of SMART 2 (`system/*.rs`).
    pub fn speaks_scopes_v1_only(&self) -> bool {
        let can = |name: &str| self.capabilities.iter().any(|capability| capability == name);
        if can("permission-v1") || can("permission-v2") {
            return !can("permission-v2");
        }
        let actions = self.scopes_supported.iter().filter_map(|scope| {
            let action = scope.strip_prefix("system/")?.rsplit_once('.')?.1;
            Some(action.split('?').next().unwrap_or_default())
        });
        let of_v1 = |action: &str| matches!(action, "read" | "write" | "*");
        let mut actions = actions.peekable();
        actions.peek().is_some() && actions.all(of_v1)
    }
}

fn from_document(text: &[u8]) -> Option<SmartConfiguration> {
    let document: Document = serde_json::from_slice(text).ok()?;
    let names = document.token_endpoint_auth_signing_alg_values_supported;
    let algorithms = names.iter().filter_map(|name| Algorithm::parse(name)).collect();
    Some(SmartConfiguration {
        token_url: document.token_endpoint?,
        algorithms,
        scopes_supported: document.scopes_supported,
        capabilities: document.capabilities,
    })
}

async fn from_capabilities(http: &Http, base: &str) -> Result<String> {
    let base = parse(base)?;
    let metadata = Metadata::fetch(http, &base).await?;
    let found = token_uri(&metadata.statement).map(str::to_owned);
    found.ok_or_else(|| {
        let place = name(&base);
        let problem = format!(
            "{place} names no token endpoint, neither in its smart-configuration nor in its CapabilityStatement"
        );
        Error::new(ErrorKind::Protocol, problem)
    })
}

/// The token endpoint that a CapabilityStatement names.
pub(crate) fn token_uri(statement: &Value) -> Option<&str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_of_the_version_that_the_server_speaks_cl_01() {
        let of = |text: &str| from_document(text.as_bytes()).unwrap().speaks_scopes_v1_only();
        let with = |more: &str| {
            of(&format!(
                r#"{{"token_endpoint":"https://example.org/token",{more}}}"#
            ))
        };
        assert!(with(r#""scopes_supported":["system/*.read","offline_access"]"#));
        assert!(with(r#""capabilities":["permission-v1"],"scopes_supported":[]"#));
        assert!(!with(r#""capabilities":["permission-v1","permission-v2"]"#));
        assert!(!with(r#""scopes_supported":["system/*.read","system/*.rs"]"#));
        assert!(!with(r#""scopes_supported":["openid"]"#));
        assert!(!with(r#""capabilities":[]"#));
    }
}
