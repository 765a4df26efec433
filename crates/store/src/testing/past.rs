//! What a catalog promises about the past of one resource, one promise a function.

use super::workload::{Workload, import};
use crate::catalog::{Commit, Expect, HotAction, HotWrite, Origin, Write};
use crate::{Event, Found, Happened, Sequence, Store};
use fhirhose_fhir::resource_type::ResourceType;

const TYPE: ResourceType = ResourceType::OBSERVATION;
const ALL: Sequence = Sequence(u64::MAX);

/// Runs the promises about the past on a store that holds no Observation whose id begins with `past`.
pub(super) async fn conformance(store: &Store) {
    history_is_found_by_id_whoever_owned_it(store).await;
    a_snapshot_is_read_by_id(store).await;
    ids_come_in_the_order_of_their_text(store).await;
}

fn owned(id: &str, owner: &str, value: u64) -> Workload {
    Workload {
        resource_type: TYPE,
        owner: Some(owner.into()),
        id: id.into(),
        value,
    }
}

async fn write(store: &Store, write: HotWrite) -> Sequence {
    let commit = Commit {
        write: Write::Hot(vec![write]),
        job: None,
        origin: Origin::default(),
    };
    let committed = store.catalog().commit(commit).await.expect("a write");
    committed.snapshot.sequence
}

fn deletion(id: &str) -> HotWrite {
    HotWrite {
        resource_type: TYPE,
        id: id.to_owned(),
        expect: Expect::Any,
        action: HotAction::Delete { others: Vec::new() },
    }
}

/// Writes a life: three versions under two owners, a deletion, and the resource again under a third owner.
async fn life(store: &Store, id: &str) -> [Sequence; 5] {
    let first = write(store, owned(id, "pa", 1).put(Expect::Any)).await;
    let second = write(store, owned(id, "pa", 2).put(Expect::Any)).await;
    let imported = import(store, &format!("{id}.run"), &[owned(id, "pb", 3)]).await;
    let third = imported.expect("an import").snapshot.sequence;
    let deleted = write(store, deletion(id)).await;
    let again = write(store, owned(id, "pc", 4).put(Expect::Any)).await;
    [first, second, third, deleted, again]
}

async fn history_is_found_by_id_whoever_owned_it(store: &Store) {
    let [first, second, third, deleted, again] = life(store, "past-1").await;
    let events = store.history(TYPE, "past-1", ALL, 10).await.expect("a history");
    let told: Vec<(Sequence, Option<&str>)> = events
        .iter()
        .map(|event| (event.sequence, owner(event)))
        .collect();
    let expected = [
        (again, Some("pc")),
        (deleted, None),
        (third, Some("pb")),
        (second, Some("pa")),
        (first, Some("pa")),
    ];
    assert_eq!(told, expected, "newest first, deletions among them");
    for (event, value) in events.iter().zip([Some(4), None, Some(3), Some(2), Some(1)]) {
        let read = store.read_event(TYPE, "past-1", event).await.expect("a read");
        let text = read.map(|resource| String::from_utf8(resource.text).expect("text"));
        assert_eq!(text.is_some(), value.is_some());
        if let (Some(text), Some(value)) = (text, value) {
            assert!(text.ends_with(&format!(r#""value":{value}}}"#)), "{text}");
        }
    }
    let mut paged = Vec::new();
    let mut before = ALL;
    while let Some(event) = store
        .history(TYPE, "past-1", before, 1)
        .await
        .expect("a history")
        .pop()
    {
        before = event.sequence;
        paged.push(event.sequence);
    }
    assert_eq!(paged, [again, deleted, third, second, first]);
    let instant = store.catalog().instant_of(deleted).await.expect("a read");
    assert!(instant.is_some(), "a commit has its instant");
}

fn owner(event: &Event) -> Option<&str> {
    match &event.happened {
        Happened::Written { owner } => owner.as_deref(),
        Happened::Deleted => None,
    }
}

async fn a_snapshot_is_read_by_id(store: &Store) {
    let before = store.catalog().snapshot().await.expect("a snapshot").sequence;
    let [first, second, third, deleted, again] = life(store, "past-2").await;
    assert_eq!(store.read_at(TYPE, "past-2", before).await.expect("a read"), None);
    for at in [first, second, third, again] {
        let found = store.read_at(TYPE, "past-2", at).await.expect("a read");
        let Some(Found::Resource(resource)) = found else {
            panic!("a version")
        };
        assert_eq!(resource.version.sequence, at);
    }
    let found = store.read_at(TYPE, "past-2", deleted).await.expect("a read");
    assert_eq!(found, Some(Found::Deleted(deleted)));
}

async fn ids_come_in_the_order_of_their_text(store: &Store) {
    let uuid = "0000000a-0000-4000-8000-00000000000a";
    let mut expected = vec!["past.a", "pas", "past-9", uuid, "0", "z", "A"];
    for id in &expected {
        write(store, owned(id, "p1", 1).put(Expect::Any)).await;
    }
    write(store, deletion("z")).await;
    expected.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.catalog().ids(TYPE, after.as_deref(), 2).await.expect("ids");
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        found.extend(page);
    }
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "each once, in order");
    let known = |id: &str| found.iter().any(|(text, _)| text == id);
    assert!(expected.iter().all(|id| known(id)), "deletions too");
}
