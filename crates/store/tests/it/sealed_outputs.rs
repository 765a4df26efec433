//! Encrypted output files: served as if they were not, and refused when they are not what was written where it was written.

use std::sync::Arc;

use fhirhose_store::{
    Encoding, ErrorKind, OutputKeys, OutputName, OutputReader, OutputSettings, OutputStore, OutputStream,
    Result,
};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use tokio::runtime::Runtime;

const KEY: [u8; 32] = [7; 32];
const OTHER_KEY: [u8; 32] = [8; 32];
const TRAILER_BYTES: usize = 56;

/// A store in memory whose bytes a test can change.
struct Bench {
    runtime: Runtime,
    objects: Arc<InMemory>,
}

impl Bench {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap(),
            objects: Arc::default(),
        }
    }

    fn outputs(&self, keys: &[[u8; 32]]) -> OutputStore {
        let outputs = OutputStore::new(self.objects.clone());
        match keys {
            [] => outputs,
            keys => outputs.with_keys(OutputKeys::new(keys.to_vec()).unwrap()),
        }
    }

    fn write(&self, keys: &[[u8; 32]], file: &str, text: &[u8]) {
        let _entered = self.runtime.enter();
        let settings = OutputSettings {
            block_bytes: 500,
            part_bytes: 1_000,
            ..OutputSettings::default()
        };
        let mut writer = self.outputs(keys).create(&name(file), &settings).unwrap();
        writer.write(text).unwrap();
        let written = writer.finish().unwrap();
        assert_eq!(written.stored_bytes, self.stored(file).len() as u64);
    }

    fn open(&self, keys: &[[u8; 32]], file: &str) -> Result<OutputReader> {
        self.runtime.block_on(self.outputs(keys).open(&name(file)))
    }

    /// Opens and reads in every encoding; all must succeed or fail alike.
    fn read(&self, keys: &[[u8; 32]], file: &str) -> Result<Vec<u8>> {
        let reader = self.open(keys, file)?;
        let collect = |encoding| {
            let chunks: Result<Vec<_>> = self.runtime.block_on(reader.stream(encoding).try_collect());
            chunks.map(|chunks| chunks.concat())
        };
        let zstd = collect(Encoding::Zstd);
        let identity = collect(Encoding::Identity)?;
        let zstd = zstd?;
        assert_eq!(reader.length(Encoding::Zstd), Some(zstd.len() as u64));
        assert_eq!(zstd::decode_all(&*zstd).unwrap(), identity);
        collect(Encoding::Gzip)?;
        Ok(identity)
    }

    fn stored(&self, file: &str) -> Vec<u8> {
        let read = async { self.objects.get(&path(file)).await.unwrap().bytes().await };
        self.runtime.block_on(read).unwrap().to_vec()
    }

    fn store(&self, file: &str, bytes: Vec<u8>) {
        let path = path(file);
        let put = self.objects.put(&path, bytes.into());
        self.runtime.block_on(put).unwrap();
    }
}

fn name(file: &str) -> OutputName {
    OutputName::new("job", file).unwrap()
}

fn path(file: &str) -> ObjectPath {
    ObjectPath::from(format!("job/{file}"))
}

fn text(rows: usize) -> Vec<u8> {
    let line = |row: usize| {
        format!(
            "{{\"id\":\"{row}\",\"x\":\"{:x}\"}}\n",
            row.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        )
    };
    (0..rows).map(line).collect::<String>().into_bytes()
}

#[test]
fn a_sealed_file_is_served_as_an_unsealed_one_is() {
    let bench = Bench::new();
    for rows in [0, 1, 200] {
        let text = text(rows);
        bench.write(&[KEY], "sealed", &text);
        bench.write(&[], "plain", &text);
        assert_eq!(bench.read(&[KEY], "sealed").unwrap(), text);
        let (sealed, plain) = (
            bench.open(&[KEY], "sealed").unwrap(),
            bench.open(&[], "plain").unwrap(),
        );
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            assert_eq!(sealed.etag(encoding), plain.etag(encoding));
            assert_eq!(sealed.length(encoding), plain.length(encoding));
        }
        assert_eq!((sealed.rows(), sealed.sha256()), (plain.rows(), plain.sha256()));
    }
    let (reader, text) = (bench.open(&[KEY], "sealed").unwrap(), text(200));
    for (from, to) in [(0, 1), (499, 1_501), (3_000, 3_000), (text.len() - 1, text.len())] {
        let part: Vec<_> = bench
            .runtime
            .block_on(reader.range(from as u64..to as u64).try_collect())
            .unwrap();
        assert_eq!(part.concat(), text[from..to]);
    }
    // The same of the compressed form, whose pieces are opened one by one.
    let all = |stream: OutputStream| -> Vec<u8> {
        let parts: Vec<_> = bench.runtime.block_on(stream.try_collect()).unwrap();
        parts.concat()
    };
    let plain = bench.open(&[], "plain").unwrap();
    let frames = all(plain.stream(Encoding::Zstd));
    let bytes = frames.len() as u64;
    assert_eq!(plain.length(Encoding::Zstd), Some(bytes));
    for (from, to) in [
        (0, bytes),
        (0, 1),
        (1, bytes),
        (bytes / 3, bytes / 2),
        (bytes - 1, bytes),
        (5, 5),
    ] {
        for file in [&reader, &plain] {
            let part = all(file.part(Encoding::Zstd, from..to).unwrap());
            assert!(part == frames[from as usize..to as usize], "{from}..{to}");
        }
    }
    assert!(plain.part(Encoding::Gzip, 0..1).is_none());
}

