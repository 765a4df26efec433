//! Reads one resource by type and id.

use crate::catalog::{KeyRange, Newest, Snapshot};
use crate::run::Block;
use crate::scan::RunHandle;
use crate::store::{Store, missing};
use crate::{Error, Result, Sequence};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::{Splice, write_spliced};
use fhirhose_fhir::resource_type::ResourceType;

/// What is stored under a type and an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A resource.
    Resource(Resource),
    /// It was deleted, by this commit.
    Deleted(Sequence),
}

/// One version of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its JSON text with `meta.versionId` and `meta.lastUpdated`.
    pub text: Vec<u8>,
    /// Its version and when it was written.
    pub version: Snapshot,
    /// The patient whose compartment it sits in.
    pub owner: Option<String>,
}

impl Store {
    /// Reads the newest version of a resource; `None` when there never was one.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) when the catalog names a version that no run holds.
    pub async fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Found>> {
        // A write, a flush or a compaction may come in between; what it replaced is then looked up anew.
        for _ in 0..4 {
            let Some(newest) = self.newest(resource_type, id).await? else {
                return Ok(None);
            };
            if newest.deleted {
                return Ok(Some(Found::Deleted(newest.sequence)));
            }
            if let Some(resource) = self.read_version(resource_type, id, &newest).await? {
                return Ok(Some(Found::Resource(resource)));
            }
        }
        Err(missing("a resource"))
    }

    async fn newest(&self, resource_type: ResourceType, id: &str) -> Result<Option<Newest>> {
        Ok(self
            .catalog()
            .newest(&[(resource_type, id)])
            .await?
            .pop()
            .flatten())
    }

    async fn read_version(
        &self,
        resource_type: ResourceType,
        id: &str,
        newest: &Newest,
    ) -> Result<Option<Resource>> {
        let mut key = Vec::new();
        crate::key::encode(resource_type, newest.owner.as_deref(), id, &mut key);
        let hot = self
            .catalog()
            .hot(&KeyRange::of_prefix(key.clone()), usize::MAX)
            .await?;
        if let Some(row) = hot
            .into_iter()
            .find(|row| row.sequence == newest.sequence && row.key == key)
        {
            let version = Snapshot {
                sequence: row.sequence,
                instant: row.instant,
            };
            return Ok(Some(resource(&row.body, row.splice, version, newest)));
        }
        let code = resource_type.code();
        let holds = |run: &crate::catalog::RunRecord| {
            let has_type = run
                .summary
                .types
                .iter()
                .any(|count| count.resource_type.code() == code);
            has_type && run.oldest <= newest.sequence && newest.sequence <= run.newest
        };
        for run in self.layout(holds).await? {
            if let Some((body, splice, instant)) = self.find(&run, &key, id, newest.sequence).await? {
                let version = Snapshot {
                    sequence: newest.sequence,
                    instant,
                };
                return Ok(Some(resource(&body, splice, version, newest)));
            }
        }
        Ok(None)
    }

    /// Looks a version up in one run.
    async fn find(
        &self,
        handle: &RunHandle,
        key: &[u8],
        id: &str,
        sequence: Sequence,
    ) -> Result<Option<(Vec<u8>, Splice, Instant)>> {
        let next = [key, &[0]].concat();
        for at in handle.run.blocks_between(key, Some(&next)) {
            let bytes = handle
                .run
                .fetch(&*self.inner.files, &handle.path, at..at + 1)
                .await?;
            let (handle, id) = (handle.clone(), id.to_owned());
            let search = move || find_in_block(&handle, at, &bytes, &id, sequence);
            let found = tokio::task::spawn_blocking(search).await;
            let found = found.map_err(|panic| {
                Error::new(crate::ErrorKind::Storage, "reading a block").with_source(panic)
            })??;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn find_in_block(
    handle: &RunHandle,
    at: usize,
    bytes: &[u8],
    id: &str,
    sequence: Sequence,
) -> Result<Option<(Vec<u8>, Splice, Instant)>> {
    let own = handle.record.own;
    let mut block = Block::new();
    handle
        .run
        .decode(at, bytes, (own.sequence, own.instant), &mut block)?;
    let row = (0..block.len()).find(|&row| block.rows()[row].sequence == sequence && block.id(row) == id);
    Ok(row.map(|row| {
        (
            block.body(row).to_vec(),
            block.rows()[row].splice,
            block.rows()[row].instant,
        )
    }))
}

fn resource(body: &[u8], splice: Splice, version: Snapshot, newest: &Newest) -> Resource {
    let mut text = Vec::with_capacity(body.len() + 96);
    write_spliced(body, splice, version.sequence.0, version.instant, &mut text);
    Resource {
        text,
        version,
        owner: newest.owner.clone(),
    }
}
