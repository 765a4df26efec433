//! The data folder: made whole or not at all, held by one process, refused when it is not ours or not for us.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fhirhose_store::{
    DataFolder, ErrorKind, Holder, OpenMode, OutputName, OutputSettings, Result, put_durable,
};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::full_disk::FullDisk;

fn holder() -> Holder {
    Holder::this_process("serve", "2024-05-01T10:00:00Z")
}

fn open(root: &Path, mode: OpenMode) -> Result<DataFolder> {
    DataFolder::open(root, mode, &holder())
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn folder_is_made_with_its_parents_and_opens_again() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("a/b");
    let folder = open(&root, OpenMode::Create).unwrap();
    assert_eq!(
        entries(&root),
        ["audit", "catalog", "format", "lock", "outputs", "runs", "scratch"]
    );
    assert!(
        fs::read_to_string(root.join("format"))
            .unwrap()
            .starts_with("fhirhose data folder, format 1\n")
    );
    assert!(folder.catalog_path().is_dir());
    drop(folder);
    drop(open(&root, OpenMode::Existing).unwrap());
    drop(open(&root, OpenMode::Create).unwrap());
}

#[test]
fn a_folder_that_others_could_read_is_shut_when_it_is_opened() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("data");
    drop(open(&root, OpenMode::Create).unwrap());
    for mode in [0o755, 0o770, 0o707, 0o700] {
        fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
        drop(open(&root, OpenMode::Existing).unwrap());
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn missing_folder_is_not_found_and_not_made() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("absent");
    let error = open(&root, OpenMode::Existing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!root.exists());
}

#[test]
fn folder_with_something_else_in_it_is_refused_untouched() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("letters.txt"), "dear").unwrap();
    assert_eq!(
        open(temporary.path(), OpenMode::Create).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        open(temporary.path(), OpenMode::Existing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(entries(temporary.path()), ["letters.txt"]);
}

#[test]
fn folder_in_use_says_who_holds_it_until_it_is_dropped() {
    let temporary = tempfile::tempdir().unwrap();
    let held = open(temporary.path(), OpenMode::Create).unwrap();
    let error = open(temporary.path(), OpenMode::Existing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    let message = error.to_string();
    let process = format!("in use by fhirhose serve (process {} on ", std::process::id());
    assert!(message.contains(&process), "{message}");
    assert!(message.ends_with("since 2024-05-01T10:00:00Z)"), "{message}");
    drop(held);
    drop(open(temporary.path(), OpenMode::Existing).unwrap());
}

#[test]
fn newer_format_is_refused_and_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    drop(open(temporary.path(), OpenMode::Create).unwrap());
    let newer = "fhirhose data folder, format 2\nfrom the future\n";
    fs::write(temporary.path().join("format"), newer).unwrap();
    fs::write(temporary.path().join("scratch/kept"), "").unwrap();
    let error = open(temporary.path(), OpenMode::Create).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    assert!(
        error
            .to_string()
            .contains("has format 2, and this fhirhose reads up to format 1"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(temporary.path().join("format")).unwrap(),
        newer
    );
    assert!(temporary.path().join("scratch/kept").exists());
}

#[test]
fn unreadable_format_is_corrupt() {
    let temporary = tempfile::tempdir().unwrap();
    drop(open(temporary.path(), OpenMode::Create).unwrap());
    for text in [
        "",
        "something else\n",
        "fhirhose data folder, format 0\n",
        "fhirhose data folder, format x\n",
    ] {
        fs::write(temporary.path().join("format"), text).unwrap();
        assert_eq!(
            open(temporary.path(), OpenMode::Existing).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{text:?}"
        );
    }
    fs::write(temporary.path().join("format"), [0xff; 5000]).unwrap();
    assert_eq!(
        open(temporary.path(), OpenMode::Existing).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn data_without_a_format_file_is_corrupt_and_never_taken_for_a_new_folder() {
    let temporary = tempfile::tempdir().unwrap();
    drop(open(temporary.path(), OpenMode::Create).unwrap());
    fs::write(temporary.path().join("runs/1.run"), "data").unwrap();
    fs::remove_file(temporary.path().join("format")).unwrap();
    assert_eq!(
        open(temporary.path(), OpenMode::Create).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert!(temporary.path().join("runs/1.run").exists());
}

#[test]
fn folder_whose_making_was_cut_off_is_made_whole() {
    for made_so_far in [
        &["lock"][..],
        &["lock", "runs", "catalog"],
        &["lock", "runs", ".format.partial"],
    ] {
        let temporary = tempfile::tempdir().unwrap();
        for name in made_so_far {
            let path = temporary.path().join(name);
            let folder = matches!(*name, "runs" | "catalog");
            if folder {
                fs::create_dir(path).unwrap()
            } else {
                fs::write(path, "").unwrap()
            }
        }
        drop(open(temporary.path(), OpenMode::Create).unwrap());
        assert_eq!(
            entries(temporary.path()),
            ["audit", "catalog", "format", "lock", "outputs", "runs", "scratch"]
        );
    }
}

#[tokio::test]
async fn opening_removes_what_a_crash_left_and_nothing_else() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    drop(open(root, OpenMode::Create).unwrap());
    fs::create_dir_all(root.join("outputs/job")).unwrap();
    fs::create_dir_all(root.join("scratch/deep")).unwrap();
    let kept = ["runs/1.run", "outputs/job/1.ndjson", "catalog/any#1"];
    let swept = [
        "runs/2.run#1",
        "outputs/job/2.ndjson#12",
        "scratch/x",
        "scratch/deep/y",
    ];
    for path in kept.iter().chain(&swept) {
        fs::write(root.join(path), "x").unwrap();
    }
    let folder = open(root, OpenMode::Existing).unwrap();
    assert!(kept.iter().all(|path| root.join(path).exists()));
    assert!(swept.iter().all(|path| !root.join(path).exists()));
    let runs = folder.list_runs().await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].path.as_ref(), runs[0].stored_bytes), ("1.run", 1));
}

#[test]
fn opening_removes_an_upload_that_a_crash_cut_off() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let _entered = runtime.enter();
    let temporary = tempfile::tempdir().unwrap();
    let folder = open(temporary.path(), OpenMode::Create).unwrap();
    let name = OutputName::new("job", "1.ndjson").unwrap();
    let settings = OutputSettings {
        block_bytes: 100,
        part_bytes: 100,
        ..OutputSettings::default()
    };
    let mut writer = folder.outputs().create(&name, &settings).unwrap();
    for row in 0..1000 {
        writer.write(format!("{{\"row\":{row}}}\n").as_bytes()).unwrap();
    }
    // A killed process drops nothing.
    std::mem::forget(writer);
    let job = temporary.path().join("outputs/job");
    assert_eq!(entries(&job).len(), 1, "there is something to remove");
    assert_ne!(entries(&job), ["1.ndjson"]);
    drop(folder);
    drop(open(temporary.path(), OpenMode::Existing).unwrap());
    assert!(entries(&job).is_empty());
}

