//! Output files: what is written comes back in every encoding, nothing half-made is ever seen, nothing broken is served.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fhirhose_store::{
    Deletion, Durability, Encoding, ErrorKind, Hashing, OutputFile, OutputName, OutputReader, OutputSettings,
    OutputStore, OutputStream, PlainFolder, Result,
};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::full_disk::FullDisk;

const ENCODINGS: [Encoding; 3] = [Encoding::Identity, Encoding::Gzip, Encoding::Zstd];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

fn name() -> OutputName {
    OutputName::new("job-1", "1.Patient.ndjson").unwrap()
}

fn path() -> ObjectPath {
    ObjectPath::from("job-1/1.Patient.ndjson")
}

fn small_blocks() -> OutputSettings {
    OutputSettings {
        block_bytes: 700,
        part_bytes: 1000,
        ..OutputSettings::default()
    }
}

/// Lines of uneven length that zstd cannot make nothing of.
fn lines(rows: usize) -> Vec<u8> {
    let line = |row: usize| {
        let hash = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!(
            "{{\"id\":\"{row}\",\"text\":\"{hash:x}{}\"}}\n",
            "x".repeat(row * 7 % 90)
        )
    };
    (0..rows).map(line).collect::<String>().into_bytes()
}

/// Writes text in uneven pieces, on this thread, which does not drive the runtime.
fn write(
    runtime: &Runtime,
    outputs: &OutputStore,
    settings: &OutputSettings,
    text: &[u8],
) -> Result<OutputFile> {
    let _entered = runtime.enter();
    let mut writer = outputs.create(&name(), settings)?;
    for piece in text.chunks(333) {
        writer.write(piece)?;
    }
    assert_eq!(writer.text_bytes(), text.len() as u64);
    writer.finish()
}

fn collect(runtime: &Runtime, stream: OutputStream) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = runtime.block_on(stream.try_collect())?;
    Ok(chunks.concat())
}

fn open(runtime: &Runtime, outputs: &OutputStore) -> Result<OutputReader> {
    runtime.block_on(outputs.open(&name()))
}

fn decoded(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match encoding {
        Encoding::Identity => text.extend_from_slice(body),
        Encoding::Zstd => text = zstd::decode_all(body).unwrap(),
        Encoding::Gzip => {
            // The decoder of one member only: a client that stops after the first gets everything all the same.
            let mut member = flate2::bufread::GzDecoder::new(body);
            member.read_to_end(&mut text).unwrap();
            assert!(member.into_inner().is_empty(), "nothing follows the gzip member");
        }
    }
    text
}

fn check_every_encoding(settings: &OutputSettings, text: &[u8]) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let outputs = OutputStore::local(folder.path()).unwrap();
    let file = write(&runtime, &outputs, settings, text).unwrap();
    assert_eq!(file.bytes, text.len() as u64);
    assert_eq!(
        file.rows,
        text.iter().filter(|byte| **byte == b'\n').count() as u64
    );
    assert_eq!(
        file.stored_bytes,
        folder.path().join(path().as_ref()).metadata().unwrap().len()
    );

    let reader = open(&runtime, &outputs).unwrap();
    assert_eq!(reader.rows(), file.rows);
    assert_eq!(reader.sha256(), file.sha256);
    for encoding in ENCODINGS {
        let body = collect(&runtime, reader.stream(encoding)).unwrap();
        assert!(
            decoded(encoding, &body) == text,
            "{} gives the text",
            encoding.token()
        );
        if let Some(length) = reader.length(encoding) {
            assert_eq!(length, body.len() as u64, "{}", encoding.token());
        }
    }
}

#[test]
fn text_comes_back_in_every_encoding() {
    for rows in [0, 1, 7, 400] {
        check_every_encoding(&small_blocks(), &lines(rows));
    }
    check_every_encoding(&OutputSettings::default(), &lines(60_000));
    check_every_encoding(&small_blocks(), b"{\"a\":1}\n{\"the last line has no end\":2}");
}

#[test]
fn line_longer_than_a_block_can_be_is_cut_and_comes_back() {
    let mut text = lines(10);
    text.extend(std::iter::repeat_n(b'y', 9 << 20));
    text.push(b'\n');
    text.extend(lines(10));
    check_every_encoding(&OutputSettings::default(), &text);
}

#[test]
fn file_at_rest_is_zstd_of_the_text_in_whole_lines() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let outputs = OutputStore::local(folder.path()).unwrap();
    let text = lines(300);
    let file = write(&runtime, &outputs, &small_blocks(), &text).unwrap();
    let stored = std::fs::read(folder.path().join(path().as_ref())).unwrap();
    assert_eq!(zstd::decode_all(&stored[..]).unwrap(), text);

    let mut rest = &stored[..];
    let mut frames = 0;
    while rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let length = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
        assert!(zstd::decode_all(&rest[..length]).unwrap().ends_with(b"\n"));
        rest = &rest[length..];
        frames += 1;
    }
    assert_eq!(frames, file.blocks);
    assert!(frames > 10, "the text is cut into many blocks");
}

