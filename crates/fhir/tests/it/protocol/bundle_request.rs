//! Bundles of requests, links between their entries, and searches as they come in.

use std::borrow::Cow;

use fhirhose_fhir::bundle_request::{BundleRequest, Method, relink};
use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter, EntryResponse};
use fhirhose_fhir::prefer::Handling;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search_request::{Direction, Order, SearchRequest, Total};
use serde_json::Value;

const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[
 {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","a":1.00 , "b":"\u00e4"},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=1"}},
 {"request":{"method":"DELETE","url":"Patient\/2","ifMatch":"W/\"3\""}}]}"#;

#[test]
fn a_bundle_is_read_and_its_resources_stay_as_they_are() {
    let bundle = BundleRequest::parse(BUNDLE.as_bytes(), 2).expect("a Bundle");
    assert!(bundle.is_transaction);
    let [first, second] = bundle.entries.as_slice() else {
        panic!("two entries")
    };
    assert_eq!(
        first.resource,
        Some(r#"{"resourceType":"Patient","a":1.00 , "b":"\u00e4"}"#)
    );
    assert_eq!(first.if_none_exist.as_deref(), Some("identifier=1"));
    assert_eq!((second.method, &*second.url), (Method::Delete, "Patient/2"));
    assert_eq!(second.if_match.as_deref(), Some("W/\"3\""));
    BundleRequest::parse(BUNDLE.as_bytes(), 1).expect_err("one entry too many");
}

#[test]
fn no_cut_or_changed_bundle_makes_it_panic() {
    for end in 0..BUNDLE.len() {
        BundleRequest::parse(&BUNDLE.as_bytes()[..end], 9).expect_err("it is cut");
        let mut changed = BUNDLE.as_bytes().to_vec();
        for byte in [b'"', b'{', b']', 0, 0xff] {
            changed[end] = byte;
            let _either_way = BundleRequest::parse(&changed, 9);
        }
    }
}

#[test]
fn links_are_replaced_where_they_are_links() {
    let text = r#"{"resourceType":"Basic","x":"urn:1","subject":{"reference":"urn:1","display":"urn:1"},"list":[{"url":"urn:\u0031"},{"reference":["urn:1","urn:2"]}]}"#;
    let linked = relink(text, |_, link| {
        (link == "urn:1").then(|| "Patient/\"9".to_owned())
    });
    assert_eq!(
        linked,
        r#"{"resourceType":"Basic","x":"urn:1","subject":{"reference":"Patient/\"9","display":"urn:1"},"list":[{"url":"Patient/\"9"},{"reference":["Patient/\"9","urn:2"]}]}"#
    );
    assert!(matches!(relink(text, |_, _| None), Cow::Borrowed(same) if same == text));
    for end in 0..text.len() {
        if text.is_char_boundary(end) {
            relink(&text[..end], |_, _| Some("x".to_owned()));
        }
    }
}

#[test]
fn what_is_written_is_json_whatever_the_texts() {
    let mut bundle = BundleWriter::new("history", Some(3), &[("self", "http://a/\"b\\"), ("next", "c")]);
    bundle.entry(&BundleEntry::default());
    bundle.entry(&BundleEntry {
        full_url: Some("u\n"),
        resource: Some(b"{\"resourceType\":\"Basic\"}"),
        mode: Some("match"),
        request: Some(("GET", "x")),
        response: Some(EntryResponse {
            status: "200 OK",
            etag: Some("W/\"1\""),
            outcome: Some(b"{}"),
            ..EntryResponse::default()
        }),
    });
    let value: Value = serde_json::from_slice(&bundle.finish()).expect("JSON");
    assert_eq!(value["link"][0]["url"], "http://a/\"b\\");
    assert_eq!(value["entry"][1]["response"]["etag"], "W/\"1\"");
    assert_eq!(value["entry"][1]["response"]["outcome"], serde_json::json!({}));
    let empty: Value =
        serde_json::from_slice(&BundleWriter::new("searchset", None, &[]).finish()).expect("JSON");
    assert_eq!(
        empty,
        serde_json::json!({"resourceType": "Bundle", "type": "searchset"})
    );
}

fn search(query: &str, handling: Handling) -> Result<SearchRequest, String> {
    SearchRequest::parse(
        ResourceType::OBSERVATION,
        &[query],
        "http://localhost/fhir",
        handling,
    )
    .map_err(|outcome| outcome.to_json())
}

#[test]
fn a_search_is_parted_into_criteria_and_what_the_answer_is_to_be() {
    let query = "code=a%7Cb&_count=5&_sort=-_lastUpdated&_total=accurate&_include=Observation:subject:Patient&_cursor=x";
    let request = search(query, Handling::Strict).expect("a search");
    assert_eq!(request.order, Order::LastUpdated(Direction::Descending));
    assert_eq!((request.count, request.total), (Some(5), Total::Accurate));
    assert_eq!(request.includes[0].target, Some(ResourceType::PATIENT));
    assert_eq!(request.cursor.as_deref(), Some("x"));
    assert!(!request.query.contains("_cursor") && request.query.starts_with("code=a%7Cb&"));
    assert!(
        search("", Handling::Strict)
            .expect("a search")
            .criteria
            .is_unrestricted()
    );
}

#[test]
fn what_is_not_supported_is_left_out_only_where_the_client_allows_it() {
    for query in [
        "colour=red",
        "_sort=code",
        "_summary=true",
        "_include:iterate=Observation:subject",
        "subject.name=x",
    ] {
        search(query, Handling::Strict).expect_err("strict");
        let request = search(query, Handling::Lenient).unwrap_or_else(|told| panic!("{query}: {told}"));
        assert_eq!(request.ignored.len(), 1, "{query}");
        assert!(request.query.is_empty());
    }
    for query in [
        "_count=-1",
        "_total=some",
        "_count=1&_count=1",
        "%ff=1",
        "_include=Nothing:x",
        "date=yesterday",
    ] {
        search(query, Handling::Lenient).expect_err(query);
    }
}

#[test]
fn a_bundle_that_is_nested_too_deep_is_refused_before_its_links_are_looked_for() {
    let nested = |depth: usize| {
        let deep = format!("{}\"]\"{}", "[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"request":{{"method":"POST","url":"Basic"}},"resource":{{"a":{deep}}}}}]}}"#
        )
    };
    let bundle = nested(190);
    let bundle = BundleRequest::parse(bundle.as_bytes(), 9).expect("a Bundle");
    relink(bundle.entries[0].resource.expect("a resource"), |_, _| None);
    for depth in [250, 500_000] {
        let told = BundleRequest::parse(nested(depth).as_bytes(), 9).expect_err("too deep");
        assert!(told.to_json().contains("deeper than 200"));
    }
}

#[test]
fn a_search_that_asks_for_too_much_is_refused_in_a_few_words_however_lenient() {
    let long = [
        ("131072 bytes", format!("code={}", "x".repeat(200_000))),
        ("64 parameters", "colour=red&".repeat(65)),
        ("20 _include", "_include=Observation:subject&".repeat(21)),
        ("1000 elements", format!("_elements={}", "status,".repeat(1_001))),
    ];
    for (told, query) in long {
        for handling in [Handling::Strict, Handling::Lenient] {
            let outcome = search(&query, handling).expect_err(told);
            assert!(outcome.contains(told) && outcome.len() < 1_000, "{outcome}");
        }
    }
    search(&"_include=Observation:subject&".repeat(20), Handling::Strict).expect("as many as there may be");
}
