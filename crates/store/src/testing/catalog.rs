//! The conformance suite: what a catalog promises, one promise a function.

use super::snapshots::snapshots_stay;
use super::workload::{Workload, import, shown};
use crate::catalog::{Commit, Expect, HotDone, JobWrite, Origin, Write};
use crate::{ErrorKind, Found, Sequence, Store};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Checkpoint, Claim, JobId, NewJob, Timestamp};

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When a promise is broken; the message says which.
pub async fn conformance(store: Store) {
    snapshots_stay(&store, 7, 40).await.expect("the store works");
    instants_rise_and_sequences_chain(&store).await;
    identical_content_makes_no_version(&store).await;
    a_write_is_read_back_with_its_version(&store).await;
    expectations_are_held(&store).await;
    deletions_are_listed_until_recreated(&store).await;
    a_stale_lease_commits_nothing(&store).await;
    since_shows_the_changes_only(&store).await;
    super::past::conformance(&store).await;
    super::records::conformance(&store).await;
}

fn observation(id: &str, value: u64) -> Workload {
    Workload {
        resource_type: ResourceType::OBSERVATION,
        owner: Some("p1".into()),
        id: id.into(),
        value,
    }
}

fn hot(writes: Vec<crate::catalog::HotWrite>) -> Commit {
    Commit {
        write: Write::Hot(writes),
        job: None,
        origin: Origin::default(),
    }
}

async fn instants_rise_and_sequences_chain(store: &Store) {
    let catalog = store.catalog();
    let before = catalog.snapshot().await.expect("a snapshot");
    let first = catalog
        .commit(hot(vec![observation("i1", 1).put(Expect::Any)]))
        .await
        .expect("a write");
    let second = catalog
        .commit(hot(vec![observation("i1", 2).put(Expect::Any)]))
        .await
        .expect("a write");
    assert!(
        before.instant < first.snapshot.instant,
        "no later write falls on or before a snapshot's instant"
    );
    assert!(first.snapshot.instant < second.snapshot.instant);
    assert!(first.snapshot.sequence < second.snapshot.sequence);
    assert_eq!(
        catalog.sequence_at(first.snapshot.instant).await.expect("read"),
        first.snapshot.sequence
    );
    assert_eq!(
        catalog.sequence_at(before.instant).await.expect("read"),
        before.sequence
    );
    let after = catalog.snapshot().await.expect("a snapshot");
    assert_eq!(after.sequence, second.snapshot.sequence);
    assert!(after.instant >= second.snapshot.instant);
}

async fn identical_content_makes_no_version(store: &Store) {
    let resources: Vec<Workload> = (0..3_000).map(|n| observation(&format!("same-{n}"), n)).collect();
    let first = import(store, "same-1.run", &resources).await.expect("an import");
    assert_eq!(
        (first.counts.created, first.counts.updated, first.counts.unchanged),
        (3_000, 0, 0)
    );
    let again = import(store, "same-2.run", &resources).await.expect("an import");
    assert_eq!(
        (again.counts.created, again.counts.updated, again.counts.unchanged),
        (0, 0, 3_000)
    );
    assert!(!again.run_kept, "a run with nothing new is not part of the store");
    assert_eq!(again.snapshot.sequence, first.snapshot.sequence);
    let mut changed = resources.clone();
    changed[17].value = 1_000_000;
    let third = import(store, "same-3.run", &changed).await.expect("an import");
    assert_eq!(
        (third.counts.created, third.counts.updated, third.counts.unchanged),
        (0, 1, 2_999)
    );
    let seen = shown(store, third.snapshot.sequence, Sequence::ZERO)
        .await
        .expect("a scan");
    let row = &seen[&(
        "Observation".to_owned(),
        Some("p1".to_owned()),
        "same-17".to_owned(),
    )];
    assert_eq!(row, &(third.snapshot.sequence, changed[17].body()));
    assert_eq!(
        seen.values()
            .filter(|(sequence, _)| *sequence == first.snapshot.sequence)
            .count(),
        2_999
    );
}

