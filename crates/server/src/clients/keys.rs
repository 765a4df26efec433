//! The public keys that a client is registered with: [`NewKeys`].

use std::net::IpAddr;

use fhirhose_auth::{Algorithm, ClientKeys, Jwks, KeyFault, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::{Host, Url};

use super::ClientFault;

/// Characters of the URL of a JWKS at most.
const URL_CHARS_MAX: usize = 2_048;

/// The public keys of a client, by value or by URL: exactly one of the two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKeys {
    /// A JWKS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Box<RawValue>>,
    /// Where a JWKS is: `https`, or `http` on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
}

impl NewKeys {
    /// Checks the keys.
    ///
    /// # Errors
    /// [`ClientFault::Invalid`] for neither or both, a JWKS without a usable public key, a URL that is not `https`.
    pub(super) fn checked(&self) -> Result<ClientKeys, ClientFault> {
        match (&self.jwks, &self.jwks_uri) {
            (Some(jwks), None) => {
                check_jwks(jwks.get())?;
                Ok(ClientKeys::Jwks(jwks.get().to_owned()))
            }
            (None, Some(url)) => Ok(ClientKeys::Url(checked_url(url)?)),
            _ => Err(invalid("give either a JWKS or the URL of one, and not both")),
        }
    }
}

/// Joins the keys of two JWKS by value; a key that both have comes once.
pub(super) fn joined(old: &ClientKeys, new: &ClientKeys) -> Result<ClientKeys, ClientFault> {
    let (ClientKeys::Jwks(old), ClientKeys::Jwks(new)) = (old, new) else {
        let text = "only keys by value can be kept beside each other; behind a URL its owner keeps them";
        return Err(invalid(text));
    };
    let mut all: Vec<VerifyingKey> = Vec::new();
    for key in parsed(old)?.iter().chain(parsed(new)?.iter()) {
        if !all.contains(key) {
            all.push(key.clone());
        }
    }
    let text = all.into_iter().collect::<Jwks>().to_json().to_string();
    check_jwks(&text)?;
    Ok(ClientKeys::Jwks(text))
}

fn parsed(jwks: &str) -> Result<Jwks, ClientFault> {
    Jwks::parse(jwks.as_bytes()).map_err(|fault| invalid(format!("the JWKS cannot be taken: {fault}")))
}

/// A signature must be provable with one of the keys, and never with two.
fn check_jwks(text: &str) -> Result<(), ClientFault> {
    let jwks = parsed(text)?;
    if jwks.is_empty() {
        let text = "the JWKS holds no key with which RS384 or ES384 signatures can be verified";
        return Err(invalid(text));
    }
    for kid in jwks.kids() {
        for algorithm in [Algorithm::Rs384, Algorithm::Es384] {
            if jwks.choose(kid, algorithm) == Err(KeyFault::Several) {
                return Err(invalid("two keys of a type have the same kid; give each its own"));
            }
        }
    }
    Ok(())
}

fn checked_url(text: &str) -> Result<String, ClientFault> {
    let wrong =
        || invalid("the URL of a JWKS is https, without user and fragment (http only for this machine)");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    let is_safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_local,
        _ => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !is_safe || !is_plain || text.len() > URL_CHARS_MAX {
        return Err(wrong());
    }
    // As it was given: a `jku` has to equal it.
    Ok(text.to_owned())
}

fn invalid(text: impl Into<String>) -> ClientFault {
    ClientFault::Invalid(text.into())
}
