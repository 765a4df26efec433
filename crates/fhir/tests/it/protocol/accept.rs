//! `Accept` of a kick-off and `Accept-Encoding` of a download.

use fhirhose_fhir::accept::ContentEncoding::{Gzip, Identity, Zstd};
use fhirhose_fhir::accept::{ContentEncoding, FhirJson, accepts_fhir_json, negotiate_encoding};

#[test]
fn k_20_a_missing_accept_is_told_from_an_unacceptable_one() {
    assert_eq!(accepts_fhir_json(None), FhirJson::Missing);
    assert_eq!(accepts_fhir_json(Some("  ")), FhirJson::Missing);
    for header in [
        "application/fhir+json",
        "Application/FHIR+JSON; charset=utf-8",
        "text/html, application/fhir+json;q=0.1",
        "application/json",
        "application/*;q=0.5",
        "*/*",
        "text/plain, */*;q=0.8",
    ] {
        assert_eq!(accepts_fhir_json(Some(header)), FhirJson::Acceptable, "{header}");
    }
    for header in [
        "application/fhir+xml",
        "text/html",
        "application/fhir+ndjson",
        "application/fhir+json;q=0",
        "application/fhir+json;q=0, application/json;q=0.000, */*",
        "application/fhir+json;q=high",
        "text/*",
        "\"application/fhir+json\"",
        ",",
    ] {
        assert_eq!(
            accepts_fhir_json(Some(header)),
            FhirJson::Unacceptable,
            "{header}"
        );
    }
}

#[track_caller]
fn check_encoding(values: &[&str], expected: Option<ContentEncoding>) {
    assert_eq!(negotiate_encoding(values.iter().copied()), expected, "{values:?}");
}

#[test]
fn f_08_only_what_the_client_offers_is_sent() {
    check_encoding(&[], Some(Identity));
    check_encoding(&[""], Some(Identity));
    check_encoding(&["br, deflate"], Some(Identity));
    check_encoding(&["gzip"], Some(Gzip));
    check_encoding(&["x-gzip"], Some(Gzip));
    check_encoding(&["GZIP;Q=1.0"], Some(Gzip));
    check_encoding(&["gzip, deflate, br, zstd"], Some(Zstd));
    check_encoding(&["gzip", "zstd"], Some(Zstd));
    check_encoding(&["identity"], Some(Identity));
}

#[test]
fn f_08_the_highest_weight_wins() {
    check_encoding(&["zstd;q=0.5, gzip;q=0.8"], Some(Gzip));
    check_encoding(&["zstd;q=0.001, gzip;q=0"], Some(Zstd));
    check_encoding(&["gzip;q=0.5, identity"], Some(Identity));
    check_encoding(&["gzip;q=0"], Some(Identity));
    check_encoding(&["gzip;q=0.5, *;q=0"], Some(Gzip));
    check_encoding(&["identity;q=0.5, *;q=0"], Some(Identity));
}

#[test]
fn f_08_a_wildcard_means_gzip_but_never_an_unlisted_zstd() {
    check_encoding(&["*"], Some(Gzip));
    check_encoding(&["*;q=0.1"], Some(Gzip));
    check_encoding(&["gzip;q=0, *"], Some(Identity));
}

#[test]
fn excluding_identity_and_all_we_know_is_not_acceptable() {
    check_encoding(&["identity;q=0"], None);
    check_encoding(&["br, *;q=0"], None);
    check_encoding(&["br, identity;q=0, gzip;q=0.0"], None);
    check_encoding(&["identity;q=0, gzip"], Some(Gzip));
}

#[test]
fn a_weight_that_is_none_offers_nothing() {
    for weight in [
        "2", "1.5", "-1", "0.1234", "1.001", "high", "", ".5", "0,5", "0.٣",
    ] {
        check_encoding(&[&format!("gzip;q={weight}")], Some(Identity));
    }
}

#[test]
fn the_header_of_identity_is_no_header() {
    assert_eq!(
        [Identity, Gzip, Zstd].map(ContentEncoding::header),
        [None, Some("gzip"), Some("zstd")]
    );
}
