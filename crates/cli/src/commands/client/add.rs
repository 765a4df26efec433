//! `fhirhose client add`.

use super::registered::described;
use super::registry::{Keys, Place};
use crate::commands::print;
use anyhow::Result;
use clap::Args;
use fhirhose_auth::{ClientId, ClientLimits};
use fhirhose_server::{ClientView, NewClient};
use std::fmt::Write as _;
use url::Url;

/// Registers a client and prints what it needs to come in
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose client add my-app --data store --name 'My app' --jwks keys/jwks.json --scope 'system/*.rs'
  fhirhose client add my-app --data store --name 'My app' --jwks-url https://app.example.org/jwks.json \\
    --scope 'system/Patient.rs system/Observation.rs' --group demo-diabetes --expires 2027-06-30
  fhirhose client add loader --data store --name 'The warehouse' --jwks loader/jwks.json \\
    --scope 'system/bulk-import' --allow-write")]
pub(crate) struct Add {
    /// The client's id: letters, digits and -._~:/
    id: ClientId,

    /// What people call it
    #[arg(long)]
    name: String,

    #[command(flatten)]
    keys: Keys,

    /// All that it can ever be granted, parted by spaces, such as 'system/Patient.rs system/Group.read'
    #[arg(long, value_name = "SCOPES")]
    scope: String,

    /// Takes scopes that allow more than reading; without it a client can only read
    #[arg(long)]
    allow_write: bool,

    /// A Group that it may export, by its id; may be repeated, and then it gets at patients through these alone [default: all]
    #[arg(long, value_name = "ID")]
    group: Vec<String>,

    /// Jobs of it that may wait or run [default: the server's]
    #[arg(long, value_name = "JOBS")]
    jobs_max: Option<usize>,

    /// Files that it may download at a time [default: the server's]
    #[arg(long, value_name = "FILES")]
    downloads_max: Option<usize>,

    /// How long its tokens live, in seconds; never longer than the server's [default: the server's]
    #[arg(long, value_name = "SECONDS")]
    token_secs: Option<u64>,

    /// Whom to ask about it, such as a mail address
    #[arg(long)]
    contact: Option<String>,

    /// When its registration ends: a date, at whose beginning (UTC) it ends, or a time with its zone [default: never]
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,

    /// The server's public FHIR base; it is only printed, where no server runs that could tell
    #[arg(long, env = "FHIRHOSE_BASE_URL", value_name = "URL")]
    base_url: Option<Url>,

    /// Prints the registration as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

impl Add {
    pub(super) async fn run(self) -> Result<()> {
        let groups = (!self.group.is_empty()).then(|| self.group.into_iter().collect());
        let new = NewClient {
            client_id: self.id,
            client_name: self.name,
            keys: self.keys.read()?,
            scope: self.scope,
            allow_write: self.allow_write,
            groups,
            limits: ClientLimits {
                jobs_live_max: self.jobs_max,
                downloads_parallel_max: self.downloads_max,
                token_secs: self.token_secs,
            },
            contact: self.contact,
            expires: self.expires,
        };
        let clients = self.place.open("client add").await?;
        let mut client = clients.add(new).await?;
        if client.fhir_base.is_none()
            && let Some(base) = &self.base_url
        {
            client.fhir_base = Some(base.as_str().trim_end_matches('/').to_owned());
            client.token_url = Some(format!("{}/auth/token", base.origin().ascii_serialization()));
        }
        if self.json {
            return print(&format!("{}\n", serde_json::to_string(&client)?));
        }
        print(&text(&client))
    }
}

fn text(client: &ClientView) -> String {
    let token_url = match (&client.token_url, &client.fhir_base) {
        (Some(url), _) => url.as_str(),
        (None, Some(_)) => "none: the server that runs issues no tokens (serve --auth smart does)",
        (None, None) => "/auth/token at the server's public address (serve --base-url)",
    };
    let fhir_base = client.fhir_base.as_deref();
    let mut out = String::from("What the client needs:\n");
    let _ = writeln!(out, "token URL\t{token_url}");
    let _ = writeln!(out, "client id\t{}", client.client_id);
    let _ = writeln!(out, "scopes\t{}", client.scope);
    let base = fhir_base.unwrap_or("the server's public address (serve --base-url)");
    let _ = writeln!(out, "FHIR base\t{base}");
    out.push_str("\nWhat is registered here:\n");
    out.push_str(&described(client));
    out
}
