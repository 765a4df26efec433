//! Where things are: [`Endpoints`], all made of the public base URL.

use url::Url;

/// The URLs of the authorization server and of the FHIR server that it guards.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    base_url: String,
    origin: String,
    base_path: String,
}

impl Endpoints {
    /// Makes them out of the public FHIR base, which has no slash at the end.
    pub(crate) fn of(base_url: &str) -> Self {
        let parsed = Url::parse(base_url).ok();
        let origin = parsed.as_ref().map(|url| url.origin().ascii_serialization());
        let path = parsed.map(|url| url.path().trim_end_matches('/').to_owned());
        Self {
            base_url: base_url.to_owned(),
            origin: origin.unwrap_or_default(),
            base_path: path.unwrap_or_default(),
        }
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

    /// Where it is said who gives tokens for this server (RFC 9728 §3.1: before the path of what is protected).
    pub(crate) fn resource_metadata(&self) -> String {
        format!(
            "{}/.well-known/oauth-protected-resource{}",
            self.origin, self.base_path
        )
    }
}
