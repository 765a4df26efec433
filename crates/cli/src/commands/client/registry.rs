//! Where clients are registered: in a data folder, which is opened, or by the server that holds it.

use crate::operator_access::{OPERATOR_SOCKET, is_answering, over_socket};
use crate::workspace;
use anyhow::{Context, Result};
use clap::Args;
use fhirhose_auth::{Client, ClientId};
use fhirhose_client::{ClientAction, Operator};
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Clock, SystemClock};
use fhirhose_server::audit::{CommandTrail, FolderFiles};
use fhirhose_server::{ClientChange, ClientFault, ClientRegistry, ClientView, NewClient, NewKeys, Rotation};
use fhirhose_store::{ErrorKind, OpenMode, Store};
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where clients are registered.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Data folder; a server may run on it
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    /// The operator's socket of the server that runs on it [default: operator.sock in the data folder]
    #[arg(long, env = "FHIRHOSE_OPERATOR_SOCKET", value_name = "PATH")]
    operator_socket: Option<PathBuf>,
}

/// The registered clients, wherever they are changed.
pub(super) enum Clients {
    /// In a folder that this process holds.
    Folder(Folder),
    /// By the server that holds it.
    Server(Operator),
}

/// A folder that this process holds.
pub(super) struct Folder {
    store: Store,
    /// Where its audit trail lies.
    audit: PathBuf,
}

impl Folder {
    fn registry(&self) -> ClientRegistry {
        ClientRegistry::new(self.store.clone())
    }

    /// Makes a change, which the folder's audit trail tells.
    async fn change(
        &self,
        what: ClientChange,
        id: &ClientId,
        change: impl Future<Output = Result<Client, ClientFault>>,
    ) -> Result<ClientView> {
        let files = FolderFiles::open(&self.audit).context("opening the audit trail")?;
        let trail = CommandTrail::open(&self.store, Arc::new(files)).await?;
        Ok(view(&trail.change(what, id, change).await?))
    }
}

impl Place {
    /// Opens the folder, or finds the server that holds it.
    pub(super) async fn open(&self, command: &str) -> Result<Clients> {
        let held = match workspace::open(&self.data, OpenMode::Existing, command, None).await {
            Ok(store) => {
                let audit = self.data.join("audit");
                return Ok(Clients::Folder(Folder { store, audit }));
            }
            Err(error) => error,
        };
        let own = self.data.join(OPERATOR_SOCKET);
        let socket = self.operator_socket.as_deref().unwrap_or(&own);
        // Another command than `serve` may hold it: then that is what is to be said.
        if is_in_use(&held) && is_answering(socket) {
            return Ok(Clients::Server(over_socket(socket)?));
        }
        Err(held)
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<fhirhose_store::Error>();
    kind.is_some_and(|error| error.kind() == ErrorKind::InUse)
}

impl Clients {
    /// Registers a client.
    pub(super) async fn add(&self, new: NewClient) -> Result<ClientView> {
        match self {
            Self::Folder(folder) => {
                let (id, registry) = (new.client_id.clone(), folder.registry());
                folder.change(ClientChange::Added, &id, registry.add(new)).await
            }
            Self::Server(server) => read(&server.add_client(serde_json::to_vec(&new)?).await?),
        }
    }

    /// All clients.
    pub(super) async fn list(&self) -> Result<Vec<ClientView>> {
        match self {
            Self::Folder(folder) => Ok(folder.registry().list().await?.iter().map(view).collect()),
            Self::Server(server) => {
                let mut answer: Value = read(&server.clients().await?)?;
                serde_json::from_value(answer["clients"].take()).context("reading the server's answer")
            }
        }
    }

    /// One client.
    pub(super) async fn show(&self, id: &ClientId) -> Result<ClientView> {
        match self {
            Self::Folder(folder) => {
                let found = folder.registry().find(id).await?;
                Ok(view(&found.ok_or(ClientFault::Unknown)?))
            }
            Self::Server(server) => read(&server.client(id.as_str()).await?),
        }
    }

    /// Shuts a client out.
    pub(super) async fn revoke(&self, id: &ClientId) -> Result<ClientView> {
        match self {
            Self::Folder(folder) => {
                let registry = folder.registry();
                folder
                    .change(ClientChange::Revoked, id, registry.revoke(id))
                    .await
            }
            Self::Server(server) => read(&server.change_client(id.as_str(), ClientAction::Revoke).await?),
        }
    }

    /// Gives a client other keys.
    pub(super) async fn rotate(&self, id: &ClientId, rotation: &Rotation) -> Result<ClientView> {
        match self {
            Self::Folder(folder) => {
                let registry = folder.registry();
                folder
                    .change(ClientChange::Rotated, id, registry.rotate(id, rotation))
                    .await
            }
            Self::Server(server) => {
                let action = ClientAction::Rotate(serde_json::to_vec(rotation)?);
                read(&server.change_client(id.as_str(), action).await?)
            }
        }
    }
}

fn view(client: &Client) -> ClientView {
    let now = Instant::from_micros(SystemClock.now().as_micros());
    ClientView::of(client, now)
}

fn read<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).context("reading the server's answer")
}

/// Where a client's public keys are.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Keys {
    /// A file with the client's public keys, a JWKS
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,

    /// The https URL behind which the client keeps its public keys
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
}

impl Keys {
    /// Reads the keys.
    pub(super) fn read(&self) -> Result<NewKeys> {
        let jwks = self.jwks.as_deref().map(read_jwks).transpose()?;
        Ok(NewKeys {
            jwks,
            jwks_uri: self.jwks_url.clone(),
        })
    }
}

fn read_jwks(file: &Path) -> Result<Box<RawValue>> {
    let reading = || format!("reading the public keys {}", file.display());
    let text = std::fs::read_to_string(file).with_context(reading)?;
    RawValue::from_string(text).with_context(reading)
}
