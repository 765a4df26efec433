//! What a catalog promises about records, one promise a function.

use crate::Store;
use crate::catalog::{RecordExpect, RecordKind};

/// Runs the promises about records on a store that has none.
pub(super) async fn conformance(store: &Store) {
    records_are_kept_by_kind_and_name(store).await;
    of_many_that_expect_nothing_one_is_taken(store).await;
}

async fn records_are_kept_by_kind_and_name(store: &Store) {
    let catalog = store.catalog();
    let put = |kind, name: &'static [u8], value: &'static [u8], expect| {
        catalog.put_record(kind, name, value, expect)
    };
    for name in [&b"b"[..], b"a", b"ab", b""] {
        assert!(
            put(RecordKind::Client, name, name, RecordExpect::Absent)
                .await
                .expect("a record")
        );
    }
    assert!(
        put(RecordKind::UsedAssertion, b"a", b"other", RecordExpect::Absent)
            .await
            .expect("another kind")
    );
    let names = |after: Option<&'static [u8]>, limit| async move {
        let found = catalog
            .records(RecordKind::Client, after, limit)
            .await
            .expect("records");
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 9).await, [&b""[..], b"a", b"ab", b"b"]);
    assert_eq!(names(Some(b"a"), 1).await, [b"ab"]);
    assert!(
        !put(RecordKind::Client, b"a", b"2", RecordExpect::Value(b"1"))
            .await
            .expect("not as expected")
    );
    assert!(
        put(RecordKind::Client, b"a", b"2", RecordExpect::Value(b"a"))
            .await
            .expect("as expected")
    );
    assert_eq!(
        catalog
            .record(RecordKind::Client, b"a")
            .await
            .expect("a read")
            .as_deref(),
        Some(&b"2"[..])
    );
    let gone = [b"a".to_vec(), b"never".to_vec()];
    catalog
        .remove_records(RecordKind::Client, &gone)
        .await
        .expect("removed");
    assert_eq!(
        catalog.record(RecordKind::Client, b"a").await.expect("a read"),
        None
    );
    let other = catalog
        .record(RecordKind::UsedAssertion, b"a")
        .await
        .expect("a read");
    assert_eq!(other.as_deref(), Some(&b"other"[..]));
}

async fn of_many_that_expect_nothing_one_is_taken(store: &Store) {
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..8_u8 {
        let catalog = store.catalog().clone();
        tries.spawn(async move {
            let value = [number];
            let put = catalog.put_record(RecordKind::UsedAssertion, b"once", &value, RecordExpect::Absent);
            put.await.expect("a record")
        });
    }
    let taken = tries.join_all().await.into_iter().filter(|taken| *taken).count();
    assert_eq!(taken, 1);
}
