//! Pulled folders into a store: the store ends with what the folders say.

use std::path::Path;
use std::sync::Arc;

use fhirhose_bulk::import::ImportSettings;
use fhirhose_bulk::sync::{
    FolderSource, LocalFilter, StateFolder, StoreTarget, Sync, SyncSettings, Unguided, apply_folder_to_store,
};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::SystemClock;
use fhirhose_store::{Found, Store, StoreSettings};

use super::fixture::{TestClock, hash};

fn patient(id: &str, night: u32, body: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"{id}","meta":{{"lastUpdated":"2026-11-0{night}T00:00:00Z"}},"language":"{body}"}}"#
    )
}

/// Writes a pull of the night with this number.
fn pull(folder: &Path, night: u32, since: Option<u32>, output: &[String], deleted: &[&str]) {
    let folder = folder.join(format!("00{night}"));
    std::fs::create_dir_all(folder.join("deleted")).unwrap();
    std::fs::write(folder.join("1.Patient.ndjson"), output.join("\n") + "\n").unwrap();
    let entries: Vec<String> = deleted
        .iter()
        .map(|key| format!(r#"{{"request":{{"method":"DELETE","url":"{key}"}}}}"#))
        .collect();
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
        entries.join(",")
    );
    std::fs::write(folder.join("deleted/1.Bundle.ndjson"), bundle + "\n").unwrap();
    let since = since.map_or(String::new(), |since| {
        format!("?_since=2026-11-0{since}T01:00:00.123Z")
    });
    let manifest = format!(
        r#"{{"transactionTime":"2026-11-0{night}T01:00:00.123Z","request":"http://ehr/fhir/$export{since}","requiresAccessToken":false,
        "output":[{{"type":"Patient","url":"1.Patient.ndjson"}}],"deleted":[{{"type":"Bundle","url":"deleted/1.Bundle.ndjson"}}],"error":[]}}"#
    );
    std::fs::write(folder.join("manifest.json"), manifest).unwrap();
}

async fn check(store: &Store, expected: &[(&str, Option<&str>)]) {
    for (id, language) in expected {
        let found = match store.read(ResourceType::PATIENT, id).await.unwrap() {
            Some(Found::Resource(found)) => Some(hash(&String::from_utf8(found.text).unwrap())),
            _ => None,
        };
        let wanted = language.map(|language| hash(&patient(id, 1, language)));
        assert_eq!(found, wanted, "{id}");
    }
}

fn store() -> Store {
    Store::in_memory(Arc::new(SystemClock), StoreSettings::default()).unwrap()
}

fn settings() -> ImportSettings {
    ImportSettings::with_threads(1)
}

#[tokio::test]
async fn dated_pulls_are_applied_to_a_store_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = folder.path().join("pulls");
    pull(
        &pulls,
        1,
        None,
        &[patient("a", 1, "x"), patient("b", 1, "x"), patient("c", 1, "x")],
        &[],
    );
    pull(&pulls, 2, Some(1), &[patient("a", 2, "y")], &["Patient/b"]);
    let store = store();
    let state = folder.path().join("state");
    let sync = || {
        Sync::new(
            Box::new(FolderSource { path: pulls.clone() }),
            Box::new(StoreTarget::new(store.clone(), settings(), "test")),
            (LocalFilter::default(), None),
            SyncSettings::default(),
            (StateFolder::open(&state).unwrap(), Arc::new(TestClock::new())),
        )
    };
    let reports = sync().catch_up(&Unguided).await.unwrap();
    assert_eq!(reports.len(), 2);
    assert_eq!(
        reports[1].transaction_time.as_deref(),
        Some("2026-11-02T01:00:00.123Z")
    );
    check(&store, &[("a", Some("y")), ("b", None), ("c", Some("x"))]).await;
    assert!(sync().catch_up(&Unguided).await.unwrap()[0].nothing_new);
    pull(&pulls, 3, Some(2), &[patient("b", 3, "z")], &["Patient/c"]);
    sync().catch_up(&Unguided).await.unwrap();
    check(&store, &[("a", Some("y")), ("b", Some("z")), ("c", None)]).await;
    // A pull that begins after the last one that was applied leaves a gap.
    pull(&pulls, 6, Some(5), &[patient("d", 6, "z")], &[]);
    let gap = sync().catch_up(&Unguided).await.unwrap_err();
    assert!(gap.to_string().contains("is missing"), "{gap}");
}

