//! What an operator sees of a client: [`ClientView`].

use fhirhose_auth::{Client, ClientKeys, ClientLimits, GroupAccess, Standing};
use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an operator sees of a client. Serialises with serde; meant for JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientView {
    /// Its id.
    pub client_id: String,
    /// What people call it.
    pub client_name: String,
    /// `active`, `expired` or `revoked`.
    pub standing: String,
    /// All that it can be granted.
    pub scope: String,
    /// The Groups that it is held to; absent when it may export all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Its public keys, where they are by value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Where its public keys are, otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its own limits.
    pub limits: ClientLimits,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When it was registered.
    pub created: String,
    /// When its registration ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// Tokens that were issued before this are worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_from: Option<String>,
    /// Where it finds this server, if one runs that can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir_base: Option<String>,
    /// Where it asks this server for tokens, if one runs that gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
}

impl ClientView {
    /// Shows a client as it is at an instant.
    pub fn of(client: &Client, now: Instant) -> Self {
        let text = |instant: Instant| instant.to_string();
        let standing = match client.standing(now) {
            Standing::Active => "active",
            Standing::Expired => "expired",
            Standing::Revoked => "revoked",
        };
        let (jwks, jwks_uri) = match &client.keys {
            ClientKeys::Jwks(jwks) => (serde_json::from_str(jwks).ok(), None),
            ClientKeys::Url(url) => (None, Some(url.clone())),
        };
        Self {
            client_id: client.id.to_string(),
            client_name: client.name.clone(),
            standing: standing.to_owned(),
            scope: client.scopes.to_string(),
            groups: match &client.groups {
                GroupAccess::Every => None,
                GroupAccess::Only(ids) => Some(ids.iter().map(ToString::to_string).collect()),
            },
            jwks,
            jwks_uri,
            limits: client.limits,
            contact: client.contact.clone(),
            created: text(client.created),
            expires: client.expires.map(text),
            revoked: client.revoked.map(text),
            tokens_from: client.tokens_from.map(text),
            fhir_base: None,
            token_url: None,
        }
    }
}
