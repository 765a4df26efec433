//! The sample population beside the repository: `../shared/data/synthea-100`.

use std::{fs, path::PathBuf, sync::OnceLock};

/// The NDJSON text of each file by its type's name, in name order.
pub(crate) fn files() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100");
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("the folder can be listed").path())
            .collect();
        files.sort();
        let read = |path: &PathBuf| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("names are text");
            let name = name.strip_suffix(".ndjson.zst")?.to_owned();
            let bytes = fs::read(path).expect("the file can be read");
            Some((name, zstd::decode_all(&bytes[..]).expect("the file is zstd")))
        };
        let files: Vec<_> = files.iter().filter_map(read).collect();
        assert_eq!(files.len(), 18, "the sample has eighteen types");
        files
    })
}

/// The lines of all files.
pub(crate) fn lines() -> impl Iterator<Item = &'static [u8]> {
    let lines = files()
        .iter()
        .flat_map(|(_, text)| text.split(|&byte| byte == b'\n'));
    lines.filter(|line| !line.is_empty())
}

/// A few short lines of each kind, to be changed.
pub(crate) fn short_lines() -> &'static [Vec<u8>] {
    static LINES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    LINES.get_or_init(|| {
        lines()
            .filter(|line| line.len() < 800)
            .step_by(601)
            .map(<[u8]>::to_vec)
            .collect()
    })
}
