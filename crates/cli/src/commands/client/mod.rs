//! `fhirhose client`: who may come in, and the keys and tokens that they come in with.

mod add;
mod keygen;
mod registered;
mod registry;
mod token;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// Registers clients, and makes keys and tokens for them
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fhirhose client keygen --out keys
  fhirhose client add my-app --data store --name 'My app' --jwks keys/jwks.json --scope 'system/*.rs'
  fhirhose client list --data store
  fhirhose client rotate my-app --data store --jwks new/jwks.json --keep
  fhirhose client revoke my-app --data store
  fhirhose client token --token-url https://example.org/auth/token --client-id my-app --key keys/private-key.pem \\
    --scope 'system/*.rs'

Whether a server runs on the data folder makes no difference; what is changed counts from the next request on.")]
pub(crate) enum ClientCommand {
    Add(Box<add::Add>),
    List(registered::List),
    Show(registered::Show),
    Revoke(registered::Revoke),
    Rotate(registered::Rotate),
    Keygen(keygen::Keygen),
    Token(token::Token),
}

impl ClientCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Add(add) => add.run().await?,
            Self::List(list) => list.run().await?,
            Self::Show(show) => show.run().await?,
            Self::Revoke(revoke) => revoke.run().await?,
            Self::Rotate(rotate) => rotate.run().await?,
            Self::Keygen(keygen) => keygen.run()?,
            Self::Token(token) => token.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
