//! Reads one resource by type and id: its newest version, that of a snapshot, or any that is still there.

use crate::catalog::{Ended, KeyRange, Newest, Snapshot};
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

/// Something that happened to a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The commit, which is also the version that it made.
    pub sequence: Sequence,
    /// What it did.
    pub happened: Happened,
    /// The commit that ended the version, where one did.
    pub ended_at: Option<Sequence>,
}

/// What happened to a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A version was written.
    Written {
        /// The patient whose compartment it sits in.
        owner: Option<String>,
    },
    /// It was deleted.
    Deleted,
}

impl Event {
    fn of_newest(newest: Newest) -> Self {
        let happened = if newest.deleted {
            Happened::Deleted
        } else {
            Happened::Written { owner: newest.owner }
        };
        Self {
            sequence: newest.sequence,
            happened,
            ended_at: None,
        }
    }

    /// A version, and its deletion where that ended it.
    fn of_ended(ended: Ended) -> impl Iterator<Item = Self> {
        let deletion = ended.deleted.then_some(Self {
            sequence: ended.ended_at,
            happened: Happened::Deleted,
            ended_at: None,
        });
        let written = Self {
            sequence: ended.sequence,
            happened: Happened::Written { owner: ended.owner },
            ended_at: Some(ended.ended_at),
        };
        std::iter::once(written).chain(deletion)
    }
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
            let at = (newest.owner.as_deref(), newest.sequence);
            if let Some(resource) = self.read_version(resource_type, id, at).await? {
                return Ok(Some(Found::Resource(resource)));
            }
        }
        Err(missing("a resource"))
    }

    /// Reads a resource as a snapshot shows it. `None` when there was none, and when what there was has been dropped, which is
    /// only possible where `at` lies below [`Catalog::forgotten`](crate::catalog::Catalog::forgotten).
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read_at(
        &self,
        resource_type: ResourceType,
        id: &str,
        at: Sequence,
    ) -> Result<Option<Found>> {
        for _ in 0..4 {
            let Some(event) = self
                .history(resource_type, id, Sequence(at.0.saturating_add(1)), 1)
                .await?
                .pop()
            else {
                return Ok(None);
            };
            let Happened::Written { owner } = &event.happened else {
                return Ok(Some(Found::Deleted(event.sequence)));
            };
            let version = (owner.as_deref(), event.sequence);
            if let Some(resource) = self.read_version(resource_type, id, version).await? {
                return Ok(Some(Found::Resource(resource)));
            }
            // Nothing shows a version that has ended before the snapshot and was dropped.
            if event.ended_at.is_some_and(|ended_at| ended_at <= at) {
                return Ok(None);
            }
        }
        Err(missing("a resource"))
    }

    /// What happened to a resource, newest first, at most `limit` events of those below `before`.
    ///
    /// Versions that ended at or before [`Catalog::forgotten`](crate::catalog::Catalog::forgotten) may be missing.
    ///
    /// # Errors
    /// What the catalog gives.
    pub async fn history(
        &self,
        resource_type: ResourceType,
        id: &str,
        before: Sequence,
        limit: usize,
    ) -> Result<Vec<Event>> {
        // First the newest, then the ended: a write in between shows a version twice, never hides one.
        let newest = self.newest(resource_type, id).await?;
        let ended = self.catalog().ended((resource_type, id), before, limit).await?;
        let mut events: Vec<Event> = ended.into_iter().flat_map(Event::of_ended).collect();
        events.extend(newest.map(Event::of_newest));
        events.retain(|event| event.sequence < before);
        // Of two with one sequence, the one that knows its end comes first and stays.
        events.sort_by_key(|event| (std::cmp::Reverse(event.sequence), event.ended_at.is_none()));
        events.dedup_by_key(|event| event.sequence);
        events.truncate(limit);
        Ok(events)
    }

    /// Reads the version that an event of [`Store::history`] wrote; `None` for a deletion, and for a version that was dropped.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn read_event(
        &self,
        resource_type: ResourceType,
        id: &str,
        event: &Event,
    ) -> Result<Option<Resource>> {
        match &event.happened {
            Happened::Deleted => Ok(None),
            Happened::Written { owner } => {
                let version = (owner.as_deref(), event.sequence);
                self.read_version(resource_type, id, version).await
            }
        }
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
        (owner, sequence): (Option<&str>, Sequence),
    ) -> Result<Option<Resource>> {
        let mut key = Vec::new();
        crate::key::encode(resource_type, owner, id, &mut key);
        let hot = self
            .catalog()
            .hot(&KeyRange::of_prefix(key.clone()), usize::MAX)
            .await?;
        if let Some(row) = hot
            .into_iter()
            .find(|row| row.sequence == sequence && row.key == key)
        {
            let version = Snapshot {
                sequence: row.sequence,
                instant: row.instant,
            };
            return Ok(Some(resource(&row.body, row.splice, version, owner)));
        }
        let code = resource_type.code();
        let holds = |run: &crate::catalog::RunRecord| {
            let has_type = run
                .summary
                .types
                .iter()
                .any(|count| count.resource_type.code() == code);
            has_type && run.oldest <= sequence && sequence <= run.newest
        };
        for run in self.layout(holds).await? {
            if let Some((body, splice, instant)) = self.find(&run, &key, id, sequence).await? {
                let version = Snapshot { sequence, instant };
                return Ok(Some(resource(&body, splice, version, owner)));
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

fn resource(body: &[u8], splice: Splice, version: Snapshot, owner: Option<&str>) -> Resource {
    let mut text = Vec::with_capacity(body.len() + 96);
    write_spliced(body, splice, version.sequence.0, version.instant, &mut text);
    Resource {
        text,
        version,
        owner: owner.map(str::to_owned),
    }
}
