//! Inputs as they come: compressed or not, whole or cut short, with the line ends of every system.

use std::io::Write;
use std::path::{Path, PathBuf};

use fhirhose_bulk::import::{ImportResult, ImportSettings, ImportSpec, InputSpec, Location, submit_import};
use fhirhose_bulk::{Error, ErrorKind};
use fhirhose_jobs::testing::SeededEntropy;

use super::fixture::{Bench, small_chunks, synthea, write_lines};

fn lines(count: usize) -> Vec<String> {
    let line = |number| {
        format!(
            r#"{{"resourceType":"Patient","id":"p{number}","x":"{}"}}"#,
            number * 7919
        )
    };
    (0..count).map(line).collect()
}

fn text(count: usize) -> Vec<u8> {
    lines(count)
        .iter()
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum, as the command line tool writes it: without one, damage can go unnoticed.
fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

async fn import_bytes(name: &str, bytes: &[u8], settings: &ImportSettings) -> (Bench, ImportResult) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let bench = Bench::in_memory();
    let result = bench.import(ImportSpec::of_paths([path]), settings).await;
    (bench, result)
}

#[tokio::test]
async fn compression_is_told_by_content_whatever_the_name_says() {
    let whole = text(1_000);
    let middle = whole.len() / 2;
    let two_members = [gzip(&whole[..middle]), gzip(&whole[middle..])].concat();
    let two_frames = [zstd(&whole[..middle]), zstd(&whole[middle..])].concat();
    for (name, bytes) in [
        ("plain.ndjson", &whole),
        ("plain.ndjson.gz", &whole),
        ("gzip.ndjson", &two_members),
        ("gzip.ndjson.zst", &two_members),
        ("zstd.ndjson", &two_frames),
        ("zstd.ndjson.gz", &two_frames),
    ] {
        let (bench, result) = import_bytes(name, bytes, &small_chunks(2, 4 << 10)).await;
        assert_eq!(
            (result.counts().created, result.is_clean()),
            (1_000, true),
            "{name}"
        );
        assert_eq!(bench.bodies().await.len(), 1_000);
        assert_eq!(result.text_bytes, whole.len() as u64);
    }
}

#[tokio::test]
async fn compressed_input_that_is_cut_short_or_damaged_fails_and_keeps_what_came_before() {
    let whole = text(20_000);
    for (compressed, name) in [(gzip(&whole), "gzip"), (zstd(&whole), "zstd")] {
        let cut = &compressed[..compressed.len() * 2 / 3];
        let (bench, result) = import_bytes("Patient.ndjson", cut, &small_chunks(2, 4 << 10)).await;
        let input = &result.inputs[0];
        let failure = input.failure.as_ref().expect("the input fails");
        assert_eq!(
            (failure.rule.as_str(), failure.line_number),
            ("input-truncated", None),
            "{name}"
        );
        assert!(failure.message.contains("cut short"));
        assert_eq!(input.counts.rejected, 0, "the begun line is not blamed");
        assert!(input.outcomes.is_some() && !result.is_clean());
        assert_eq!(bench.bodies().await.len() as u64, input.counts.created);

        let mut damaged = compressed.clone();
        damaged[compressed.len() / 2] ^= 0x55;
        let (_, result) = import_bytes("Patient.ndjson", &damaged, &small_chunks(2, 4 << 10)).await;
        let failure = result.inputs[0].failure.as_ref().expect("the input fails");
        assert!(
            ["input-corrupt", "input-truncated"].contains(&failure.rule.as_str()),
            "{}",
            failure.rule
        );
    }
}

#[tokio::test]
async fn an_input_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let cut = zstd(&text(20_000));
    let broken = folder.path().join("broken.ndjson");
    std::fs::write(&broken, &cut[..cut.len() / 2]).unwrap();
    let gone = write_lines(folder.path(), "gone.ndjson", &lines(1));
    let good = write_lines(
        folder.path(),
        "good.ndjson",
        &[r#"{"resourceType":"Group","id":"g"}"#],
    );
    let bench = Bench::in_memory();
    bench.submit(ImportSpec::of_paths([&gone, &broken, &good])).await;
    std::fs::remove_file(gone).unwrap();
    let result = bench
        .attempt(&bench.claim().await, &small_chunks(2, 4 << 10), None)
        .await
        .unwrap();
    let rules: Vec<_> = result
        .inputs
        .iter()
        .map(|input| input.failure.as_ref().map(|failure| failure.rule.as_str()))
        .collect();
    assert_eq!(rules, [Some("input-not-found"), Some("input-truncated"), None]);
    assert_eq!(result.inputs[2].counts.created, 1);
}

