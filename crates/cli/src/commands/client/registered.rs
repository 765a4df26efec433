//! `fhirhose client list|show|revoke|rotate`.

use super::registry::{Keys, Place};
use crate::commands::print;
use anyhow::Result;
use clap::Args;
use fhirhose_auth::ClientId;
use fhirhose_server::{ClientView, Rotation};
use serde::Serialize;
use std::fmt::Write as _;

/// Lists the registered clients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose client list --data store
  fhirhose client list --data store --json | jq '.[] | select(.standing == \"active\") | .client_id'")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,

    /// Prints the registrations as JSON
    #[arg(long)]
    json: bool,
}

/// Shows a client: scopes, Groups, keys, limits, until when
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose client show my-app --data store")]
pub(crate) struct Show {
    #[command(flatten)]
    target: Target,
}

/// Shuts a client out for good: from the next request on its tokens are worth nothing
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose client revoke my-app --data store")]
pub(crate) struct Revoke {
    #[command(flatten)]
    target: Target,
}

/// Gives a client other keys; without --keep the old ones and all tokens so far are worth nothing at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose client rotate my-app --data store --jwks new/jwks.json          the old key is lost, or known to others
  fhirhose client rotate my-app --data store --jwks new/jwks.json --keep   both count, until the client has changed
  fhirhose client rotate my-app --data store --jwks new/jwks.json          then the old one goes")]
pub(crate) struct Rotate {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    keys: Keys,

    /// Keeps the old keys beside the new ones, and the tokens that were issued so far
    #[arg(long)]
    keep: bool,
}

/// One client, and how to print it.
#[derive(Debug, Args)]
struct Target {
    /// The client's id
    id: ClientId,

    #[command(flatten)]
    place: Place,

    /// Prints the registration as JSON
    #[arg(long)]
    json: bool,
}

impl Target {
    fn print(&self, client: &ClientView) -> Result<()> {
        print_as(self.json, client, || described(client))
    }
}

impl List {
    pub(super) async fn run(self) -> Result<()> {
        let clients = self.place.open("client list").await?.list().await?;
        print_as(self.json, &clients, || list_text(&clients))
    }
}

impl Show {
    pub(super) async fn run(self) -> Result<()> {
        let clients = self.target.place.open("client show").await?;
        self.target.print(&clients.show(&self.target.id).await?)
    }
}

impl Revoke {
    pub(super) async fn run(self) -> Result<()> {
        let clients = self.target.place.open("client revoke").await?;
        self.target.print(&clients.revoke(&self.target.id).await?)
    }
}

impl Rotate {
    pub(super) async fn run(self) -> Result<()> {
        let rotation = Rotation {
            keys: self.keys.read()?,
            keep: self.keep,
        };
        let clients = self.target.place.open("client rotate").await?;
        let client = clients.rotate(&self.target.id, &rotation).await?;
        self.target.print(&client)
    }
}

fn print_as<T: Serialize>(as_json: bool, value: &T, text: impl Fn() -> String) -> Result<()> {
    match as_json {
        true => print(&format!("{}\n", serde_json::to_string(value)?)),
        false => print(&text()),
    }
}

fn list_text(clients: &[ClientView]) -> String {
    let mut out = String::from("id\tstanding\tname\tscopes\tgroups\texpires\n");
    for client in clients {
        let (groups, expires) = (groups(client), client.expires.as_deref().unwrap_or("-"));
        let columns = [
            &client.client_id,
            &client.standing,
            &client.client_name,
            &client.scope,
        ];
        let _ = writeln!(
            out,
            "{}\t{groups}\t{expires}",
            columns.map(String::as_str).join("\t")
        );
    }
    out
}

fn groups(client: &ClientView) -> String {
    match &client.groups {
        None => "all".to_owned(),
        Some(ids) => ids.join(" "),
    }
}

/// Describes a client, a line a fact.
pub(super) fn described(client: &ClientView) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}\t{value}");
    };
    line("id", &client.client_id);
    line("name", &client.client_name);
    line("standing", &client.standing);
    line("scopes", &client.scope);
    line("groups", &groups(client));
    match (&client.jwks_uri, &client.jwks) {
        (Some(url), _) => line("keys", &format!("at {url}")),
        (None, jwks) => line("keys", &kids(jwks.as_ref())),
    }
    let limits = [
        (
            "jobs at a time",
            client.limits.jobs_live_max.map(|max| max.to_string()),
        ),
        (
            "downloads at a time",
            client.limits.downloads_parallel_max.map(|max| max.to_string()),
        ),
        (
            "tokens live",
            client.limits.token_secs.map(|secs| format!("{secs} s at most")),
        ),
        ("contact", client.contact.clone()),
        ("created", Some(client.created.clone())),
        ("expires", client.expires.clone()),
        ("revoked", client.revoked.clone()),
        ("tokens count from", client.tokens_from.clone()),
    ];
    for (name, value) in limits {
        if let Some(value) = value {
            line(name, &value);
        }
    }
    out
}

fn kids(jwks: Option<&serde_json::Value>) -> String {
    let keys = jwks.and_then(|jwks| jwks["keys"].as_array());
    let kids = keys.into_iter().flatten().filter_map(|key| key["kid"].as_str());
    kids.collect::<Vec<_>>().join(" ")
}