#[test]
fn entity_tags_tell_texts_and_encodings_apart_and_survive_remaking() {
    let (runtime, outputs) = (runtime(), OutputStore::new(Arc::new(InMemory::new())));
    let mut tags = Vec::new();
    for text in [lines(5), lines(6), lines(5)] {
        write(&runtime, &outputs, &small_blocks(), &text).unwrap();
        let reader = open(&runtime, &outputs).unwrap();
        tags.push(ENCODINGS.map(|encoding| reader.etag(encoding)));
    }
    assert_eq!(tags[0], tags[2]);
    let different: std::collections::HashSet<&String> = tags.iter().flatten().collect();
    assert_eq!(different.len(), 6);
    assert!(
        different
            .iter()
            .all(|tag| tag.starts_with('"') && tag.ends_with('"')),
        "strong tags: {tags:?}"
    );
    // The same text in other frames has other bytes as zstd, and the same without.
    write(&runtime, &outputs, &OutputSettings::default(), &lines(500)).unwrap();
    let large = open(&runtime, &outputs).unwrap();
    write(&runtime, &outputs, &small_blocks(), &lines(500)).unwrap();
    let small = open(&runtime, &outputs).unwrap();
    assert_eq!(large.etag(Encoding::Identity), small.etag(Encoding::Identity));
    assert_ne!(large.etag(Encoding::Zstd), small.etag(Encoding::Zstd));
}

#[test]
fn sha256_is_that_of_the_text_and_only_there_when_asked_for() {
    let (runtime, outputs) = (runtime(), OutputStore::new(Arc::new(InMemory::new())));
    let hashed = write(&runtime, &outputs, &small_blocks(), b"abc").unwrap();
    assert_eq!(
        hashed.sha256.as_deref(),
        Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    );
    let settings = OutputSettings {
        hashing: Hashing::FingerprintOnly,
        ..small_blocks()
    };
    assert_eq!(write(&runtime, &outputs, &settings, b"abc").unwrap().sha256, None);
    assert_eq!(open(&runtime, &outputs).unwrap().sha256(), None);
}

#[test]
fn nothing_shows_under_the_name_before_finish() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let outputs = OutputStore::local(folder.path()).unwrap();
    let _entered = runtime.enter();
    let mut writer = outputs.create(&name(), &small_blocks()).unwrap();
    writer.write(&lines(500)).unwrap();
    assert_eq!(open(&runtime, &outputs).unwrap_err().kind(), ErrorKind::NotFound);
    writer.finish().unwrap();
    assert_eq!(open(&runtime, &outputs).unwrap().rows(), 500);
}

#[test]
fn dropped_writer_leaves_what_was_there_before() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let outputs = OutputStore::local(folder.path()).unwrap();
    write(&runtime, &outputs, &small_blocks(), &lines(3)).unwrap();
    let _entered = runtime.enter();
    let mut writer = outputs.create(&name(), &small_blocks()).unwrap();
    writer.write(&lines(500)).unwrap();
    drop(writer);
    let reader = open(&runtime, &outputs).unwrap();
    assert_eq!(
        collect(&runtime, reader.stream(Encoding::Identity)).unwrap(),
        lines(3)
    );
}

#[test]
fn full_disk_is_told_and_nothing_is_left_under_the_name() {
    let (runtime, text) = (runtime(), lines(200));
    let roomy = OutputStore::new(Arc::new(InMemory::new()));
    let needed = write(&runtime, &roomy, &small_blocks(), &text)
        .unwrap()
        .stored_bytes;
    assert!(needed > 3000, "the file takes several parts");
    for space in (0..needed).step_by(97).chain([needed - 1]) {
        let objects = Arc::new(FullDisk::new(space));
        let outputs = OutputStore::new(objects.clone());
        let error = write(&runtime, &outputs, &small_blocks(), &text).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::DiskFull,
            "with {space} bytes of space: {error}"
        );
        let listed: Vec<_> = runtime.block_on(objects.list(None).try_collect()).unwrap();
        assert!(listed.is_empty(), "with {space} bytes of space");
    }
    let outputs = OutputStore::new(Arc::new(FullDisk::new(needed)));
    write(&runtime, &outputs, &small_blocks(), &text).unwrap();
}

