//! Who may do what: every route with each of its methods, and what depends on the content of a request.

mod content;
mod exports;
mod groups;
mod jobs;
mod table;

use fhirhose_auth::Client;

use crate::fixture::{POPULATION, Server};
use crate::http::Ask;
use crate::registered::Registered;

/// A server with the small population and an AuditEvent, which nobody is signed in to.
pub(super) async fn populated() -> Server {
    let mut server = Server::smart().await;
    server.sign_in("loader", "system/bulk-import").await;
    let event = r#"{"resourceType":"AuditEvent","id":"a1","agent":[{"who":{"reference":"Patient/p1"},"requestor":true}]}"#;
    let lines: Vec<&str> = POPULATION.iter().copied().chain([event]).collect();
    server.import_lines(&lines).await;
    server.token = None;
    server
}

/// Registers a client and lets all further requests bring a token of it.
pub(super) async fn become_client(
    server: &mut Server,
    (id, scopes): (&str, &str),
    change: impl FnOnce(&mut Client),
) -> Registered {
    let client = server.register_with(id, scopes, change).await;
    server.token = Some(server.token_of(&client, scopes).await);
    client
}

/// A request in somebody's name: nobody's without a token.
pub(super) fn by(ask: Ask, token: Option<&str>) -> Ask {
    match token {
        Some(token) => ask.bearer(token),
        None => ask,
    }
}
