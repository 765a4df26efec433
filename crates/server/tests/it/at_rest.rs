//! What is deleted or has expired is gone from the disk, whoever was reading it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_jobs::{Clock, SystemClock, Timestamp};
use fhirhose_store::{DataFolder, Holder, OpenMode, OutputName, Store, StoreSettings};

use crate::fixture::{POPULATION, Server, eventually};

async fn start(folder: &Path) -> Server {
    let holder = Holder::this_process("test", "now");
    let data = DataFolder::open(folder, OpenMode::Create, &holder).expect("a data folder");
    let store = Store::open(data, Arc::new(SystemClock), StoreSettings::default()).await;
    let server = Server::over(store.expect("a store"), |settings| {
        settings.retention_secs = 3_600
    })
    .await;
    server.import_lines(&POPULATION).await;
    server
}

/// The folders of jobs below `outputs/`.
fn jobs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("outputs")).expect("the folder of outputs");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Waits until the folder of a job has gone; other kick-offs wake whoever cleans up.
async fn gone(server: &Server, folder: &Path) {
    eventually("a folder that goes", async || {
        let accepted = server.kick_off("$export?_type=Patient").await;
        server.delete(accepted.header("content-location")).await;
        (!folder.exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_export_leaves_no_file_behind_also_if_it_was_being_downloaded_d_06() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path()).await;
    let before = jobs(folder.path());
    let (status_url, _) = server.export("$export").await;
    let new = jobs(folder.path()).into_iter().find(|job| !before.contains(job));
    let outputs = new.expect("the files of the export");
    let text = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned()
    };
    let file = std::fs::read_dir(&outputs).expect("files").next();
    let name = OutputName::new(
        &text(&outputs),
        &text(&file.expect("a file").expect("an entry").path()),
    );
    // What a download under way holds.
    let download = server
        .store
        .outputs()
        .open(&name.expect("a name"))
        .await
        .expect("the file");
    assert_eq!(server.delete(&status_url).await.status, 202);
    server.get(&status_url).await.refusal(404);
    let (other, _) = server.export("$export?_type=Patient").await;
    assert!(outputs.exists(), "a download is not cut off");
    drop(download);
    gone(&server, &outputs).await;
    server.delete(&other).await;
}

#[tokio::test]
async fn an_expired_import_and_export_leave_no_file_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path()).await;
    let bad = server.input("bad.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"-!\"}\n");
    server.import(&[(None, &bad)]).await;
    server.export("$export").await;
    let outputs = jobs(folder.path());
    assert!(outputs.len() > 1, "there is something to expire: {outputs:?}");
    server.stop().await.expect("it stops");

    let holder = Holder::this_process("test", "now");
    let data = DataFolder::open(folder.path(), OpenMode::Existing, &holder).expect("the data folder");
    // A clock that is two hours ahead finds all of them expired.
    let store = Store::open(data, Arc::new(Ahead), StoreSettings::default()).await;
    let server = Server::over(store.expect("a store"), |_| ()).await;
    for outputs in outputs {
        gone(&server, &outputs).await;
    }
}

/// The clock of the machine, two hours ahead.
#[derive(Debug)]
struct Ahead;

const AHEAD: Duration = Duration::from_secs(2 * 3_600);

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(AHEAD)
    }

    async fn sleep_until(&self, at: Timestamp) {
        // What is left until then by this clock is left by the other.
        let left = at.since(self.now());
        SystemClock.sleep_until(SystemClock.now().plus(left)).await;
    }
}
