//! Run files: what goes in comes out, `zstd` reads them, damage is seen, and few reads suffice.

use async_trait::async_trait;
use bytes::Bytes;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::{Splice, SpliceForm};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::run::{Block, Row, RowCommit, Run, RunBuilder, RunSettings, RunSummary};
use fhirhose_store::{ErrorKind, Result, Sequence, key};
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const OWN: (Sequence, Instant) = (Sequence(77), Instant::from_micros(1_600_000_000_000_000));

/// A row that owns its parts.
#[derive(Debug, Clone)]
struct Given {
    resource_type: ResourceType,
    owner: Option<String>,
    id: String,
    id_at: u32,
    body: String,
    splice: Splice,
    commit: RowCommit,
}

impl Given {
    fn observation(owner: Option<&str>, id: &str, filling: &str) -> Self {
        let subject = owner.map(|owner| format!(r#","subject":{{"reference":"Patient/{owner}"}}"#));
        let subject = subject.unwrap_or_default();
        Self::of_body(
            "Observation",
            owner,
            id,
            format!(r#"{subject},"note":"{filling}"}}"#),
        )
    }

    fn of_body(type_name: &str, owner: Option<&str>, id: &str, rest: String) -> Self {
        let body = format!(r#"{{"resourceType":"{type_name}","id":"{id}"{rest}"#);
        let id_at = (body.find(r#""id":""#).unwrap() + 6) as u32;
        let at = id_at + id.len() as u32 + 1;
        Self {
            resource_type: ResourceType::parse(type_name).unwrap(),
            owner: owner.map(str::to_owned),
            id: id.to_owned(),
            id_at,
            body,
            splice: Splice {
                at,
                form: SpliceForm::NoMeta,
            },
            commit: RowCommit::Own,
        }
    }

    fn row(&self) -> Row<'_> {
        Row {
            resource_type: self.resource_type,
            owner: self.owner.as_deref(),
            id_at: self.id_at,
            id_len: self.id.len() as u8,
            body: self.body.as_bytes(),
            splice: self.splice,
            commit: self.commit,
        }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        key::encode(self.resource_type, self.owner.as_deref(), &self.id, &mut key);
        key
    }

    fn commit_of(&self) -> (Sequence, Instant) {
        match self.commit {
            RowCommit::Own => OWN,
            RowCommit::At { sequence, instant } => (sequence, instant),
        }
    }
}

/// A run in a store in memory.
struct Kept {
    store: Counting,
    path: Path,
    file: Vec<u8>,
    summary: RunSummary,
}

impl Kept {
    fn of(given: &[Given], block_bytes: usize) -> Self {
        let mut builder = RunBuilder::new(RunSettings {
            block_bytes,
            zstd_level: 1,
        })
        .unwrap();
        let mut file = Vec::new();
        for (at, given) in given.iter().enumerate() {
            builder.push(given.row()).unwrap();
            if at % 3 == 0 {
                file.extend_from_slice(&builder.drain());
            }
        }
        let (rest, summary) = builder.finish().unwrap();
        file.extend_from_slice(&rest);
        Self::of_file(file, summary)
    }

    fn of_file(file: Vec<u8>, summary: RunSummary) -> Self {
        let kept = Self {
            store: Counting::default(),
            path: Path::from("runs/1"),
            file,
            summary,
        };
        kept.put(kept.file.clone());
        kept
    }

    fn put(&self, file: Vec<u8>) {
        ready(self.store.put(&self.path, file.into())).unwrap();
    }

    fn open(&self) -> Result<Run> {
        ready(Run::open(&self.store, &self.path, self.file.len() as u64))
    }

    fn block(&self, run: &Run, block: usize) -> Bytes {
        ready(run.fetch(&self.store, &self.path, block..block + 1)).unwrap()
    }

    /// Opens the run and decodes every block, as a scan does.
    fn read_all(&self) -> Result<()> {
        let run = self.open()?;
        let mut block = Block::new();
        for at in 0..run.blocks().len() {
            run.decode(at, &self.block(&run, at), OWN, &mut block)?;
        }
        Ok(())
    }
}

/// Runs a future that a store in memory never lets wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory is always ready")
}

fn uuid(number: u128) -> String {
    let digits = format!(
        "{:032x}",
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    );
    let (a, b, c, d, e) = (
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Sorts as a run is sorted: by key, then by commit, the run's own last.
fn sorted(given: impl IntoIterator<Item = Given>) -> Vec<Given> {
    let place = |given: &Given| match given.commit {
        RowCommit::Own => (given.key(), u64::MAX),
        RowCommit::At { sequence, .. } => (given.key(), sequence.0),
    };
    let placed: BTreeMap<_, _> = given.into_iter().map(|given| (place(&given), given)).collect();
    placed.into_values().collect()
}

fn an_id() -> impl Strategy<Value = String> {
    prop_oneof![any::<u128>().prop_map(uuid), "[a-cA-C0-2.-]{1,5}", "[a-z]{64}"]
}

fn a_commit() -> impl Strategy<Value = RowCommit> {
    let explicit = (1..400u64, -5..5i64).prop_map(|(sequence, micros)| RowCommit::At {
        sequence: Sequence(sequence),
        instant: Instant::from_micros(micros + sequence as i64),
    });
    prop_oneof![Just(RowCommit::Own), explicit]
}

prop_compose! {
    fn a_row()(
        type_name in prop::sample::select(vec!["Claim", "Observation", "Patient", "Practitioner"]),
        owner in prop::option::of(prop_oneof![an_id(), prop::sample::select(vec!["p1", "p2"]).prop_map(str::to_owned)]),
        id in an_id(),
        filling in "[a-f €ü\\\\]{0,300}",
        names_owner in any::<bool>(),
        form in prop::sample::select(vec![SpliceForm::NoMeta, SpliceForm::EmptyMeta, SpliceForm::Meta]),
        at in any::<prop::sample::Index>(),
        commit in a_commit(),
    ) -> Given {
        let reference = owner.as_ref().filter(|_| names_owner).cloned().unwrap_or_default();
        let rest = format!(r#","of":"{reference}","x":"{filling}"}}"#);
        let mut given = Given::of_body(type_name, owner.as_deref(), &id, rest);
        given.splice = Splice { at: at.index(given.body.len() + 1) as u32, form };
        given.commit = commit;
        given
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_come_back_from_blocks_of_any_size(
        rows in prop::collection::vec(a_row(), 0..80),
        block_bytes in 1024..20_000usize,
    ) {
        let rows = sorted(rows);
        let kept = Kept::of(&rows, block_bytes);
        let run = kept.open().unwrap();
        prop_assert_eq!((run.rows(), kept.summary.rows), (rows.len() as u64, rows.len() as u64));
        prop_assert_eq!(kept.summary.stored_bytes, kept.file.len() as u64);
        prop_assert_eq!(kept.summary.types.iter().map(|count| count.rows).sum::<u64>(), rows.len() as u64);
        let (mut block, mut seen) = (Block::new(), 0);
        for (at, index) in run.blocks().iter().enumerate() {
            run.decode(at, &kept.block(&run, at), OWN, &mut block).unwrap();
            prop_assert_eq!(index.first_row, seen as u64);
            prop_assert!(index.text_bytes as usize <= block_bytes.max(block.body(0).len() + 1));
            prop_assert_eq!(block.len(), index.rows as usize);
            prop_assert_eq!(run.first_key(at), rows[seen].key());
            prop_assert_eq!(run.last_key(at), rows[seen + block.len() - 1].key());
            let newest = rows[seen..seen + block.len()].iter().map(|row| row.commit_of().0).max();
            prop_assert_eq!(Some(index.newest(OWN.0)), newest);
            for (row, given) in rows[seen..].iter().take(block.len()).enumerate() {
                let decoded = block.rows()[row];
                prop_assert_eq!(block.body(row), given.body.as_bytes());
                prop_assert_eq!((block.id(row), block.owner(row)), (given.id.as_str(), given.owner.as_deref()));
                prop_assert_eq!((decoded.id_at, decoded.splice), (given.id_at, given.splice));
                prop_assert_eq!((decoded.sequence, decoded.instant), given.commit_of());
                let mut owner_key = Vec::new();
                key::push_owner(given.owner.as_deref(), &mut owner_key);
                prop_assert_eq!(block.owner_key(row), &owner_key);
                prop_assert!(run.may_hold_owner(at, &owner_key));
                prop_assert!(run.blocks_of(given.resource_type).contains(&at));
                let key = given.key();
                let until = key::after_prefix(&key);
                prop_assert!(run.blocks_between(&key, until.as_deref()).contains(&at));
            }
            seen += block.len();
        }
        prop_assert_eq!(seen, rows.len());
    }

    #[test]
    fn a_flipped_bit_is_seen(
        rows in prop::collection::vec(a_row(), 1..30),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let kept = Kept::of(&sorted(rows), 2048);
        let mut file = kept.file.clone();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        kept.put(file);
        let header_bytes = 16;
        match kept.read_all() {
            Ok(()) => prop_assert!(at < header_bytes, "byte {} of {}", at, kept.file.len()),
            // The very last byte is the version: a higher one is a promise, not damage.
            Err(error) if at + 1 == kept.file.len() => {
                prop_assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat));
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
                prop_assert!(error.to_string().contains("runs/1"));
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_seen(rows in prop::collection::vec(a_row(), 1..30), cut in any::<prop::sample::Index>()) {
        let kept = Kept::of(&sorted(rows), 2048);
        let length = cut.index(kept.file.len());
        kept.put(kept.file[..length].to_vec());
        prop_assert!(kept.read_all().is_err(), "the length is known to be another");
        let opened = ready(Run::open(&kept.store, &kept.path, length as u64));
        prop_assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn wild_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..400), seemly in any::<bool>()) {
        let mut bytes = bytes;
        if seemly {
            bytes.extend_from_slice(b"fhirrun\x01");
        }
        let store = InMemory::new();
        let path = Path::from("wild");
        ready(store.put(&path, bytes.clone().into())).unwrap();
        let opened = ready(Run::open(&store, &path, bytes.len() as u64));
        prop_assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_block_that_is_not_the_asked_one_is_corrupt() {
    let rows = sorted((0..200).map(|n| Given::observation(Some("p"), &uuid(n), "x")));
    let kept = Kept::of(&rows, 2048);
    let run = kept.open().unwrap();
    let mut block = Block::new();
    run.decode(1, &kept.block(&run, 1), OWN, &mut block).unwrap();
    let error = run.decode(0, &kept.block(&run, 1), OWN, &mut block).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(block.is_empty());
    let error = run.decode(9_999, b"", OWN, &mut block).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn blocks_fetched_together_come_apart() {
    let rows = sorted((0..300).map(|n| Given::observation(Some("p"), &uuid(n), "x")));
    let kept = Kept::of(&rows, 2048);
    let run = kept.open().unwrap();
    let count = run.blocks().len();
    let fetched = ready(run.fetch(&kept.store, &kept.path, 2..count - 1)).unwrap();
    for block in 2..count - 1 {
        assert_eq!(run.block_bytes_in(&fetched, 2, block), kept.block(&run, block));
    }
    assert!(
        run.block_bytes_in(&fetched, 2, 1).is_empty()
            && run.block_bytes_in(&fetched, 2, count - 1).is_empty()
    );
    let nothing = ready(run.fetch(&kept.store, &kept.path, 3..3));
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn zstd_prints_a_run_as_plain_ndjson() {
    let rows = sorted((0..500).map(|n| Given::observation(Some(&uuid(n / 7)), &uuid(n), "prinzip nü")));
    let ndjson: String = rows.iter().map(|row| format!("{}\n", row.body)).collect();
    let kept = Kept::of(&rows, 4096);
    let decoded = zstd::stream::decode_all(&kept.file[..]).unwrap();
    assert!(decoded == ndjson.as_bytes());
    // The tool itself is asked too where there is one.
    let tool = Command::new("zstd")
        .arg("-dcq")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    if let Ok(mut tool) = tool {
        let mut input = tool.stdin.take().unwrap();
        let file = kept.file.clone();
        let feeder = std::thread::spawn(move || input.write_all(&file));
        let output = tool.wait_with_output().unwrap();
        feeder.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == ndjson.as_bytes());
    }
}

#[test]
fn an_empty_run_opens() {
    let kept = Kept::of(&[], 4096);
    let run = kept.open().unwrap();
    assert!(run.blocks().is_empty() && run.rows() == 0);
    assert_eq!((kept.summary.rows, kept.summary.newest), (0, None));
    assert!(zstd::stream::decode_all(&kept.file[..]).unwrap().is_empty());
}

#[test]
fn rows_out_of_order_are_refused_and_later_versions_are_not() {
    let at = |sequence| RowCommit::At {
        sequence: Sequence(sequence),
        instant: Instant::from_micros(1),
    };
    let row = |id: &str, commit| Given {
        commit,
        ..Given::observation(Some("p"), id, "x")
    };
    let mut builder = RunBuilder::new(RunSettings::default()).unwrap();
    for good in [
        row("b", at(3)),
        row("b", at(4)),
        row("b", RowCommit::Own),
        row("c", at(1)),
    ] {
        builder.push(good.row()).unwrap();
    }
    for bad in [row("a", at(9)), row("c", at(1)), row("d", at(0))] {
        assert_eq!(builder.push(bad.row()).unwrap_err().kind(), ErrorKind::Invalid);
    }
    builder.push(row("c", RowCommit::Own).row()).unwrap();
    assert_eq!(
        builder.push(row("c", RowCommit::Own).row()).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let (_, summary) = builder.finish().unwrap();
    assert_eq!(
        (summary.rows, summary.oldest, summary.newest),
        (5, Some(Sequence(1)), Some(Sequence(4)))
    );
}

#[test]
fn rows_that_do_not_fit_their_body_are_refused() {
    let good = Given::observation(Some("p"), "abc", "x");
    let row = good.row();
    let two_lines = format!("{}\n", good.body);
    let bad = [
        Row { body: b"", ..row },
        Row {
            body: two_lines.as_bytes(),
            ..row
        },
        Row {
            id_at: u32::MAX,
            ..row
        },
        Row { id_len: 0, ..row },
        Row { id_len: 65, ..row },
        Row {
            owner: Some("pä"),
            ..row
        },
        Row {
            owner: Some(""),
            ..row
        },
        Row {
            splice: Splice {
                at: good.body.len() as u32 + 1,
                form: SpliceForm::Meta,
            },
            ..row
        },
    ];
    let mut builder = RunBuilder::new(RunSettings::default()).unwrap();
    for row in bad {
        assert_eq!(builder.push(row).unwrap_err().kind(), ErrorKind::Invalid);
    }
    builder.push(row).unwrap();
    assert_eq!(builder.finish().unwrap().1.rows, 1);
}

#[test]
fn settings_out_of_range_are_refused() {
    for block_bytes in [0, 1023, usize::MAX] {
        let refused = RunBuilder::new(RunSettings {
            block_bytes,
            zstd_level: 1,
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn blocks_end_where_another_patient_begins() {
    let filling = "x".repeat(600);
    let rows = (0..40).flat_map(|owner| {
        let filling = &filling;
        (0..5).map(move |n| Given::observation(Some(&uuid(owner)), &uuid(owner * 5 + n), filling))
    });
    let rows = sorted(rows);
    let patient_bytes: usize = rows[..5].iter().map(|row| row.body.len() + 1).sum();
    let kept = Kept::of(&rows, patient_bytes * 3 / 2);
    let run = kept.open().unwrap();
    assert_eq!(run.blocks().len(), 40);
    for owner in 0..40 {
        let mut owner_key = Vec::new();
        key::push_owner(Some(&uuid(owner)), &mut owner_key);
        let held = (0..40).filter(|&block| run.may_hold_owner(block, &owner_key));
        assert_eq!(held.count(), 1);
    }
}

#[test]
fn strangers_are_seldom_believed_to_be_in_a_block() {
    let rows = sorted((0..4000).map(|n| Given::observation(Some(&uuid(n)), &uuid(n), "x")));
    let kept = Kept::of(&rows, 32 * 1024);
    let run = kept.open().unwrap();
    let (mut asked, mut believed) = (0, 0);
    for stranger in 10_000..14_000 {
        let mut owner_key = Vec::new();
        key::push_owner(Some(&uuid(stranger)), &mut owner_key);
        for block in 0..run.blocks().len() {
            asked += 1;
            believed += usize::from(run.may_hold_owner(block, &owner_key));
        }
    }
    assert!(believed * 1000 < asked, "{believed} of {asked}");
}

#[test]
fn an_unlucky_order_of_patients_still_costs_few_bytes_a_row() {
    let row = |n: u128| Given::observation(Some(&uuid(n ^ 0xabcd)), &uuid(n), "");
    let kept = Kept::of(&sorted((0..20_000).map(row)), 128 * 1024);
    let run = kept.open().unwrap();
    let tables: u64 = (0..run.blocks().len())
        .map(|block| {
            let bytes = kept.block(&run, block);
            let frame = zstd::zstd_safe::find_frame_compressed_size(&bytes).unwrap();
            (bytes.len() - frame) as u64
        })
        .sum();
    let per_row = tables as f64 / run.rows() as f64;
    assert!(
        per_row < 3.0,
        "{per_row} bytes a row when each row has a patient of its own"
    );
    let kept = Kept::of(
        &sorted((0..20_000).map(|n| Given::observation(Some("p"), &uuid(n), ""))),
        128 * 1024,
    );
    let run = kept.open().unwrap();
    let bytes = kept.block(&run, 0);
    let frame = zstd::zstd_safe::find_frame_compressed_size(&bytes).unwrap();
    assert!(bytes.len() - frame < 32, "nothing a row when all are alike");
}

#[test]
fn opening_takes_one_read_or_two() {
    let rows = sorted((0..30_000).map(|n| Given::observation(Some(&uuid(n)), &uuid(n + 1), "")));
    for (block_bytes, reads) in [(128 * 1024, 1), (1024, 2)] {
        let kept = Kept::of(&rows, block_bytes);
        let run = kept.open().unwrap();
        assert_eq!((run.rows(), kept.store.reads.into_inner()), (30_000, reads));
    }
}

/// The rows of the fixture `run-1`, written by the first version of the format.
fn rows_of_version_1() -> Vec<Given> {
    let at = |sequence| RowCommit::At {
        sequence: Sequence(sequence),
        instant: Instant::from_micros(1_700_000_000_123_456),
    };
    let mut rows = vec![
        Given::of_body("Patient", Some("p-1"), "p-1", "}".to_owned()),
        Given::of_body("Practitioner", None, &uuid(9), r#","meta":{}}"#.to_owned()),
        Given {
            commit: at(3),
            ..Given::observation(Some("p-1"), "twice", "older")
        },
        Given::observation(Some("p-1"), "twice", "newer"),
    ];
    rows.extend((0..40).map(|n| Given {
        commit: at(1),
        ..Given::observation(Some(&uuid(n / 4)), &uuid(n), "x")
    }));
    sorted(rows)
}

#[test]
fn a_run_of_format_1_still_opens() {
    let file = include_bytes!("fixtures/run-1.fhrun").to_vec();
    let rows = rows_of_version_1();
    let summary = Kept::of(&rows, 4096).summary;
    let kept = Kept::of_file(file, summary);
    let run = kept.open().unwrap();
    let (mut block, mut seen) = (Block::new(), Vec::new());
    for at in 0..run.blocks().len() {
        run.decode(at, &kept.block(&run, at), OWN, &mut block).unwrap();
        seen.extend((0..block.len()).map(|row| {
            let of = block.rows()[row];
            let owner = block.owner(row).map(str::to_owned);
            (
                owner,
                block.id(row).to_owned(),
                block.body(row).to_vec(),
                of.splice,
                (of.sequence, of.instant),
            )
        }));
    }
    let expected = rows.iter().map(|row| {
        (
            row.owner.clone(),
            row.id.clone(),
            row.body.clone().into_bytes(),
            row.splice,
            row.commit_of(),
        )
    });
    assert!(seen.into_iter().eq(expected));
}

/// An object store in memory that counts its reads.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    reads: AtomicUsize,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get_opts(path, options).await
    }

    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
