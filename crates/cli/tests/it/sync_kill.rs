//! SIGKILL at random moments of a sync of a folder into a store: the same command goes on, and the store ends equal to the folder.
//!
//! `FHIRHOSE_KILLS` and `FHIRHOSE_KILL_SEED` are those of `kill.rs`.

use crate::kill::{Kills, refs, start, words};
use crate::sample::{succeed, text};
use crate::sync::{contents, hashes};
use std::path::Path;
use std::time::Instant;

/// Lines of each of two types.
const LINES: usize = 2_500;

#[test]
fn a_sync_that_is_killed_ends_as_if_it_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = at("source");
    std::fs::create_dir(&source).unwrap();
    let mut texts = Vec::new();
    for kind in ["Patient", "Observation"] {
        let line = |id| format!("{{\"resourceType\":\"{kind}\",\"id\":\"{id}\",\"language\":\"en\"}}\n");
        let text: String = (0..LINES).map(line).collect();
        std::fs::write(source.join(format!("1.{kind}.ndjson")), &text).unwrap();
        texts.push(text);
    }
    let expected = hashes(texts);
    let line = |store: &Path| {
        let to = format!("store:{}", store.display());
        words(&["sync", text(&source), "--to", &to])
    };
    let began = Instant::now();
    succeed(&refs(&line(&at("calm"))));
    let mut span = began.elapsed();
    assert_eq!(contents(&at("calm"), &at("of-calm")), expected);

    let mut kills = Kills::new(7);
    for round in 1.. {
        let (store, log) = (at(&format!("killed-{round}")), at("log"));
        let line = line(&store);
        kills.until_it_ends(&mut span, &log, || start(&refs(&line), &log), |_| false);
        assert_eq!(contents(&store, &at(&format!("of-{round}"))), expected);
        if kills.left == 0 {
            break;
        }
    }
    kills.sum_up("sync");
}
