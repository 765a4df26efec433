//! What the server says of its authorization: the documents below `.well-known` (A-01 to A-04, RFC 8414, RFC 9728).

use fhirhose_auth::Algorithm;
use serde_json::{Value, json};

use super::endpoints::Endpoints;
use super::external::TokenEndpoint;

/// Scopes that work for a client which is registered for them; each may be for one type instead of all.
const SCOPES: &[&str] = &[
    "system/*.rs",
    "system/*.read",
    "system/*.cud",
    "system/*.write",
    "system/*.cruds",
    "system/*.*",
    "system/AuditEvent.rs",
    "system/bulk-import",
    "system/operator",
];

/// What SMART has names for and this server does.
const CAPABILITIES: &[&str] = &["client-confidential-asymmetric", "permission-v1", "permission-v2"];

/// Makes `smart-configuration` of a server that gives tokens itself.
pub(crate) fn smart_configuration(endpoints: &Endpoints, algorithms: &[Algorithm]) -> Value {
    let algorithms: Vec<&str> = algorithms.iter().map(|known| known.name()).collect();
    json!({
        "token_endpoint": endpoints.token(),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": endpoints.introspection(),
        "jwks_uri": endpoints.jwks(),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": SCOPES,
        "capabilities": CAPABILITIES,
        // Of no use without an authorization endpoint, and required all the same.
        "code_challenge_methods_supported": ["S256"],
    })
}

/// Makes `oauth-authorization-server` (RFC 8414), which clients come to from the document of the resource.
pub(crate) fn authorization_server(endpoints: &Endpoints, algorithms: &[Algorithm]) -> Value {
    let mut document = smart_configuration(endpoints, algorithms);
    document["issuer"] = json!(endpoints.issuer());
    // Required; there is no authorization endpoint, so there is none.
    document["response_types_supported"] = json!([]);
    document["introspection_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    document
}

/// Makes `smart-configuration` of a server whose tokens come from elsewhere.
pub(crate) fn external_configuration(endpoint: &TokenEndpoint) -> Value {
    let signs = |methods: &Vec<String>| methods.iter().any(|method| method == "private_key_jwt");
    let is_smart = endpoint.methods.as_ref().is_none_or(signs);
    let capabilities: Vec<&str> = CAPABILITIES
        .iter()
        .copied()
        .filter(|name| is_smart || name.starts_with("permission-"))
        .collect();
    let mut document = json!({
        "token_endpoint": endpoint.url,
        "grant_types_supported": ["client_credentials"],
        "capabilities": capabilities,
        "code_challenge_methods_supported": ["S256"],
    });
    if let Some(methods) = &endpoint.methods {
        document["token_endpoint_auth_methods_supported"] = json!(methods);
    }
    if let Some(algorithms) = &endpoint.algorithms {
        document["token_endpoint_auth_signing_alg_values_supported"] = json!(algorithms);
    }
    document
}

/// Makes `oauth-protected-resource` (RFC 9728).
pub(crate) fn protected_resource(resource: &str, issuer: &str) -> Value {
    json!({
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": SCOPES,
        "bearer_methods_supported": ["header"],
        "resource_name": "fhirhose",
    })
}
