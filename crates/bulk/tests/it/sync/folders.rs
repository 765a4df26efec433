//! Pulled folders into a store: the store ends with what the folders say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::import::ImportSettings;
use fhirhose_bulk::sync::{
    FolderSource, LocalFilter, RoundReport, StateFolder, StoreTarget, Sync, SyncSettings, Unguided,
    apply_folder_to_store,
};
use fhirhose_client::ExportParameters;
use fhirhose_client::pull::{FileKind, MissingFile, PulledFile};
use fhirhose_client::receipt::{Asked, Delivery, write_manifest};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::SystemClock;
use fhirhose_store::{Found, Store, StoreSettings};
use sha2::{Digest, Sha256};

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

/// Gives a pull's manifest its receipt, where this was asked for and these files could not be had.
fn with_receipt(folder: &Path, night: u32, asked: &ExportParameters, missing: &[MissingFile]) {
    let folder = folder.join(format!("00{night}"));
    let file = |name: &str, kind: FileKind| {
        let text = std::fs::read(folder.join(name)).unwrap();
        PulledFile {
            name: name.to_owned(),
            kind,
            resource_type: name.split('.').nth(1).map(str::to_owned),
            lines: text
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .count() as u64,
            bytes: text.len() as u64,
            sha256: Sha256::digest(&text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    };
    let delivery = Delivery {
        manifest: &std::fs::read_to_string(folder.join("manifest.json")).unwrap(),
        entries: &BTreeMap::new(),
        source: None,
        asked: Some(Asked::from(asked)),
        created_at: Instant::from_micros(0),
        files: &[
            file("1.Patient.ndjson", FileKind::Output),
            file("deleted/1.Bundle.ndjson", FileKind::Deleted),
        ],
        missing,
    };
    write_manifest(&folder, &delivery, None).unwrap();
}

fn everything() -> ExportParameters {
    ExportParameters::new(ExportLevel::AllPatients)
}

/// A sync from folders into a store.
struct ToStore {
    folder: tempfile::TempDir,
    store: Store,
    import: ImportSettings,
    settings: SyncSettings,
}

impl ToStore {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: store(),
            import: settings(),
            settings: SyncSettings::default(),
        }
    }

    fn pulls(&self) -> PathBuf {
        self.folder.path().join("pulls")
    }

    fn sync(&self) -> Sync {
        let state = StateFolder::open(&self.folder.path().join("state")).unwrap();
        Sync::new(
            Box::new(FolderSource { path: self.pulls() }),
            Box::new(StoreTarget::new(self.store.clone(), self.import.clone(), "test")),
            (LocalFilter::default(), None),
            self.settings.clone(),
            (state, Arc::new(TestClock::new())),
        )
    }

    async fn catch_up(&self) -> fhirhose_bulk::Result<Vec<RoundReport>> {
        self.sync().catch_up(&Unguided).await
    }
}

#[tokio::test]
async fn what_a_pull_could_not_have_does_not_count_as_gone() {
    let to = ToStore::new();
    let (pulls, folder) = (to.pulls(), to.folder.path());
    let both = [patient("a", 1, "x"), patient("b", 1, "x"), patient("c", 1, "x")];
    pull(&pulls, 1, None, &both, &[]);
    to.catch_up().await.unwrap();
    // A whole pull that lacks a file, of which only its receipt knows.
    pull(&pulls, 2, None, &both[..2], &[]);
    let missing = [MissingFile {
        name: "2.Patient.ndjson".to_owned(),
        kind: FileKind::Output,
        resource_type: Some("Patient".to_owned()),
        why: "410".to_owned(),
    }];
    with_receipt(&pulls, 2, &everything(), &missing);
    let reports = to.catch_up().await.unwrap();
    assert_eq!(
        reports[0].missing,
        [("2.Patient.ndjson".to_owned(), "410".to_owned())]
    );
    check(&to.store, &[("c", Some("x"))]).await;
    // One of what is new, kicked off by POST: the URL in its manifest does not say so.
    pull(&pulls, 2, None, &both[..2], &[]);
    let asked = ExportParameters {
        since: Some("2026-11-01T01:00:00.123Z".to_owned()),
        ..everything()
    };
    with_receipt(&pulls, 2, &asked, &[]);
    let reports = to.catch_up().await.unwrap();
    assert!(reports[0].missing.is_empty(), "{:?}", reports[0].missing);
    check(&to.store, &[("a", Some("x")), ("c", Some("x"))]).await;
    // One that has not come to its end.
    let begun = folder.join("begun");
    std::fs::create_dir_all(begun.join(".fhirhose-pull")).unwrap();
    std::fs::write(begun.join("1.Patient.ndjson"), patient("a", 1, "x")).unwrap();
    let refused = apply_folder_to_store(&to.store, &begun, folder, settings())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), fhirhose_bulk::ErrorKind::Corrupt);
    let error = fhirhose_bulk::reconcile::FolderSide::open(&begun, Default::default()).unwrap_err();
    assert_eq!(error.kind(), fhirhose_bulk::ErrorKind::Corrupt);
    let lacking = pulls.join("002");
    pull(&pulls, 2, None, &both[..2], &[]);
    with_receipt(&pulls, 2, &everything(), &missing);
    let error = fhirhose_bulk::reconcile::FolderSide::open(&lacking, Default::default()).unwrap_err();
    assert!(error.to_string().contains("lacks 1 files"), "{error}");
}

