//! Remembers which assertions were used: each counts once, whatever happens to the process.

use std::sync::atomic::{AtomicUsize, Ordering};

use fhirhose_fhir::instant::Instant;
use fhirhose_store::catalog::{RecordExpect, RecordKind};
use fhirhose_store::{Result, Store};
use ring::digest::{SHA256, digest};

/// Records that are looked at together.
const PAGE: usize = 1_000;

/// What became of an assertion that somebody presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It was not used before, and is now.
    First,
    /// It was used before.
    Again,
    /// So many are remembered that no more can be.
    Full,
}

/// The used assertions, in the store: all that open it see the same.
pub(crate) struct UsedAssertions {
    store: Store,
    max: usize,
    /// How many are remembered; counted when the server starts and at each sweep.
    count: AtomicUsize,
}

impl UsedAssertions {
    /// Opens them, counts them and forgets those that have ended.
    pub(crate) async fn open(store: Store, max: usize, now: Instant) -> Result<Self> {
        let used = Self {
            store,
            max,
            count: AtomicUsize::new(0),
        };
        used.sweep(now).await?;
        Ok(used)
    }

    /// Uses an assertion, which is refused by itself from `until` on. Durable when it returns.
    ///
    /// Of several that do it at the same time one alone is the first.
    pub(crate) async fn spend(&self, issuer: &str, jti: &str, until: Instant) -> Result<Use> {
        if self.count.load(Ordering::Relaxed) >= self.max {
            return Ok(Use::Full);
        }
        let value = until.micros().to_be_bytes();
        let is_first = self
            .store
            .catalog()
            .put_record(
                RecordKind::UsedAssertion,
                &name(issuer, jti),
                &value,
                RecordExpect::Absent,
            )
            .await?;
        if !is_first {
            return Ok(Use::Again);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Use::First)
    }

    /// Forgets the assertions that have ended.
    pub(crate) async fn sweep(&self, now: Instant) -> Result<()> {
        let catalog = self.store.catalog();
        let (mut after, mut kept) = (None::<Vec<u8>>, 0);
        loop {
            let page = catalog
                .records(RecordKind::UsedAssertion, after.as_deref(), PAGE)
                .await?;
            let has_ended = |value: &[u8]| {
                value
                    .try_into()
                    .map_or(true, |bytes| i64::from_be_bytes(bytes) < now.micros())
            };
            let ended: Vec<Vec<u8>> = page
                .iter()
                .filter(|(_, value)| has_ended(value))
                .map(|(name, _)| name.clone())
                .collect();
            kept += page.len() - ended.len();
            if !ended.is_empty() {
                catalog.remove_records(RecordKind::UsedAssertion, &ended).await?;
            }
            let is_last = page.len() < PAGE;
            after = page.into_iter().last().map(|(name, _)| name);
            if is_last {
                break;
            }
        }
        // Those that were used meanwhile may be missed until the next sweep; the limit is no law of nature.
        self.count.store(kept, Ordering::Relaxed);
        Ok(())
    }
}

/// One name for each pair of an issuer and an id, of one length however long they are.
fn name(issuer: &str, jti: &str) -> Vec<u8> {
    let mut both = Vec::with_capacity(8 + issuer.len() + jti.len());
    both.extend((issuer.len() as u64).to_be_bytes());
    both.extend(issuer.as_bytes());
    both.extend(jti.as_bytes());
    digest(&SHA256, &both).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhirhose_jobs::SystemClock;
    use fhirhose_store::StoreSettings;
    use std::sync::Arc;

    fn at(secs: i64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    async fn used(store: &Store, max: usize) -> UsedAssertions {
        UsedAssertions::open(store.clone(), max, at(0))
            .await
            .expect("the store answers")
    }

    /// by issuer and id, whoever opens the store, until the assertion ends.
    #[tokio::test]
    async fn an_assertion_counts_once_until_it_is_forgotten() {
        let store = Store::in_memory(Arc::new(SystemClock), StoreSettings::default()).expect("a store");
        let first = used(&store, 10).await;
        let spend = async |used: &UsedAssertions, issuer, jti| {
            used.spend(issuer, jti, at(100)).await.expect("it answers")
        };
        assert_eq!(spend(&first, "a", "bc").await, Use::First);
        assert_eq!(spend(&first, "a", "bc").await, Use::Again);
        assert_eq!(spend(&first, "ab", "c").await, Use::First);
        let second = used(&store, 10).await;
        assert_eq!(spend(&second, "a", "bc").await, Use::Again);
        second.sweep(at(100)).await.expect("it answers");
        assert_eq!(spend(&second, "a", "bc").await, Use::Again);
        second.sweep(at(101)).await.expect("it answers");
        assert_eq!(spend(&second, "a", "bc").await, Use::First);
    }

    #[tokio::test]
    async fn no_more_are_remembered_than_there_is_room_for() {
        let store = Store::in_memory(Arc::new(SystemClock), StoreSettings::default()).expect("a store");
        let used = used(&store, 2).await;
        for jti in ["1", "2"] {
            assert_eq!(
                used.spend("a", jti, at(100)).await.expect("it answers"),
                Use::First
            );
        }
        assert_eq!(
            used.spend("a", "3", at(100)).await.expect("it answers"),
            Use::Full
        );
        used.sweep(at(101)).await.expect("it answers");
        assert_eq!(
            used.spend("a", "3", at(200)).await.expect("it answers"),
            Use::First
        );
    }
}
