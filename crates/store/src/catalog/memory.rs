//! The ordered key-value store of tests: maps in memory.

use super::kv::{Batch, Durability, Kv, Space, Visit};
use crate::Result;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

type Maps = BTreeMap<Space, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Maps in memory behind one lock; what is written is gone with the value.
#[derive(Debug, Default)]
pub struct MemoryKv {
    /// Written by `write` and `ingest`, read by the rest; never held across a call out but `visit`.
    maps: RwLock<Maps>,
}

impl MemoryKv {
    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for MemoryKv {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.read().get(&space).and_then(|map| map.get(key)).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<()> {
        let maps = self.read();
        let Some(map) = maps.get(&space) else {
            return Ok(());
        };
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in map.range::<[u8], _>((Bound::Included(from), end)) {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, space: Space) -> Result<Option<Vec<u8>>> {
        Ok(self
            .read()
            .get(&space)
            .and_then(|map| map.last_key_value())
            .map(|(key, _)| key.clone()))
    }

    fn write(&self, batch: Batch, _durability: Durability) -> Result<()> {
        let mut maps = self.lock();
        for (space, key, value) in batch.operations {
            let map = maps.entry(space).or_default();
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn ingest(&self, space: Space, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<()> {
        self.lock().entry(space).or_default().extend(rows);
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(0)
    }
}