async fn a_write_is_read_back_with_its_version(store: &Store) {
    let resource = observation("read-me", 5);
    let done = store
        .catalog()
        .commit(hot(vec![resource.put(Expect::Any)]))
        .await
        .expect("a write");
    let Some(Found::Resource(found)) = store
        .read(ResourceType::OBSERVATION, "read-me")
        .await
        .expect("a read")
    else {
        panic!("what was acknowledged can be read");
    };
    assert_eq!(found.version, done.snapshot);
    let version = format!(r#""versionId":"{}""#, done.snapshot.sequence);
    assert!(String::from_utf8(found.text).expect("text").contains(&version));
    store.flush("read-me.run", None).await.expect("a flush");
    let Some(Found::Resource(after)) = store
        .read(ResourceType::OBSERVATION, "read-me")
        .await
        .expect("a read")
    else {
        panic!("a flush loses nothing");
    };
    assert_eq!(after.version, done.snapshot, "a flush changes no version");
    assert!(
        store
            .read(ResourceType::OBSERVATION, "never-was")
            .await
            .expect("a read")
            .is_none()
    );
}

async fn expectations_are_held(store: &Store) {
    let catalog = store.catalog();
    let first = catalog
        .commit(hot(vec![observation("e1", 1).put(Expect::Absent)]))
        .await
        .expect("it is absent");
    let refused = catalog
        .commit(hot(vec![observation("e1", 2).put(Expect::Absent)]))
        .await;
    assert_eq!(refused.expect_err("it is there").kind(), ErrorKind::Conflict);
    let refused = catalog
        .commit(hot(vec![observation("e1", 2).put(Expect::Version(Sequence(1)))]))
        .await;
    assert_eq!(
        refused.expect_err("it is at another version").kind(),
        ErrorKind::Conflict
    );
    let version = Expect::Version(first.snapshot.sequence);
    let second = catalog
        .commit(hot(vec![observation("e1", 2).put(version)]))
        .await
        .expect("that version");
    assert_eq!(second.results[0].done, HotDone::Updated);
    let same = catalog
        .commit(hot(vec![observation("e1", 2).put(Expect::Any)]))
        .await
        .expect("a write");
    assert_eq!(
        (same.results[0].done, same.results[0].version),
        (HotDone::Unchanged, second.snapshot)
    );
}

async fn deletions_are_listed_until_recreated(store: &Store) {
    let catalog = store.catalog();
    let resource = observation("d1", 1);
    let made = catalog
        .commit(hot(vec![resource.put(Expect::Any)]))
        .await
        .expect("a write")
        .snapshot;
    let gone = catalog
        .commit(hot(vec![resource.delete()]))
        .await
        .expect("a deletion");
    assert_eq!(gone.results[0].done, HotDone::Deleted);
    let again = catalog
        .commit(hot(vec![resource.delete()]))
        .await
        .expect("a deletion");
    assert_eq!(again.results[0].done, HotDone::Missing);
    let found = store.read(ResourceType::OBSERVATION, "d1").await.expect("a read");
    assert_eq!(found, Some(Found::Deleted(gone.snapshot.sequence)));
    let listed = catalog
        .gone(made.sequence, gone.snapshot.sequence, None, 10)
        .await
        .expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].key.clone(), listed[0].recreated),
        (resource.key(), None)
    );
    let next = catalog
        .gone(made.sequence, gone.snapshot.sequence, Some(&listed[0]), 10)
        .await
        .expect("a list");
    assert!(next.is_empty(), "a list goes on after its last entry");
    let back = catalog
        .commit(hot(vec![resource.put(Expect::Any)]))
        .await
        .expect("a write");
    assert_eq!(back.results[0].done, HotDone::Created);
    let listed = catalog
        .gone(made.sequence, back.snapshot.sequence, None, 10)
        .await
        .expect("a list");
    assert_eq!(listed[0].recreated, Some(back.snapshot.sequence));
    let past = shown(store, gone.snapshot.sequence, Sequence::ZERO)
        .await
        .expect("a scan");
    assert!(
        !past.keys().any(|(_, _, id)| id == "d1"),
        "the past stays as it was"
    );
}

async fn a_stale_lease_commits_nothing(store: &Store) {
    let catalog = store.catalog();
    let id = JobId::from_bytes([9; 16]);
    let created = Timestamp::from_micros(1);
    let job = NewJob {
        id,
        kind: "suite".into(),
        spec: Vec::new(),
        owner: String::new(),
        created,
    };
    catalog.create(job).await.expect("a job");
    let claim = |now: i64| Claim {
        worker: "suite",
        kinds: &["suite"],
        now: Timestamp::from_micros(now),
        until: Timestamp::from_micros(now + 10),
    };
    let (_, stale) = catalog.claim(claim(1)).await.expect("a claim").expect("the job");
    let (_, lease) = catalog
        .claim(claim(100))
        .await
        .expect("a claim")
        .expect("the job, its lease being over");
    let commit = |lease, value| Commit {
        write: Write::Hot(vec![observation("leased", value).put(Expect::Any)]),
        job: Some(JobWrite {
            lease,
            checkpoint: Box::new(move |_| Checkpoint::new().state(vec![7]).entry(3, vec![4])),
        }),
        origin: Origin::default(),
    };
    let refused = catalog
        .commit(commit(stale, 1))
        .await
        .expect_err("the lease is stale");
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
    let found = store.read(ResourceType::OBSERVATION, "leased").await;
    assert_eq!(found.expect("a read"), None);
    catalog.commit(commit(lease, 2)).await.expect("the lease is held");
    let record = catalog.job(&id).await.expect("a read").expect("the job");
    assert_eq!(
        record.checkpoint,
        Some(vec![7]),
        "data and checkpoint go together"
    );
    assert_eq!(
        catalog.entries(&id, 0, 10).await.expect("a read"),
        vec![(3, vec![4])]
    );
    catalog
        .cancel(&id, Timestamp::from_micros(200))
        .await
        .expect("a cancel");
    let refused = catalog
        .commit(commit(lease, 3))
        .await
        .expect_err("the job is cancelled");
    assert_eq!(
        refused.kind(),
        ErrorKind::Cancelled,
        "cancelled and lost are distinct"
    );
    catalog.remove(&id).await.expect("a removal");
}

async fn since_shows_the_changes_only(store: &Store) {
    let catalog = store.catalog();
    let before = catalog.snapshot().await.expect("a snapshot");
    let since = catalog.sequence_at(before.instant).await.expect("a sequence");
    let done = catalog
        .commit(hot(vec![observation("new", 1).put(Expect::Any)]))
        .await
        .expect("a write");
    let changes = shown(store, done.snapshot.sequence, since).await.expect("a scan");
    let ids: Vec<&str> = changes.keys().map(|(_, _, id)| id.as_str()).collect();
    assert_eq!(ids, ["new"]);
}
