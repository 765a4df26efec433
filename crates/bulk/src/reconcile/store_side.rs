//! A store, at the state that it had when it was opened for the comparison: [`StoreSide`].

use std::ops::ControlFlow;

use async_trait::async_trait;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::{KeyRange, Snapshot};
use fhirhose_store::{Found, ScanRequest, Selection, Sequence, Store};

use super::gather::{Gathered, Gatherer, Listing};
use super::side::ReconcileSide;
use super::tree::Ask;
use crate::{Error, ErrorKind, Result};

/// A store at one state.
pub struct StoreSide {
    store: Store,
    snapshot: Snapshot,
    name: String,
}

impl StoreSide {
    /// Takes the store as it is now.
    ///
    /// # Errors
    /// What the store gives.
    pub async fn new(store: Store, name: String) -> Result<Self> {
        let snapshot = store.catalog().snapshot().await?;
        Ok(Self {
            store,
            snapshot,
            name,
        })
    }
}

#[async_trait]
impl ReconcileSide for StoreSide {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_fetched_whole(&self) -> bool {
        false
    }

    async fn types(&self) -> Result<Option<Vec<ResourceType>>> {
        Ok(None)
    }

    async fn gather(&self, resource_type: ResourceType, ask: &Ask, listing: Listing) -> Result<Gathered> {
        let request = ScanRequest {
            range: KeyRange::of_prefix(vec![resource_type.code()]),
            snapshot: self.snapshot.sequence,
            after: Sequence::ZERO,
            selection: Selection::All,
        };
        let scan = self.store.scan(request).await?;
        let mut gatherer = Gatherer::new(resource_type, ask.clone(), listing);
        let gathering = move || {
            let mut broken = None;
            scan.for_each(&mut |row| match gatherer.resource(row.id, row.body) {
                Ok(()) => Ok(ControlFlow::Continue(())),
                Err(error) => {
                    broken = Some(error);
                    Ok(ControlFlow::Break(()))
                }
            })?;
            match broken {
                Some(error) => Err(error),
                None => Ok(gatherer.finish()),
            }
        };
        let gathered = tokio::task::spawn_blocking(gathering).await;
        gathered.map_err(|source| Error::new(ErrorKind::Storage, "scanning the store").with_source(source))?
    }

    async fn texts(&self, resource_type: ResourceType, ids: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut texts = Vec::with_capacity(ids.len());
        for id in ids {
            let found = self.store.read(resource_type, id).await?;
            texts.push(match found {
                Some(Found::Resource(resource)) => Some(resource.text),
                Some(Found::Deleted(_)) | None => None,
            });
        }
        Ok(texts)
    }
}