#[tokio::test]
async fn runs_that_were_put_are_listed_in_order_and_read_back() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = open(temporary.path(), OpenMode::Create).unwrap();
    let runs = folder.runs();
    for (name, text) in [("b.run", "two"), ("a.run", "one!")] {
        put_durable(&*runs, &ObjectPath::from(name), Bytes::from(text))
            .await
            .unwrap();
    }
    let listed = folder.list_runs().await.unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|run| (run.path.as_ref(), run.stored_bytes))
        .collect();
    assert_eq!(listed, [("a.run", 4), ("b.run", 3)]);
    let read = runs
        .get(&ObjectPath::from("b.run"))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(read, "two");
    assert!(temporary.path().join("runs/a.run").is_file());
}

#[tokio::test]
async fn full_disk_leaves_no_run() {
    let disk = FullDisk::new(3);
    let put = put_durable(&disk, &ObjectPath::from("a.run"), Bytes::from_static(b"four")).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::DiskFull);
    assert!(disk.head(&ObjectPath::from("a.run")).await.is_err());
}

#[tokio::test]
async fn outputs_and_scratch_lie_in_their_folders() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = open(temporary.path(), OpenMode::Create).unwrap();
    let scratch: Arc<dyn ObjectStore> = folder.scratch();
    scratch
        .put(&ObjectPath::from("x"), Bytes::from_static(b"1").into())
        .await
        .unwrap();
    assert!(temporary.path().join("scratch/x").is_file());

    let name = OutputName::new("job", "1.ndjson").unwrap();
    let mut writer = folder
        .outputs()
        .create(&name, &OutputSettings::default())
        .unwrap();
    let written = tokio::task::spawn_blocking(move || {
        writer.write(b"{}\n")?;
        writer.finish()
    });
    written.await.unwrap().unwrap();
    assert!(temporary.path().join("outputs/job/1.ndjson").is_file());
}
