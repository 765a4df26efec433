//! Lines of `deleted` files.

use fhirhose_fhir::bundle::{DELETED_ENTRIES_MAX, write_deleted_bundles};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;

fn ids(count: usize) -> Vec<Id> {
    (0..count)
        .map(|number| Id::parse(&format!("id-{number}")).expect("an id"))
        .collect()
}

#[test]
fn m_31_a_line_is_a_transaction_of_deletions() {
    let ids = ids(2);
    let mut out = Vec::new();
    let types = [ResourceType::PATIENT, ResourceType::GROUP];
    assert_eq!(write_deleted_bundles(types.into_iter().zip(&ids), &mut out), 1);
    let expected = concat!(
        r#"{"resourceType":"Bundle","type":"transaction","entry":["#,
        r#"{"request":{"method":"DELETE","url":"Patient/id-0"}},{"request":{"method":"DELETE","url":"Group/id-1"}}]}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
}

#[test]
fn m_31_a_line_holds_at_most_the_limit_and_nothing_is_lost() {
    for count in [
        0,
        1,
        DELETED_ENTRIES_MAX,
        DELETED_ENTRIES_MAX + 1,
        3 * DELETED_ENTRIES_MAX,
    ] {
        let ids = ids(count);
        let mut out = Vec::new();
        let lines = write_deleted_bundles(ids.iter().map(|id| (ResourceType::PATIENT, id)), &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(lines as usize, text.lines().count());
        assert_eq!(text.lines().count(), count.div_ceil(DELETED_ENTRIES_MAX));
        let mut urls = Vec::new();
        for line in text.lines() {
            let bundle: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let entries = bundle["entry"].as_array().expect("entries");
            assert!((1..=DELETED_ENTRIES_MAX).contains(&entries.len()));
            urls.extend(
                entries
                    .iter()
                    .map(|entry| entry["request"]["url"].as_str().expect("a URL").to_owned()),
            );
        }
        assert_eq!(
            urls,
            ids.iter().map(|id| format!("Patient/{id}")).collect::<Vec<_>>()
        );
    }
}