#[test]
fn writer_that_failed_cannot_be_finished() {
    let runtime = runtime();
    let outputs = OutputStore::new(Arc::new(FullDisk::new(1000)));
    let _entered = runtime.enter();
    let mut writer = outputs.create(&name(), &small_blocks()).unwrap();
    let failed = lines(400).chunks(100).find_map(|piece| writer.write(piece).err());
    assert_eq!(failed.unwrap().kind(), ErrorKind::DiskFull);
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open(&runtime, &outputs).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn job_is_not_deleted_while_one_of_its_files_is_downloaded() {
    for (outputs, _folder) in stores() {
        let runtime = runtime();
        write(&runtime, &outputs, &small_blocks(), &lines(100)).unwrap();
        let delete = || runtime.block_on(outputs.delete_job("job-1")).unwrap();
        assert_eq!(runtime.block_on(outputs.jobs()).unwrap(), ["job-1"]);

        let reader = open(&runtime, &outputs).unwrap();
        assert_eq!(delete(), Deletion::InUse);
        let mut stream = reader.stream(Encoding::Gzip);
        drop(reader);
        runtime.block_on(stream.next()).unwrap().unwrap();
        assert_eq!(delete(), Deletion::InUse);
        let rest = collect(&runtime, stream).unwrap();
        assert!(!rest.is_empty(), "the download went on");

        assert_eq!(delete(), Deletion::Deleted);
        assert_eq!(open(&runtime, &outputs).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(runtime.block_on(outputs.jobs()).unwrap().is_empty());
        assert_eq!(delete(), Deletion::Deleted, "deleting twice is fine");
    }
}

#[test]
fn deleting_a_job_spares_another_whose_name_begins_alike() {
    for (outputs, _folder) in stores() {
        let runtime = runtime();
        write(&runtime, &outputs, &small_blocks(), &lines(3)).unwrap();
        assert_eq!(
            runtime.block_on(outputs.delete_job("job")).unwrap(),
            Deletion::Deleted
        );
        assert_eq!(open(&runtime, &outputs).unwrap().rows(), 3);
    }
}

fn stores() -> Vec<(OutputStore, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    vec![
        (OutputStore::local(folder.path()).unwrap(), Some(folder)),
        (OutputStore::new(Arc::new(InMemory::new())), None),
    ]
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let (runtime, objects) = (runtime(), Arc::new(InMemory::new()));
    let outputs = OutputStore::new(objects.clone());
    write(&runtime, &outputs, &small_blocks(), &lines(20)).unwrap();
    let stored = stored(&runtime, &objects);
    for at in 0..stored.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut broken = stored.clone();
            broken[at] ^= mask;
            let error = read_everything(&runtime, &objects, &outputs, broken).unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::Corrupt,
                "byte {at}, mask {mask:#x}: {error}"
            );
        }
    }
}

#[test]
fn truncated_and_foreign_files_are_refused() {
    let (runtime, objects) = (runtime(), Arc::new(InMemory::new()));
    let outputs = OutputStore::new(objects.clone());
    write(&runtime, &outputs, &small_blocks(), &lines(20)).unwrap();
    let stored = stored(&runtime, &objects);
    for length in 1..stored.len() {
        let error = read_everything(&runtime, &objects, &outputs, stored[..length].to_vec()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut to {length} bytes: {error}");
        let error = read_everything(&runtime, &objects, &outputs, stored[length..].to_vec()).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Corrupt,
            "without the first {length} bytes: {error}"
        );
    }
    read_everything(&runtime, &objects, &outputs, Vec::new()).unwrap_err();
    read_everything(&runtime, &objects, &outputs, lines(50)).unwrap_err();
}

fn stored(runtime: &Runtime, objects: &InMemory) -> Vec<u8> {
    runtime
        .block_on(async { objects.get(&path()).await.unwrap().bytes().await.unwrap() })
        .to_vec()
}

/// Replaces the file and reads it in every encoding; the first failure counts.
fn read_everything(
    runtime: &Runtime,
    objects: &InMemory,
    outputs: &OutputStore,
    stored: Vec<u8>,
) -> Result<()> {
    runtime.block_on(objects.put(&path(), stored.into())).unwrap();
    let reader = open(runtime, outputs)?;
    let bodies: Vec<_> = ENCODINGS
        .iter()
        .map(|encoding| collect(runtime, reader.stream(*encoding)))
        .collect();
    let failed = bodies.iter().filter(|body| body.is_err()).count();
    assert!(
        failed == 0 || failed == bodies.len(),
        "no encoding serves what another finds broken"
    );
    bodies.into_iter().collect::<Result<Vec<_>>>().map(drop)
}

