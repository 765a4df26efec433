//! Text from outside never panics a reader, and what a reader accepts keeps its promises.

use fhirhose_fhir::accept::{accepts_fhir_json, negotiate_encoding};
use fhirhose_fhir::etag::{EntityTag, EntityTags};
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff};
use fhirhose_fhir::group::GroupMembers;
use fhirhose_fhir::import_request::parse_import_request;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::Manifest;
use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::prefer::Preferences;
use fhirhose_fhir::range::{RangeRequest, parse_range};
use proptest::prelude::*;

fn now() -> Instant {
    Instant::parse("2026-11-21T04:12:33Z").expect("an instant")
}

fn kick_off() -> KickOff<'static> {
    KickOff {
        request_url: "u",
        ..KickOff::new(ExportLevel::System, now())
    }
}

/// A query made of the pieces that mean something, in any order and with any mistakes.
fn queries() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("_type=".to_owned()),
        Just("_since=".to_owned()),
        Just("_elements=".to_owned()),
        Just("_outputFormat=".to_owned()),
        Just("_until=".to_owned()),
        Just("_typeFilter=".to_owned()),
        Just("_maximumFileSize=1".to_owned()),
        Just("allowPartialManifests=true".to_owned()),
        Just("Patient".to_owned()),
        Just("Observation.code".to_owned()),
        Just("2020-01-01T00:00:00".to_owned()),
        Just("Z".to_owned()),
        Just("ndjson".to_owned()),
        Just("&".to_owned()),
        Just(",".to_owned()),
        Just("%2C".to_owned()),
        Just("+".to_owned()),
        Just("%".to_owned()),
        "\\PC{0,6}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_query_is_a_request_or_a_list_of_issues(query in queries()) {
        match kick_off().read_query(&query) {
            Ok(request) => {
                prop_assert!(request.since.is_none_or(|since| since <= now()));
                prop_assert!(request.types.as_ref().is_none_or(|types| !types.is_empty()));
                let stored = serde_json::to_string(&request).expect("JSON");
                let again: ExportRequest = serde_json::from_str(&stored).expect("a stored request reads back");
                prop_assert_eq!(serde_json::to_string(&again).expect("JSON"), stored);
            }
            Err(outcome) => {
                prop_assert!((1..=51).contains(&outcome.issues.len()));
                prop_assert_eq!(OperationOutcome::parse(outcome.to_json().as_bytes()), Ok(outcome));
            }
        }
    }

    #[test]
    fn a_satisfiable_range_lies_in_the_file(header in "bytes ?=[0-9, -]{0,12}", length_bytes in 0_u64..200) {
        if let RangeRequest::Part(range) = parse_range(Some(&header), length_bytes) {
            prop_assert!(range.first <= range.last && range.last < length_bytes);
        }
    }

    #[test]
    fn an_entity_tag_that_is_read_is_written_the_same(text in "(W/)?\"[!-~ ]{0,8}\"?") {
        if let Some(tag) = EntityTag::parse(&text) {
            prop_assert_eq!(tag.to_string(), text);
        }
    }

    #[test]
    fn no_bytes_panic_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,40}") {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let _ = kick_off().read_body(body);
            let _ = parse_import_request(body, "u");
            let _ = Manifest::parse(body);
            let _ = GroupMembers::read(body, now());
        }
        let _ = (accepts_fhir_json(Some(&text)), negotiate_encoding([text.as_str()]));
        let _ = (Preferences::parse([text.as_str()]), EntityTags::parse([text.as_str()]), parse_range(Some(&text), 10));
    }
}
