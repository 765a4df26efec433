//! Records: small values by name that are kept beside the resources, such as clients and the ids of used assertions.

use super::kv::{Batch, Durability, Space};
use super::kv_catalog::Inner;
use crate::Result;
use std::ops::ControlFlow;

/// What a record is about. The number is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// A registered client, by its id.
    Client = 1,
    /// A client assertion that was used, by its issuer and id: whoever presents it again is refused.
    UsedAssertion = 2,
    /// A key of the server's own, by its purpose.
    Key = 3,
    /// Where a background task stands, by its name.
    Cursor = 4,
}

/// What must be there for a record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordExpect<'a> {
    /// Anything.
    Any,
    /// Nothing.
    Absent,
    /// This value.
    Value(&'a [u8]),
}

/// A record's name and value.
pub type Record = (Vec<u8>, Vec<u8>);

fn key(kind: RecordKind, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind as u8);
    key.extend_from_slice(name);
    key
}

impl Inner {
    pub(super) fn record(&self, kind: RecordKind, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.kv.get(Space::Record, &key(kind, name))
    }

    pub(super) fn list_records(
        &self,
        kind: RecordKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let mut from = key(kind, after.unwrap_or_default());
        if after.is_some() {
            from.push(0);
        }
        let to = [kind as u8 + 1];
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.kv.scan(Space::Record, &from, Some(&to), &mut |key, value| {
            found.push((key[1..].to_vec(), value.to_vec()));
            Ok(if found.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(found)
    }

    /// Under the writer's lock, so that of two that expect the same one alone is taken.
    pub(super) fn put_record(
        &self,
        kind: RecordKind,
        name: &[u8],
        value: &[u8],
        expect: RecordExpect<'_>,
    ) -> Result<bool> {
        let _writer = self.lock()?;
        let key = key(kind, name);
        let is_as_expected = match expect {
            RecordExpect::Any => true,
            RecordExpect::Absent => self.kv.get(Space::Record, &key)?.is_none(),
            RecordExpect::Value(value) => self.kv.get(Space::Record, &key)?.as_deref() == Some(value),
        };
        if is_as_expected {
            let mut batch = Batch::default();
            batch.put(Space::Record, key, value);
            self.kv.write(batch, Durability::Synced)?;
        }
        Ok(is_as_expected)
    }

    pub(super) fn remove_records(&self, kind: RecordKind, names: &[Vec<u8>]) -> Result<()> {
        let _writer = self.lock()?;
        let mut batch = Batch::default();
        for name in names {
            batch.remove(Space::Record, key(kind, name));
        }
        // What a power cut brings back is as old as it was, and is removed again.
        self.kv.write(batch, Durability::Buffered)
    }
}
