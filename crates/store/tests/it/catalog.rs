//! The conformance suite over both backends, and what only the embedded one can be asked: to be opened again.

use fhirhose_jobs::{Clock, SystemClock};
use fhirhose_store::testing::{Workload, conformance, import, shown, snapshots_stay};
use fhirhose_store::{DataFolder, ErrorKind, Holder, OpenMode, Sequence, Store, StoreSettings};
use std::path::Path;
use std::sync::Arc;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn open(path: &Path) -> Store {
    let holder = Holder::this_process("test", "now");
    let folder = DataFolder::open(path, OpenMode::Create, &holder).expect("the folder is free");
    Store::open(folder, clock(), StoreSettings::default())
        .await
        .expect("the store opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_catalog_conforms() {
    conformance(Store::in_memory(clock(), StoreSettings::default()).expect("a store")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_catalog_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    conformance(open(folder.path()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_catalog_keeps_jobs_as_the_jobs_crate_asks() {
    fhirhose_jobs::testing::conformance(|| async {
        let kv = Box::new(fhirhose_store::catalog::MemoryKv::default());
        let catalog: Arc<dyn fhirhose_jobs::JobStore> =
            Arc::new(fhirhose_store::catalog::KvCatalog::open(kv, clock()).expect("a catalog"));
        catalog
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_catalog_keeps_jobs_as_the_jobs_crate_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let next = std::sync::atomic::AtomicU32::new(0);
    fhirhose_jobs::testing::conformance(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.path().join(number.to_string());
        async move {
            let kv = fhirhose_store::catalog::FjallKv::open(&path, &Default::default()).expect("a database");
            let catalog: Arc<dyn fhirhose_jobs::JobStore> =
                Arc::new(fhirhose_store::catalog::KvCatalog::open(Box::new(kv), clock()).expect("a catalog"));
            catalog
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_stay_the_same_through_writes_compactions_and_restarts() {
    for seed in 1..=3 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path()).await;
        let kept = snapshots_stay(&store, seed, 40).await.expect("the store works");
        drop(store);
        let store = open(folder.path()).await;
        for (number, (snapshot, expected)) in kept.iter().enumerate() {
            let now = shown(&store, snapshot.sequence, Sequence::ZERO)
                .await
                .expect("a scan");
            assert!(
                now == *expected,
                "seed {seed}: the snapshot of step {number} changed by the restart"
            );
        }
        let report = store.check(|_| ()).await.expect("a check");
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_run_is_found_and_never_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let mut rng = fhirhose_store::testing::Rng::new(3);
    let resources: Vec<Workload> = (0..200).map(|_| Workload::draw(&mut rng)).collect();
    let committed = import(&store, "flip.run", &resources).await.expect("an import");
    let path = folder.path().join("runs/flip.run");
    let mut bytes = std::fs::read(&path).expect("the run file");
    bytes[60] ^= 1;
    std::fs::write(&path, bytes).expect("the run file");
    let refused = shown(&store, committed.snapshot.sequence, Sequence::ZERO)
        .await
        .expect_err("a damaged block");
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("flip.run"), "{refused}");
    let report = store.check(|_| ()).await.expect("a check");
    assert!(!report.problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_file_that_no_commit_names_is_swept_when_the_store_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    import(
        &store,
        "kept.run",
        &[Workload::draw(&mut fhirhose_store::testing::Rng::new(1))],
    )
    .await
    .expect("an import");
    store
        .put_run("crashed.run", b"half".to_vec().into())
        .await
        .expect("a file");
    drop(store);
    let _store = open(folder.path()).await;
    assert!(!folder.path().join("runs/crashed.run").exists());
    assert!(folder.path().join("runs/kept.run").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compaction_drops_is_told_and_the_rest_of_the_history_stays() {
    let settings = StoreSettings {
        history_secs: 0,
        ..StoreSettings::default()
    };
    let store = Store::in_memory(clock(), settings).expect("a store");
    let version = |owner: &str, value| Workload {
        resource_type: fhirhose_fhir::resource_type::ResourceType::OBSERVATION,
        owner: Some(owner.to_owned()),
        id: "o1".to_owned(),
        value,
    };
    let mut newest = Sequence::ZERO;
    for (number, each) in [version("pa", 1), version("pb", 2), version("pb", 3)]
        .iter()
        .enumerate()
    {
        let imported = import(&store, &format!("{number}.run"), std::slice::from_ref(each)).await;
        newest = imported.expect("an import").snapshot.sequence;
    }
    let resource = (fhirhose_fhir::resource_type::ResourceType::OBSERVATION, "o1");
    let whole = store.history(resource.0, resource.1, Sequence(u64::MAX), 9).await;
    assert_eq!(whole.expect("a history").len(), 3);
    assert_eq!(store.catalog().forgotten().await.expect("a read"), Sequence::ZERO);
    let places: Vec<String> = (0..2).map(|number| format!("{number}.run")).collect();
    store
        .compact(&places, "merged.run", None, |_| Ok(()))
        .await
        .expect("a compaction");
    let left = store.history(resource.0, resource.1, Sequence(u64::MAX), 9).await;
    let left: Vec<Sequence> = left
        .expect("a history")
        .iter()
        .map(|event| event.sequence)
        .collect();
    assert_eq!(left, [newest], "versions that ended are gone");
    assert_eq!(
        store.catalog().forgotten().await.expect("a read"),
        newest,
        "up to the end of the newest that was dropped"
    );
}