#[tokio::test]
async fn a_pull_that_is_not_what_its_receipt_says_is_not_applied() {
    let to = ToStore::new();
    pull(&to.pulls(), 1, None, &[patient("a", 1, "x")], &[]);
    with_receipt(&to.pulls(), 1, &everything(), &[]);
    let file = to.pulls().join("001/1.Patient.ndjson");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"x\"", "\"y\"")).unwrap();
    let reports = to.catch_up().await.unwrap();
    assert_eq!(reports[0].missing[0].0, "1.Patient.ndjson");
    check(&to.store, &[("a", None)]).await;
    std::fs::write(&file, text).unwrap();
    assert!(to.catch_up().await.unwrap()[0].is_clean());
    check(&to.store, &[("a", Some("x"))]).await;
}

#[tokio::test]
async fn attachments_are_neither_applied_nor_missed() {
    let to = ToStore::new();
    pull(&to.pulls(), 1, None, &[patient("a", 1, "x")], &[]);
    let attachments = to.pulls().join("001/attachments");
    std::fs::create_dir(&attachments).unwrap();
    let line = patient("b", 1, "x");
    let name = format!("{:064x}.ndjson", 7);
    std::fs::write(attachments.join(name), line).unwrap();
    with_receipt(&to.pulls(), 1, &everything(), &[]);
    std::fs::remove_dir_all(&attachments).unwrap();
    let reports = to.catch_up().await.unwrap();
    assert!(reports[0].is_clean(), "{:?}", reports[0].missing);
    check(&to.store, &[("a", Some("x")), ("b", None)]).await;
}

#[tokio::test]
async fn a_whole_pull_of_less_than_the_first_deletes_nothing() {
    for has_receipt in [false, true] {
        let to = ToStore::new();
        let all = [patient("a", 1, "x"), patient("b", 1, "x")];
        let pulled = |night: u32, output: &[String], types: &str| {
            pull(&to.pulls(), night, None, output, &[]);
            let path = to.pulls().join(format!("00{night}/manifest.json"));
            let query = if types.is_empty() {
                String::new()
            } else {
                format!("?_type={types}")
            };
            let manifest = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, manifest.replace("$export", &format!("$export{query}"))).unwrap();
            let asked = ExportParameters {
                types: types.split_terminator(',').map(str::to_owned).collect(),
                ..everything()
            };
            if has_receipt {
                with_receipt(&to.pulls(), night, &asked, &[]);
            }
        };
        pulled(1, &all, "");
        pulled(2, &all[..1], "Patient");
        let reports = to.catch_up().await.unwrap();
        let is_whole: Vec<bool> = reports.iter().map(|report| report.is_whole).collect();
        // The newest whole one was the first.
        assert_eq!((is_whole, reports[0].counts.created), (vec![true], 1));
        pulled(3, &all, "Patient");
        to.catch_up().await.unwrap();
        pulled(4, &all[..1], "");
        assert!(!to.catch_up().await.unwrap()[0].is_whole);
        check(&to.store, &[("a", Some("x")), ("b", Some("x"))]).await;
        pulled(5, &all[..1], "Patient");
        assert!(to.catch_up().await.unwrap()[0].is_whole);
        check(&to.store, &[("a", Some("x")), ("b", None)]).await;
        let path = to.pulls().join("006");
        pulled(6, &all, "Patient&_until=2026-11-05T00:00:00Z");
        let error = to.catch_up().await.unwrap_err();
        assert!(error.to_string().contains("_until"), "{error} {}", path.display());
    }
}

#[tokio::test]
async fn what_a_store_refuses_is_kept_and_tried_again_up_to_a_limit() {
    let mut to = ToStore::new();
    let long = "x".repeat(300);
    pull(
        &to.pulls(),
        1,
        None,
        &[patient("a", 1, "x"), patient("b", 1, &long)],
        &[],
    );
    to.import.line_bytes_max = 200;
    to.settings.refused_max = 0;
    let error = to.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(to.sync().state().unwrap().cursor, None);
    to.settings.refused_max = 1;
    assert_eq!(to.catch_up().await.unwrap()[0].refused_by_target, 1);
    let reports = to.folder.path().join("state/reports/1");
    for name in ["put.refused.ndjson", "put.outcomes.ndjson"] {
        let text = std::fs::read_to_string(reports.join(name)).unwrap();
        assert_eq!(text.lines().count(), 1, "{name}");
    }
    assert_eq!(to.sync().state().unwrap().pending, 1);
    check(&to.store, &[("a", Some("x")), ("b", None)]).await;
    to.import.line_bytes_max = 1_000;
    pull(&to.pulls(), 2, Some(1), &[patient("a", 2, "y")], &[]);
    assert!(to.catch_up().await.unwrap()[0].is_clean());
    check(&to.store, &[("a", Some("y")), ("b", Some(&long))]).await;
}

#[tokio::test]
async fn a_time_that_is_no_instant_keeps_a_pull_from_a_sync_and_not_from_a_store_cl_12() {
    let to = ToStore::new();
    pull(&to.pulls(), 1, None, &[patient("a", 1, "x")], &[]);
    let pulled = to.pulls().join("001");
    let path = pulled.join("manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, manifest.replace("2026-11-01T01:00:00.123Z", "version 7")).unwrap();
    let error = to.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains(&pulled.display().to_string()),
        "{error}"
    );
    let reports = to.folder.path().join("reports");
    let applied = apply_folder_to_store(&to.store, &pulled, &reports, settings()).await;
    assert_eq!(applied.unwrap().put, 1);
    // A folder that is hidden is not looked into.
    std::fs::rename(&pulled, to.pulls().join(".001")).unwrap();
    pull(&to.pulls(), 2, None, &[patient("a", 2, "y")], &[]);
    to.catch_up().await.unwrap();
    check(&to.store, &[("a", Some("y"))]).await;
}
