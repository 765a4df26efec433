//! The serialised form of records, and of the ids and bytes in them.

use fhirhose_jobs::{
    Claim, ErrorKind, Failure, JobError, JobId, JobRecord, NewJob, StopReason, SystemEntropy, Timestamp,
    testing::SeededEntropy,
};
use proptest::prelude::*;

/// A record as the first version wrote it. It must open for ever; a new field needs a default.
const FIRST_FORM: &str = r#"{"id":"000102030405060708090a0b0c0d0e0f","kind":"export","spec":"t:{\"level\":\"system\"}",
"owner":"client-1","state":"running","fence":2,"lease_until":1700000030000000,"worker":"node-1","ready":1700000000000000,
"checkpoint":"x:00ff","holds":42,"progress":{"done":3,"total":10,"note":"files"},"result":null,
"failure":{"code":"upstream","message":"the source answered 503"},"attempts":1,"created":1700000000000000,
"started":1700000001000000,"finished":null,"expires":null}"#;

#[test]
fn record_of_the_first_form_still_opens_and_is_still_written() {
    let record: JobRecord = serde_json::from_str(FIRST_FORM).unwrap();
    assert_eq!(record.spec, br#"{"level":"system"}"#);
    assert_eq!(record.checkpoint, Some(vec![0, 0xff]));
    assert_eq!((record.fence, record.holds, record.attempts), (2, Some(42), 1));
    assert_eq!(
        record.lease_until,
        Some(Timestamp::from_micros(1_700_000_030_000_000))
    );
    assert_eq!(
        serde_json::to_string(&record).unwrap(),
        FIRST_FORM.replace('\n', "")
    );
}

#[test]
fn damaged_records_are_refused() {
    for (from, to) in [
        ("t:{", "{"),
        ("x:00ff", "x:00f"),
        ("x:00ff", "x:00FF"),
        ("x:00ff", "é"),
        ("0e0f", "0e"),
    ] {
        let damaged = FIRST_FORM.replace(from, to);
        assert_ne!(damaged, FIRST_FORM);
        assert!(
            serde_json::from_str::<JobRecord>(&damaged).is_err(),
            "{to} was taken"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_survive_the_record(spec: Vec<u8>, state: Option<Vec<u8>>, text: String) {
        for spec in [spec, text.into_bytes()] {
            let (kind, owner) = ("k".to_owned(), "o".to_owned());
            let id = JobId::from_bytes([9; 16]);
            let mut record = JobRecord::new(NewJob { id, kind, spec, owner, created: Timestamp::from_micros(-1) });
            record.checkpoint.clone_from(&state);
            let text = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(serde_json::from_str::<JobRecord>(&text).unwrap(), record);
        }
    }
}

#[test]
fn job_id_has_one_spelling_safe_in_urls() {
    let id = JobId::random(&SeededEntropy::new(5));
    let text = id.to_string();
    assert_eq!(text.len(), 32);
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
    );
    assert_eq!(text.parse::<JobId>().unwrap(), id);
    let others = [
        String::new(),
        text.to_uppercase(),
        format!("{text}0"),
        format!("{text}00"),
        "../".repeat(11),
    ];
    for other in others {
        assert_eq!(
            other.parse::<JobId>().map_err(|error| error.kind()),
            Err(ErrorKind::Invalid),
            "{other}"
        );
    }
}

#[test]
fn ids_differ_by_the_system_and_repeat_by_seed() {
    assert_ne!(JobId::random(&SystemEntropy), JobId::random(&SystemEntropy));
    assert_eq!(
        JobId::random(&SeededEntropy::new(1)),
        JobId::random(&SeededEntropy::new(1))
    );
    assert_ne!(
        JobId::random(&SeededEntropy::new(1)),
        JobId::random(&SeededEntropy::new(2))
    );
}

#[test]
fn refused_change_leaves_the_record_as_it_was() {
    let mut record: JobRecord = serde_json::from_str(FIRST_FORM).unwrap();
    let (now, until) = (
        Timestamp::from_micros(1_800_000_000_000_000),
        Timestamp::from_micros(1_800_000_030_000_000),
    );
    let stale = fhirhose_jobs::Lease {
        job: record.id,
        fence: record.fence,
    };
    record.accept_claim(&Claim {
        worker: "w",
        kinds: &["export"],
        now,
        until,
    });
    let before = record.clone();
    let write = fhirhose_jobs::Checkpoint::new().state(b"stale".to_vec()).holds(1);
    assert!(record.accept_checkpoint(&stale, &write).is_err());
    assert!(record.accept_renewal(&stale, until).is_err());
    assert_eq!(record, before);
}

#[test]
fn failure_has_all_causes_and_errors_become_what_a_handler_does() {
    let broken = std::io::Error::other("no such device");
    let error = fhirhose_jobs::Error::new(ErrorKind::StorageFull, "writing a checkpoint").caused_by(broken);
    let failure = Failure::from_error("storage-full", &error);
    assert_eq!(failure.message, "writing a checkpoint: no such device");
    assert_eq!(JobError::from(error), JobError::Failed(failure));
    let error = |kind| JobError::from(fhirhose_jobs::Error::new(kind, "context"));
    assert_eq!(error(ErrorKind::LeaseLost), JobError::Stop(StopReason::LeaseLost));
    assert_eq!(error(ErrorKind::Cancelled), JobError::Stop(StopReason::Cancelled));
    assert!(matches!(error(ErrorKind::Unavailable), JobError::Retry { .. }));
    assert!(matches!(error(ErrorKind::Store), JobError::Failed(_)));
}