#[test]
fn broken_download_ends_with_its_error() {
    let (runtime, objects) = (runtime(), Arc::new(InMemory::new()));
    let outputs = OutputStore::new(objects.clone());
    write(&runtime, &outputs, &OutputSettings::default(), &lines(100_000)).unwrap();
    let mut broken = stored(&runtime, &objects);
    let late = broken.len() - 2000;
    broken[late] ^= 1;
    runtime.block_on(objects.put(&path(), broken.into())).unwrap();
    let reader = open(&runtime, &outputs).unwrap();
    for encoding in ENCODINGS {
        let items: Vec<Result<Bytes>> = runtime.block_on(reader.stream(encoding).collect());
        let failed = items.iter().position(|item| item.is_err()).unwrap();
        assert!(failed > 0, "what comes before the broken block is served");
        assert_eq!(failed, items.len() - 1, "and nothing behind it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_is_that_part_of_the_text(
        rows in 0_usize..300,
        ranges in proptest::collection::vec((0_u64..20_000, 0_u64..20_000), 8),
        block_bytes in 1_usize..3000,
    ) {
        let (runtime, text) = (runtime(), lines(rows));
        let outputs = OutputStore::new(Arc::new(InMemory::new()));
        let settings = OutputSettings { block_bytes, ..small_blocks() };
        write(&runtime, &outputs, &settings, &text).unwrap();
        let reader = open(&runtime, &outputs).unwrap();
        for (start, length) in ranges {
            let range = Range { start, end: start + length };
            let expected = &text[text.len().min(start as usize)..text.len().min((start + length) as usize)];
            prop_assert_eq!(collect(&runtime, reader.range(range)).unwrap(), expected);
        }
    }
}

#[test]
fn range_reads_only_the_blocks_that_hold_it() {
    let (runtime, objects) = (runtime(), Arc::new(InMemory::new()));
    let outputs = OutputStore::new(objects.clone());
    let text = lines(200);
    write(&runtime, &outputs, &small_blocks(), &text).unwrap();
    let mut broken = stored(&runtime, &objects);
    broken[20] ^= 1;
    runtime.block_on(objects.put(&path(), broken.into())).unwrap();
    let reader = open(&runtime, &outputs).unwrap();
    let end = text.len() as u64;
    assert_eq!(
        collect(&runtime, reader.range(end - 100..end)).unwrap(),
        &text[text.len() - 100..]
    );
    assert_eq!(
        collect(&runtime, reader.range(0..1)).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn names_that_could_leave_the_folder_are_refused() {
    let long = "x".repeat(201);
    for part in [
        "",
        ".",
        "..",
        "a/b",
        "../a",
        ".hidden",
        "a#1",
        "a b",
        "a\\b",
        "a%2fb",
        "ä",
        long.as_str(),
    ] {
        assert_eq!(
            OutputName::new(part, "file").unwrap_err().kind(),
            ErrorKind::Invalid,
            "{part:?}"
        );
        assert_eq!(
            OutputName::new("job", part).unwrap_err().kind(),
            ErrorKind::Invalid,
            "{part:?}"
        );
    }
    assert_eq!(name().to_string(), "job-1/1.Patient.ndjson");
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let (runtime, outputs) = (runtime(), OutputStore::new(Arc::new(InMemory::new())));
    let _entered = runtime.enter();
    for settings in [
        OutputSettings {
            block_bytes: 0,
            ..small_blocks()
        },
        OutputSettings {
            block_bytes: (4 << 20) + 1,
            ..small_blocks()
        },
        OutputSettings {
            part_bytes: 0,
            ..small_blocks()
        },
        OutputSettings {
            zstd_level: 0,
            ..small_blocks()
        },
        OutputSettings {
            zstd_level: 20,
            ..small_blocks()
        },
    ] {
        assert_eq!(
            outputs.create(&name(), &settings).unwrap_err().kind(),
            ErrorKind::Invalid,
            "{settings:?}"
        );
    }
}

#[test]
fn plain_file_takes_its_name_when_it_is_finished() {
    for durability in [Durability::Synced, Durability::Cached] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("deep/er");
        let plain = PlainFolder::open(&root, durability).unwrap();
        let mut writer = plain.create("1.Patient.ndjson", Hashing::Sha256).unwrap();
        writer.write(b"{\"id\":\"1\"}\n").unwrap();
        writer.write(b"{\"id\":\"2\"}\n").unwrap();
        assert_eq!(entries(&root), [".1.Patient.ndjson.partial"]);
        let file = writer.finish().unwrap();
        assert_eq!(entries(&root), ["1.Patient.ndjson"]);
        assert_eq!(
            (file.rows, file.bytes, file.stored_bytes, file.blocks),
            (2, 22, 22, 0)
        );
        let mut text = String::new();
        File::open(root.join(&file.name))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "{\"id\":\"1\"}\n{\"id\":\"2\"}\n");

        let mut dropped = plain
            .create("2.Patient.ndjson", Hashing::FingerprintOnly)
            .unwrap();
        dropped.write(b"{}\n").unwrap();
        drop(dropped);
        assert_eq!(entries(&root), ["1.Patient.ndjson"]);
        assert_eq!(
            plain.create("../x", Hashing::Sha256).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