#[tokio::test]
async fn an_input_that_unfolds_without_end_fails() {
    let blanks = zstd(&b"\n".repeat(80 << 20));
    let settings = ImportSettings {
        expansion_max: 1_000,
        ..small_chunks(1, 1 << 20)
    };
    let (_, result) = import_bytes("bomb.ndjson", &blanks, &settings).await;
    assert_eq!(
        result.inputs[0].failure.as_ref().expect("it fails").rule,
        "input-expansion"
    );
}

#[tokio::test]
async fn a_gzip_bomb_fails() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&b"\n".repeat(80 << 20)).unwrap();
    let bomb = encoder.finish().unwrap();
    let (_, result) = import_bytes("bomb.gz", &bomb, &small_chunks(1, 1 << 20)).await;
    let failure = result.inputs[0].failure.as_ref().expect("it fails");
    assert_eq!(failure.rule, "input-expansion");
}

#[tokio::test]
async fn an_input_longer_than_one_may_be_fails_after_what_fits() {
    let settings = ImportSettings {
        input_bytes_max: Some(100_000),
        ..small_chunks(1, 4 << 10)
    };
    for (name, bytes) in [("plain", text(10_000)), ("gzip", gzip(&text(10_000)))] {
        let (_, result) = import_bytes(name, &bytes, &settings).await;
        let failure = result.inputs[0].failure.as_ref().expect("it fails");
        assert_eq!(failure.rule, "input-too-long", "{name}");
    }
}

#[tokio::test]
async fn a_zstd_input_may_not_ask_for_more_memory_than_long_mode_does() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(&text(100)).unwrap();
    let (_, result) = import_bytes("wide.zst", &encoder.finish().unwrap(), &small_chunks(1, 1 << 20)).await;
    let failure = result.inputs[0].failure.as_ref().expect("it fails");
    assert_eq!(failure.rule, "input-corrupt");
}

#[tokio::test]
async fn byte_order_mark_blank_lines_and_carriage_returns_are_no_content() {
    let [first, second] = [
        r#"{"resourceType":"Patient","id":"a"}"#,
        r#"{"resourceType":"Patient","id":"b"}"#,
    ];
    let text = format!("\u{FEFF}\r\n{first}\r\n \n\n{second}");
    let (bench, result) = import_bytes("a.ndjson", text.as_bytes(), &small_chunks(1, 1 << 10)).await;
    assert_eq!((result.counts().created, result.is_clean()), (2, true));
    assert_eq!(
        bench.bodies().await.into_values().collect::<Vec<_>>(),
        [first, second]
    );
}

#[tokio::test]
async fn an_empty_input_is_an_input_without_lines() {
    let (bench, result) = import_bytes("a.ndjson", b"", &small_chunks(1, 1 << 10)).await;
    assert_eq!(
        (result.inputs.len(), result.counts().taken(), result.is_clean()),
        (1, 0, true)
    );
    assert!(bench.bodies().await.is_empty());
}