#[tokio::test]
async fn a_folder_is_applied_to_a_store_once_output_before_deleted_cl_11() {
    let folder = tempfile::tempdir().unwrap();
    pull(
        folder.path(),
        1,
        None,
        &[patient("a", 1, "x"), patient("b", 1, "x")],
        &["Patient/b"],
    );
    let (store, reports) = (store(), folder.path().join("reports"));
    let pulled = folder.path().join("001");
    for _ in 0..2 {
        let applied = apply_folder_to_store(&store, &pulled, &reports, settings())
            .await
            .unwrap();
        assert_eq!((applied.put, applied.deleted, applied.refused), (2, 1, 0));
        check(&store, &[("a", Some("x")), ("b", None)]).await;
    }
    std::fs::remove_file(pulled.join("1.Patient.ndjson")).unwrap();
    let missing = apply_folder_to_store(&store, &pulled, &reports, settings())
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("1.Patient.ndjson"), "{missing}");
}

/// Gives a pull's manifest a receipt with these members.
fn with_receipt(folder: &Path, night: u32, members: &str) {
    let path = folder.join(format!("00{night}/manifest.json"));
    let manifest = std::fs::read_to_string(&path).unwrap();
    let receipt = format!(
        r#""extension":{{"urn:fhirhose:receipt":{{"receiptVersion":1,"createdAt":"","software":"","transactionTime":"","files":[],{members}}}}},
        "output":"#
    );
    std::fs::write(&path, manifest.replace(r#""output":"#, &receipt)).unwrap();
}

#[tokio::test]
async fn what_a_pull_could_not_have_does_not_count_as_gone() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = folder.path().join("pulls");
    let both = [patient("a", 1, "x"), patient("b", 1, "x"), patient("c", 1, "x")];
    pull(&pulls, 1, None, &both, &[]);
    let (store, state) = (store(), folder.path().join("state"));
    let sync = |path: &Path| {
        let target = StoreTarget::new(store.clone(), settings(), "test");
        Sync::new(
            Box::new(FolderSource {
                path: path.to_owned(),
            }),
            Box::new(target),
            (LocalFilter::default(), None),
            SyncSettings::default(),
            (StateFolder::open(&state).unwrap(), Arc::new(TestClock::new())),
        )
    };
    sync(&pulls).catch_up(&Unguided).await.unwrap();
    // A whole pull that lacks a file, of which only its receipt knows.
    pull(&pulls, 2, None, &both[..2], &[]);
    let missing =
        r#""missing":[{"name":"2.Patient.ndjson","kind":"output","resourceType":"Patient","why":"410"}]"#;
    with_receipt(&pulls, 2, missing);
    let reports = sync(&pulls).catch_up(&Unguided).await.unwrap();
    assert_eq!(
        reports[0].missing,
        [("2.Patient.ndjson".to_owned(), "410".to_owned())]
    );
    check(&store, &[("c", Some("x"))]).await;
    // One of what is new, kicked off by POST: the URL in its manifest does not say so.
    pull(&pulls, 2, None, &both[..2], &[]);
    with_receipt(
        &pulls,
        2,
        r#""asked":{"level":"all-patients","_since":"2026-11-01T01:00:00.123Z"}"#,
    );
    sync(&pulls).catch_up(&Unguided).await.unwrap();
    check(&store, &[("a", Some("x")), ("c", Some("x"))]).await;
    // One that has not come to its end.
    let begun = folder.path().join("begun");
    std::fs::create_dir_all(begun.join(".fhirhose-pull")).unwrap();
    std::fs::write(begun.join("1.Patient.ndjson"), patient("a", 1, "x")).unwrap();
    let refused = apply_folder_to_store(&store, &begun, folder.path(), settings())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), fhirhose_bulk::ErrorKind::Corrupt);
    let error = fhirhose_bulk::reconcile::FolderSide::open(&begun, Default::default()).unwrap_err();
    assert_eq!(error.kind(), fhirhose_bulk::ErrorKind::Corrupt);
    let lacking = pulls.join("002");
    with_receipt(&pulls, 2, missing);
    let error = fhirhose_bulk::reconcile::FolderSide::open(&lacking, Default::default()).unwrap_err();
    assert!(error.to_string().contains("lacks 1 files"), "{error}");
}
