//! The registered clients: [`ClientRegistry`], over the store, for the server's routes and for the command line.
//!
//! A client is a record by its id. Whoever changes one says what it was before, so that of two changes at once neither is
//! lost. Nothing is cached: a change counts from the next request on.

mod keys;
mod registration;
mod view;

use fhirhose_auth::{Client, ClientId};
use fhirhose_fhir::instant::Instant;
use fhirhose_store::Store;
use fhirhose_store::catalog::{RecordExpect, RecordKind};
use tracing::info;

pub use keys::NewKeys;
pub use registration::NewClient;
pub(crate) use registration::is_reserved;
pub use view::ClientView;

/// Clients that are registered at most, revoked and expired ones too.
pub const CLIENTS_MAX: usize = 10_000;

/// How often a change is tried again when another one came between.
const TRIES_MAX: usize = 8;

/// What was done to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientChange {
    /// It was registered.
    Added,
    /// It was shut out.
    Revoked,
    /// It got other keys.
    Rotated,
}

impl ClientChange {
    /// A word for logs and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Revoked => "revoked",
            Self::Rotated => "rotated",
        }
    }
}

/// Why something cannot be done with clients. The texts hold no key.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// The registration or the keys are not acceptable; the text says what is wrong and what to do.
    #[error("{0}")]
    Invalid(String),
    /// The id is taken.
    #[error("there is a client with this id already; `client rotate` changes its keys")]
    Exists,
    /// Nobody has this id.
    #[error("there is no client with this id")]
    Unknown,
    /// It was revoked, which is for good.
    #[error("the client was revoked, which is for good; register it anew with another id")]
    Revoked,
    /// There are as many as there may be.
    #[error("there are {CLIENTS_MAX} clients, which is the most that there may be")]
    Full,
    /// Others change the client all the time.
    #[error("others changed the client at the same time; try again")]
    Busy,
    /// Nothing is changed that cannot be told.
    #[error("the audit trail cannot be written, and nothing is changed without it")]
    Untold,
    /// The store failed.
    #[error("reading or writing the registered clients")]
    Store(#[from] fhirhose_store::Error),
}

/// New keys for a client.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The new keys, as they are given with a registration: `jwks` or `jwks_uri`.
    pub keys: NewKeys,
    /// Whether the old keys go on to count beside the new ones, and the tokens that were issued with them, until the next
    /// rotation without it: for clients that cannot change all at once. Both have to be a JWKS by value then.
    #[serde(default)]
    pub keep: bool,
}

/// The registered clients of a store.
#[derive(Clone)]
pub struct ClientRegistry {
    store: Store,
}

impl ClientRegistry {
    /// Looks after the clients of a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`ClientFault::Invalid`], [`ClientFault::Exists`], [`ClientFault::Full`], [`ClientFault::Store`].
    pub async fn add(&self, new: NewClient) -> Result<Client, ClientFault> {
        let client = new.checked(self.now())?;
        if self.list().await?.len() >= CLIENTS_MAX {
            return Err(ClientFault::Full);
        }
        if !self.put(&client, RecordExpect::Absent).await? {
            return Err(ClientFault::Exists);
        }
        self.changed(ClientChange::Added, &client);
        Ok(client)
    }

    /// All clients, by their ids.
    ///
    /// # Errors
    /// [`ClientFault::Store`].
    pub async fn list(&self) -> Result<Vec<Client>, ClientFault> {
        let catalog = self.store.catalog();
        let records = catalog.records(RecordKind::Client, None, CLIENTS_MAX).await?;
        records.iter().map(|(_, value)| read(value)).collect()
    }

    /// The client with an id, whatever its standing.
    ///
    /// # Errors
    /// [`ClientFault::Store`].
    pub async fn find(&self, id: &ClientId) -> Result<Option<Client>, ClientFault> {
        let found = self.record(id).await?;
        found.as_deref().map(read).transpose()
    }

    /// Shuts a client out, for good: it gets no more tokens, and those that it has are worth nothing. Revoking a revoked
    /// one changes nothing.
    ///
    /// # Errors
    /// [`ClientFault::Unknown`], [`ClientFault::Busy`], [`ClientFault::Store`].
    pub async fn revoke(&self, id: &ClientId) -> Result<Client, ClientFault> {
        let now = self.now();
        self.change(id, ClientChange::Revoked, |client| {
            client.revoked.get_or_insert(now);
            Ok(())
        })
        .await
    }

    /// Gives a client other keys. Unless the old ones are kept, they and all tokens issued so far are worth nothing from now on.
    ///
    /// # Errors
    /// [`ClientFault::Invalid`], [`ClientFault::Unknown`], [`ClientFault::Revoked`], [`ClientFault::Busy`], [`ClientFault::Store`].
    pub async fn rotate(&self, id: &ClientId, rotation: &Rotation) -> Result<Client, ClientFault> {
        let (now, keys) = (self.now(), rotation.keys.checked()?);
        self.change(id, ClientChange::Rotated, |client| {
            if client.revoked.is_some() {
                return Err(ClientFault::Revoked);
            }
            client.keys = match rotation.keep {
                true => keys::joined(&client.keys, &keys)?,
                false => keys.clone(),
            };
            if !rotation.keep {
                client.tokens_from = Some(now);
            }
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        id: &ClientId,
        what: ClientChange,
        change: impl Fn(&mut Client) -> Result<(), ClientFault>,
    ) -> Result<Client, ClientFault> {
        for _ in 0..TRIES_MAX {
            let before = self.record(id).await?.ok_or(ClientFault::Unknown)?;
            let mut client = read(&before)?;
            change(&mut client)?;
            if self.put(&client, RecordExpect::Value(&before)).await? {
                self.changed(what, &client);
                return Ok(client);
            }
        }
        Err(ClientFault::Busy)
    }

    /// Every change of a client comes by here once it is durable.
    fn changed(&self, what: ClientChange, client: &Client) {
        info!(client.id = %client.id, change = what.name(), "a client was changed");
    }

    async fn record(&self, id: &ClientId) -> Result<Option<Vec<u8>>, ClientFault> {
        let name = id.as_str().as_bytes();
        Ok(self.store.catalog().record(RecordKind::Client, name).await?)
    }

    async fn put(&self, client: &Client, expect: RecordExpect<'_>) -> Result<bool, ClientFault> {
        let value = serde_json::to_vec(client).expect("a client is plain data");
        let name = client.id.as_str().as_bytes();
        let catalog = self.store.catalog();
        Ok(catalog
            .put_record(RecordKind::Client, name, &value, expect)
            .await?)
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.store.clock().now().as_micros())
    }
}

fn read(value: &[u8]) -> Result<Client, ClientFault> {
    serde_json::from_slice(value).map_err(|source| {
        let error = fhirhose_store::Error::new(
            fhirhose_store::ErrorKind::Corrupt,
            format!("a client's record cannot be read: {source}"),
        );
        ClientFault::Store(error)
    })
}