#[tokio::test]
async fn numbers_and_unknown_elements_survive_byte_for_byte_and_source_is_added_where_it_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        r#"{ "resourceType":"Observation", "id":"a" ,"valueQuantity":{"value":1.00,"code":1e0},"unknown":[-0.0,"\u00e9"]}"#,
        r#"{"resourceType":"Observation","id":"b","meta":{"versionId":"7","source":"urn:own","lastUpdated":"2020-01-01T00:00:00Z"},"z":10.10}"#,
    ];
    let path = write_lines(folder.path(), "a.ndjson", &lines);
    let bench = Bench::in_memory();
    let spec = ImportSpec {
        source: Some("urn:given".to_owned()),
        ..ImportSpec::of_paths([path])
    };
    bench.import(spec, &small_chunks(1, 1 << 10)).await;
    let stored: Vec<String> = bench.bodies().await.into_values().collect();
    assert_eq!(
        stored,
        [
            r#"{ "resourceType":"Observation", "id":"a","meta":{"source":"urn:given"} ,"valueQuantity":{"value":1.00,"code":1e0},"unknown":[-0.0,"\u00e9"]}"#,
            r#"{"resourceType":"Observation","id":"b","meta":{"source":"urn:own"},"z":10.10}"#,
        ]
    );
}

#[tokio::test]
async fn a_folder_stands_for_its_ndjson_files_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let patient = |id: &str| [format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)];
    write_lines(folder.path(), "b.ndjson", &patient("b"));
    write_lines(folder.path(), "a.ndjson.gz", &patient("a"));
    write_lines(folder.path(), "notes.txt", &patient("c"));
    // What a pull has written of itself.
    write_lines(folder.path(), "log.ndjson", &[r#"{"eventId":"kickoff"}"#]);
    std::fs::create_dir(folder.path().join("deeper.ndjson")).unwrap();
    let bench = Bench::in_memory();
    let input = InputSpec {
        input_url: "file:///in".to_owned(),
        ..InputSpec::path(folder.path())
    };
    let spec = ImportSpec {
        inputs: vec![input],
        source: None,
        request_url: String::new(),
    };
    let result = bench.import(spec, &small_chunks(1, 1 << 10)).await;
    let names: Vec<&str> = result
        .inputs
        .iter()
        .map(|input| input.input_url.as_str())
        .collect();
    assert_eq!(names, ["file:///in/a.ndjson.gz", "file:///in/b.ndjson"]);
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_refused_when_it_is_submitted() {
    let empty = tempfile::tempdir().unwrap();
    let bench = Bench::in_memory();
    let refusal = async |spec: ImportSpec| -> Error {
        let submitted = submit_import(&bench.store, spec, "owner", &SeededEntropy::new(1)).await;
        submitted.expect_err("it is refused")
    };
    let nowhere = refusal(ImportSpec::of_paths([Path::new("/nowhere/at/all")])).await;
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    assert_eq!(
        refusal(ImportSpec::of_paths([empty.path()])).await.kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        refusal(ImportSpec::of_paths(Vec::<PathBuf>::new())).await.kind(),
        ErrorKind::Invalid
    );
    let long = Some("x".repeat(3_000));
    let spec = ImportSpec {
        source: long,
        ..ImportSpec::of_paths([synthea()])
    };
    assert_eq!(refusal(spec).await.kind(), ErrorKind::Invalid);
}

/// A file that was asked for by a URL is looked at when the import begins, and opened later: a link that somebody put there since
/// must not show what is behind it.
#[tokio::test]
async fn a_file_of_a_request_that_has_become_a_link_is_not_read() {
    let bench = Bench::in_memory();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("secret"), "of this machine\n").unwrap();
    let asked = root.join("Patient.ndjson");
    std::os::unix::fs::symlink(root.join("secret"), &asked).unwrap();
    let input = InputSpec {
        location: Location::Path(asked.clone()),
        declared: None,
        input_url: format!("file://{}", asked.display()),
    };
    let spec = ImportSpec {
        inputs: vec![input],
        source: None,
        request_url: "http://x/$import".to_owned(),
    };
    bench.submit(spec).await;
    let context = bench.claim().await;
    let settings = ImportSettings::with_threads(1);
    let result = bench.attempt(&context, &settings, None).await.unwrap();
    let input = &result.inputs[0];
    let failure = input.failure.as_ref().expect("it is not read");
    assert_eq!(failure.rule, "input-unreadable");
    assert!(input.rejects.is_none());
    // The user of this machine may have links.
    bench.submit(ImportSpec::of_paths([&asked])).await;
    let context = bench.claim().await;
    let result = bench.attempt(&context, &settings, None).await.unwrap();
    assert_eq!(result.counts().rejected, 1);
}
