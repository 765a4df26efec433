//! `fhirhose sync` from a server with faults.

use crate::faulty::Ehr;
use crate::sample::{run, succeed, text};
use crate::sync::{contents, hashes, metric};
use fhirhose_client::testing::{
    Cut, EhrSettings, Fault, Manner, Place, RetryAfter, SourceFile, Strike, Words,
};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// A `transactionTime` that comes back as it is, or not at all.
const TIME: &str = "2024-02-29T10:00:00.12+01:00";

/// The same as Unix time.
const SECS: f64 = 1_709_197_200.12;

fn source(script: Vec<Strike>) -> Ehr {
    let file = |kind: &str, number: u32| {
        let line = |id| format!("{{\"resourceType\":\"{kind}\",\"id\":\"{id}\"}}\n");
        SourceFile::output(kind, (0..number).map(line).collect::<String>())
    };
    let manner = Manner {
        transaction_time: Some(TIME.to_owned()),
        ..Manner::default()
    };
    Ehr::start(EhrSettings {
        files: vec![
            file("Patient", 30),
            file("Observation", 20),
            file("Organization", 10),
        ],
        manner,
        script,
    })
}

fn now_secs() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[test]
fn a_sync_gets_through_faults_and_keeps_its_cursor_where_a_file_cannot_be_had_cl_12() {
    let busy = Fault::answer_later(429, RetryAfter::Secs(1), Words::Nothing);
    let ehr = source(vec![
        Strike::once(Place::Status, busy),
        Strike::once(Place::File(0), Fault::Cut(Cut::Body(100))),
        Strike::once(Place::File(1), Fault::Expired),
        Strike::once(Place::File(2), Fault::BrokenLine),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (replica, metrics, base) = (at("replica"), at("sync.prom"), ehr.base());
    let to = format!("store:{}", replica.display());
    let line = [
        "sync",
        &base,
        "--global",
        "--to",
        &to,
        "--metrics-file",
        text(&metrics),
    ];
    let before = now_secs();
    succeed(&line);
    let told = std::fs::read_to_string(&metrics).unwrap();
    let lag = metric(&told, "lag_seconds");
    assert!((before - SECS - 1.0..=now_secs() - SECS).contains(&lag), "{lag}");
    assert_eq!(metric(&told, "transaction_time_seconds"), SECS);
    for index in 0..3 {
        assert_eq!(
            ehr.asked_at(Place::File(index)).len(),
            2,
            "file {index} was struck"
        );
    }
    assert_eq!(ehr.asked_at(Place::Status)[0].status, 429);
    let texts = ehr.files().iter().map(|file| String::from_utf8_lossy(&file.text));
    let expected = hashes(texts);
    assert_eq!(expected.len(), 60);
    assert_eq!(contents(&replica, &at("of-replica")), expected);

    ehr.strike(Strike::always(Place::File(0), Fault::OtherType));
    let second = run(&line);
    let told = String::from_utf8_lossy(&second.stdout);
    assert_eq!(second.status.code(), Some(3), "{told}");
    assert!(told.contains("1.Patient.ndjson"), "{told}");
    let state = replica.join("sync");
    let status = succeed(&["sync", "status", "--state", text(&state), "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["cursor"], &status["round"]), (&TIME.into(), &1.into()));
    let since: Vec<_> = ehr.asked_at(Place::KickOff);
    let since: Vec<_> = since.iter().map(|asked| asked.query("_since")).collect();
    assert_eq!(since, [vec![], vec![TIME.to_owned()]], "verbatim");
    assert_eq!(contents(&replica, &at("after")), expected, "nothing was applied");
}