#[test]
fn nothing_of_the_text_lies_in_a_sealed_file() {
    let bench = Bench::new();
    let marked = b"{\"family\":\"Featherstonehaugh\"}\n";
    bench.write(&[KEY], "sealed", marked);
    let stored = bench.stored("sealed");
    let has = |stored: &[u8], what: &[u8]| stored.windows(what.len()).any(|window| window == what);
    let zstd = 0xFD2F_B528_u32.to_le_bytes();
    assert!(!has(&stored, b"Feather") && !has(&stored, &zstd));
    // The hash would tell whether the text is one that is guessed.
    let hash = bench.open(&[KEY], "sealed").unwrap().sha256().unwrap();
    let hash: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&hash[at..at + 2], 16).unwrap())
        .collect();
    assert!(!has(&stored, &hash));
    bench.write(&[], "plain", marked);
    let plain = bench.stored("plain");
    assert!(
        has(&plain, b"Feather") && has(&plain, &zstd) && has(&plain, &hash),
        "the test sees what it looks for"
    );
    bench.write(&[KEY], "again", marked);
    assert_ne!(bench.stored("again"), stored, "each file has a key of its own");
}

#[test]
fn no_flipped_bit_and_no_cut_is_served() {
    let bench = Bench::new();
    bench.write(&[KEY], "sealed", &text(60));
    let whole = bench.stored("sealed");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        bench.store("sealed", flipped);
        let error = bench.read(&[KEY], "sealed").unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NoKey),
            "byte {at}: {error}"
        );
    }
    for length in (0..whole.len()).step_by(7) {
        bench.store("sealed", whole[..length].to_vec());
        assert!(bench.read(&[KEY], "sealed").is_err(), "cut to {length}");
    }
    bench.store("sealed", whole);
    assert_eq!(bench.read(&[KEY], "sealed").unwrap(), text(60));
}

#[test]
fn pieces_of_other_places_and_files_are_not_served() {
    let bench = Bench::new();
    // Lines of one length make blocks of one length, which can change places.
    let text: Vec<u8> = (100..200)
        .flat_map(|row| format!("{{\"id\":\"{row}\"}}\n").into_bytes())
        .collect();
    bench.write(&[KEY], "one", &text);
    bench.write(&[KEY], "two", &text);
    let (one, two) = (bench.stored("one"), bench.stored("two"));
    assert_eq!(one.len(), two.len());
    // Under another name.
    bench.store("two", one.clone());
    assert_eq!(bench.read(&[KEY], "two").unwrap_err().kind(), ErrorKind::Corrupt);
    // The blocks of one, the index of the other.
    let index_bytes = one.len() - TRAILER_BYTES - 200;
    bench.store("two", [&one[..index_bytes], &two[index_bytes..]].concat());
    assert_eq!(bench.read(&[KEY], "two").unwrap_err().kind(), ErrorKind::Corrupt);
    // The end of the other.
    let end = one.len() - TRAILER_BYTES;
    bench.store("two", [&two[..end], &one[end..]].concat());
    assert_eq!(bench.read(&[KEY], "two").unwrap_err().kind(), ErrorKind::Corrupt);
    bench.store("two", two);
    assert_eq!(bench.read(&[KEY], "two").unwrap(), text);
}

#[test]
fn a_file_of_another_key_says_which_one_it_wants_and_old_keys_still_open() {
    let bench = Bench::new();
    bench.write(&[OTHER_KEY], "old", &text(3));
    for keys in [&[][..], &[KEY][..]] {
        let error = bench.open(keys, "old").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoKey);
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("--output-key-file"), "{why}");
    }
    assert_eq!(bench.read(&[KEY, OTHER_KEY], "old").unwrap(), text(3));
    bench.write(&[KEY, OTHER_KEY], "new", &text(3));
    assert_eq!(bench.read(&[KEY], "new").unwrap(), text(3), "the first key seals");
}

#[test]
fn files_from_before_encryption_open_beside_sealed_ones() {
    let bench = Bench::new();
    bench.write(&[], "plain", &text(3));
    assert_eq!(bench.read(&[KEY], "plain").unwrap(), text(3));
    assert_eq!(
        OutputKeys::new(Vec::new()).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let shown = format!("{:?}", OutputKeys::new(vec![KEY]).unwrap());
    assert_eq!(shown, "OutputKeys(1 keys)");
}

#[test]
fn a_sealed_file_of_the_first_form_still_opens() {
    let bench = Bench::new();
    bench.store("sealed", include_bytes!("fixtures/output-sealed-1").to_vec());
    assert_eq!(bench.read(&[KEY], "sealed").unwrap(), text(40));
}
