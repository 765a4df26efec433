//! Where things are: [`Endpoints`], all made of the public base URL.

use url::Url;

/// The URLs of the authorization server and of the FHIR server that it guards.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    base_url: String,
    origin: String,
}

impl Endpoints {
    /// Makes them out of the public FHIR base, which has no slash at the end.
    pub(crate) fn of(base_url: &str) -> Self {
        let parsed = Url::parse(base_url).ok();
        let origin = parsed.as_ref().map(|url| url.origin().ascii_serialization());
        Self {
            base_url: base_url.to_owned(),
            origin: origin.unwrap_or_default(),
        }
    }

    /// Puts a well-known name between the origin of a URL and its path (RFC 8414 §3.1, RFC 9728 §3.1).
    pub(crate) fn well_known(url: &str, name: &str) -> Option<String> {
        let parsed = Url::parse(url).ok()?;
        let path = parsed.path().trim_end_matches('/');
        let origin = parsed.origin().ascii_serialization();
        Some(format!("{origin}/.well-known/{name}{path}"))
    }

    /// The public FHIR base, which is what tokens are for.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Who issues tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.origin
    }

    /// Where tokens are asked for.
    pub(crate) fn token(&self) -> String {
        format!("{}/auth/token", self.origin)
    }

    /// Where the keys are that tokens are signed with.
    pub(crate) fn jwks(&self) -> String {
        format!("{}/auth/jwks", self.origin)
    }

    /// Where tokens are asked about.
    pub(crate) fn introspection(&self) -> String {
        format!("{}/auth/introspect", self.origin)
    }

    /// Where it is said who gives tokens for this server.
    pub(crate) fn resource_metadata(&self) -> String {
        Self::well_known(&self.base_url, "oauth-protected-resource").unwrap_or_default()
    }
}
