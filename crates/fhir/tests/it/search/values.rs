//! Which resources match, kind by kind, on small resources.

use fhirhose_fhir::{
    instant::Instant,
    resource_type::ResourceType,
    search::{Criteria, ReferenceParameter, parameters},
};

use proptest::prelude::*;

use super::{BASE, check, criteria, matches, version};

/// T-01, T-03
#[test]
fn tokens_match_codes_with_and_without_their_system() {
    let loinc = r#""code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"},{"code":"Local"}],"text":"Höhe"}"#;
    check(
        loinc,
        &[
            "Observation?code=8302-2",
            "Observation?code=http://loinc.org|8302-2",
            "Observation?code=http://loinc.org|",
            "Observation?code=local",
            "Observation?code=|LOCAL",
            "Observation?code=x,8302-2",
            "Observation?code=8302-2&code=local",
            "Observation?code=http%3A%2F%2Floinc.org%7C8302-2",
            "Observation?code:not=x,y",
            "Observation?code:missing=false",
            "Observation?code:text=body",
            "Observation?code:text=hohe",
            "Observation?combo-code=8302-2",
        ],
        &[
            "Observation?code=8302",
            "Observation?code=|8302-2",
            "Observation?code=http://snomed.info/sct|8302-2",
            "Observation?code=http://loinc.org|local",
            "Observation?code=http://LOINC.org|8302-2",
            "Observation?code:not=x,8302-2",
            "Observation?code=8302-2&code=x",
            "Observation?code:missing=true",
            "Observation?code:text=height",
        ],
    );
    check(
        r#""identifier":[{"system":"urn:a","value":"A|1","type":{"coding":[{"system":"urn:t","code":"MR"}],"text":"Record"}}],"active":true,"gender":"female""#,
        &[
            "Patient?identifier=urn:a|A\\|1",
            "Patient?identifier=a\\|1",
            "Patient?identifier:of-type=urn:t|MR|A\\|1",
            "Patient?identifier:text=rec",
            "Patient?active=true",
            "Patient?active=http://terminology.hl7.org/CodeSystem/special-values|true",
            "Patient?gender=female",
            "Patient?gender=http://hl7.org/fhir/administrative-gender|female",
            "Patient?gender:not=male",
        ],
        &[
            "Patient?identifier=|A\\|1",
            "Patient?identifier=A",
            "Patient?identifier:of-type=urn:t|XX|A\\|1",
            "Patient?active=false",
            "Patient?gender=http://x|female",
            "Patient?gender:not=male,female",
        ],
    );
    check(
        r#""telecom":[{"system":"phone","value":"555"},{"system":"email","value":"a@b.c"}]"#,
        &[
            "Patient?phone=555",
            "Patient?email=a@b.c",
            "Patient?telecom=a@b.c",
            "Patient?telecom=phone|555",
            "Patient?phone:not=a@b.c",
        ],
        &[
            "Patient?phone=a@b.c",
            "Patient?email=555",
            "Patient?telecom=email|555",
        ],
    );
}

#[test]
fn a_patient_is_deceased_by_a_date_or_by_true() {
    for members in [r#""deceasedBoolean":true"#, r#""deceasedDateTime":"2020""#] {
        check(
            members,
            &[
                "Patient?deceased=true",
                "Patient?deceased=true,false",
                "Patient?deceased:missing=false",
                "Patient?deceased:not=false",
            ],
            &[
                "Patient?deceased=false",
                "Patient?deceased:not=true",
                "Patient?deceased:missing=true",
            ],
        );
    }
    for members in [r#""deceasedBoolean":false"#, r#""active":true"#] {
        check(
            members,
            &[
                "Patient?deceased=false",
                "Patient?deceased=true,false",
                "Patient?deceased:not=true",
            ],
            &[
                "Patient?deceased=true",
                "Patient?deceased:missing=true",
                "Patient?deceased:not=true,false",
            ],
        );
    }
}

#[test]
fn strings_match_by_their_beginning_without_case_and_accents() {
    check(
        r#""name":[{"family":"Müller-Lüdenscheidt","given":["Jos\u00e9","Anna  Maria"],"text":"x"}],"address":[{"line":["Am Wald 1"],"city":"Köln"}]"#,
        &[
            "Patient?name=muller",
            "Patient?name=JOSÉ",
            "Patient?name=anna+maria",
            "Patient?family=mu",
            "Patient?given=jose",
            "Patient?name:contains=denscheid",
            "Patient?family:exact=Müller-Lüdenscheidt",
            "Patient?name:exact=José",
            "Patient?address=am wald",
            "Patient?address-city=koln",
            "Patient?name=zz,X",
            "Patient?name=x&name=jose",
        ],
        &[
            "Patient?name=ludenscheidt",
            "Patient?family=jose",
            "Patient?family:exact=müller-lüdenscheidt",
            "Patient?name:exact=Jose",
            "Patient?name=maria",
            "Patient?address-state=k",
            "Patient?name:exact=Mü",
        ],
    );
}

#[test]
fn dates_are_stretches_of_time() {
    let day = r#""birthDate":"1970-05-17""#;
    check(
        day,
        &[
            "Patient?birthdate=1970-05-17",
            "Patient?birthdate=1970-05",
            "Patient?birthdate=1970",
            "Patient?birthdate=ge1970-05-17",
            "Patient?birthdate=le1970-05-17",
            "Patient?birthdate=gt1970-05-16",
            "Patient?birthdate=lt1971",
            "Patient?birthdate=ne1971",
            "Patient?birthdate=sa1970-05-16",
            "Patient?birthdate=eb1970-06",
            "Patient?birthdate=ap1970-05-18",
            "Patient?birthdate=ge1970&birthdate=lt1971",
            "Patient?birthdate=1960,1970",
            "Patient?birthdate:missing=false",
            "Patient?birthdate=lt1970-05-18",
        ],
        &[
            "Patient?birthdate=1970-05-18",
            "Patient?birthdate=gt1970-05-17",
            "Patient?birthdate=lt1970-05-17",
            "Patient?birthdate=gt1970",
            "Patient?birthdate=lt1970",
            "Patient?birthdate=sa1970-05-17",
            "Patient?birthdate=eb1970-05-17",
            "Patient?birthdate=ap1970-05-20",
            "Patient?birthdate=1970-05-17T12:00",
            "Patient?birthdate=ne1970",
            "Patient?birthdate:missing=true",
        ],
    );
}

#[test]
fn times_are_as_long_as_they_are_written_and_periods_may_be_open() {
    check(
        r#""effectiveDateTime":"2011-02-02T16:30:49-05:00""#,
        &[
            "Observation?date=2011-02-02",
            "Observation?date=2011-02-02T21:30:49Z",
            "Observation?date=2011-02-02T21:30",
            "Observation?date=2011-02-02T22:30:49+01:00",
            "Observation?date=2011-02-02T22:30:49%2B01:00",
            "Observation?date=ge2011-02-02T21:30:49Z",
        ],
        &[
            "Observation?date=2011-02-02T16:30:49Z",
            "Observation?date=gt2011-02-02T21:30:49Z",
            "Observation?date=2011-02-02T21:30:49.5Z",
        ],
    );
    check(
        r#""effectivePeriod":{"start":"2020-03"}"#,
        &[
            "Observation?date=ge2020-03",
            "Observation?date=gt2999",
            "Observation?date=sa2020-02",
            "Observation?date=ap2025",
            "Observation?date=ne2020",
        ],
        &[
            "Observation?date=2020",
            "Observation?date=lt2020-03",
            "Observation?date=eb2999",
            "Observation?date=sa2020-03",
        ],
    );
    check(
        r#""effectiveTiming":{"event":["2020-01-05","2020-01-01"],"repeat":{"boundsPeriod":{"start":"2020-01-02","end":"2020-01-03"}}}"#,
        &[
            "Observation?date=2020-01",
            "Observation?date=ap2020-01-02",
            "Observation?date=lt2020-01-02",
        ],
        &["Observation?date=2020-01-02", "Observation?date=gt2020-01-05"],
    );
    check(
        r#""effectivePeriod":{},"_effectiveDateTime":{"id":"x"}"#,
        &["Observation?date:missing=false"],
        &[
            "Observation?date=ne2020",
            "Observation?date=ge2020",
            "Observation?date=lt2020",
        ],
    );
}

#[test]
fn the_time_of_the_last_change_comes_from_the_version() {
    let members = r#""meta":{"lastUpdated":"1999-01-01T00:00:00Z"}"#;
    check(
        members,
        &[
            "Patient?_lastUpdated=2026-03-04",
            "Patient?_lastUpdated=ge2026-03-04T05:06:07.891011Z",
            "Patient?_lastUpdated=ge2026&_lastUpdated=lt2027",
            "Patient?_lastUpdated:missing=false",
            "Patient?_lastUpdated=1999,2026",
        ],
        &[
            "Patient?_lastUpdated=1999",
            "Patient?_lastUpdated=gt2026-03-04T05:06:07.891011Z",
            "Patient?_lastUpdated=ge2026&_lastUpdated=lt2026-03",
            "Patient?_lastUpdated:missing=true",
        ],
    );
    let bounds = criteria("Patient?_lastUpdated=ge2026&_lastUpdated=lt2026-03,le2026-01").last_updated();
    let instant = |text| Instant::parse(text).expect("an instant");
    assert_eq!(
        (bounds.first, bounds.last),
        (
            instant("2026-01-01T00:00:00Z"),
            instant("2026-02-28T23:59:59.999999Z")
        )
    );
}

#[test]
fn references_match_however_they_are_written() {
    for reference in [
        "Patient/p1",
        "http://localhost:8080/fhir/Patient/p1",
        "Patient/p1/_history/3",
        "https://other.example/Patient/p1",
    ] {
        check(
            &format!(r#""subject":{{"reference":"{reference}"}}"#),
            &[
                "Observation?subject=p1",
                "Observation?subject=Patient/p1",
                "Observation?patient=p1",
                "Observation?patient=Patient/p1",
                "Observation?subject:Patient=p1",
                "Observation?subject=http://localhost:8080/fhir/Patient/p1",
                "Observation?subject=x,p1",
                "Observation?patient:missing=false",
            ],
            &[
                "Observation?subject=p",
                "Observation?subject=Group/p1",
                "Observation?subject:Group=p1",
                "Observation?subject=http://else.example/Patient/p1",
                "Observation?performer=p1",
                "Observation?subject=Patient/p1/_history/2",
            ],
        );
    }
    check(
        r#""subject":{"reference":"Group/p1","identifier":{"system":"urn:a","value":"1"}},"encounter":{"reference":"urn:uuid:77"}"#,
        &[
            "Observation?subject=p1",
            "Observation?subject=Group/p1",
            "Observation?subject:identifier=urn:a|1",
            "Observation?encounter=urn:uuid:77",
            "Observation?patient:missing=true",
        ],
        &[
            "Observation?patient=p1",
            "Observation?subject:Patient=p1",
            "Observation?subject:identifier=2",
            "Observation?patient:identifier=1",
            "Observation?subject:missing=true",
        ],
    );
    assert!(matches(
        "Observation?subject=Patient/p1/_history/3",
        r#""subject":{"reference":"Patient/p1/_history/3"}"#
    ));
    assert!(matches(
        "Observation?subject=https://other.example/Patient/p1",
        r#""subject":{"reference":"https://other.example/Patient/p1"}"#
    ));
}

#[test]
fn what_only_looks_like_a_reference_below_the_base_stays_as_it_is() {
    for query in [
        "Observation?subject:identifier=http://localhost:8080/fhir/Patient/p1|1",
        "Observation?subject=http://localhost:8080/fhir/p1",
        "Observation?subject=http://localhost:8080/fhirs/Patient/p1",
        "PlanDefinition?definition=http://localhost:8080/fhir/Library/1",
    ] {
        assert_eq!(criteria(query).text(), query);
    }
    let members =
        r#""subject":{"identifier":{"system":"http://localhost:8080/fhir/Patient/p1","value":"1"}}"#;
    check(
        members,
        &["Observation?subject:identifier=http://localhost:8080/fhir/Patient/p1|1"],
        &["Observation?subject=http://localhost:8080/fhir/Patient/p1"],
    );
}

#[test]
fn a_thousand_values_are_each_looked_for() {
    let ids: Vec<String> = (0..1_000).map(|number| format!("p{number}")).collect();
    let members = r#""subject":{"reference":"Patient/p999"},"code":{"coding":[{"code":"P998"}]},"valueString":"é P997""#;
    for query in [
        format!("Observation?patient={}", ids.join(",")),
        format!("Observation?code={}", ids.join(",")),
        format!("Observation?value-string:contains={}", ids.join(",")),
    ] {
        assert!(matches(&query, members));
        let query = query.replace("p9", "q");
        assert!(!matches(&query, members), "{query}");
    }
}

#[test]
fn quantities_match_by_number_and_unit() {
    let members =
        r#""valueQuantity":{"value":5.40,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}"#;
    check(
        members,
        &[
            "Observation?value-quantity=5.4",
            "Observation?value-quantity=5.40||mg",
            "Observation?value-quantity=5|http://unitsofmeasure.org|mg",
            "Observation?value-quantity=gt5.3||",
            "Observation?value-quantity=ge5.4",
            "Observation?value-quantity=le5.4",
            "Observation?value-quantity=ap5",
            "Observation?value-quantity=ne5.5",
            "Observation?value-quantity=sa5.39",
            "Observation?value-quantity=eb5.41",
            "Observation?value-quantity=0.54e1",
            "Observation?value-quantity=5.4|http://unitsofmeasure.org|",
        ],
        &[
            "Observation?value-quantity=5.41",
            "Observation?value-quantity=6",
            "Observation?value-quantity=5.4||g",
            "Observation?value-quantity=5.4|http://x|mg",
            "Observation?value-quantity=gt5.4",
            "Observation?value-quantity=lt5.4",
            "Observation?value-quantity=ap7",
            "Observation?value-quantity=ne5",
            "Observation?value-quantity=sa5.4",
            "Observation?value-quantity:missing=true",
        ],
    );
    check(
        r#""valueQuantity":{"value":10,"comparator":">"}"#,
        &[
            "Observation?value-quantity=gt10",
            "Observation?value-quantity=gt1000",
            "Observation?value-quantity=sa10",
            "Observation?value-quantity=ne10",
        ],
        &[
            "Observation?value-quantity=10",
            "Observation?value-quantity=le10",
            "Observation?value-quantity=lt10",
            "Observation?value-quantity=eb11",
        ],
    );
}

#[test]
fn comparators_ranges_and_money_are_quantities_too() {
    for (comparator, matching, others) in [
        (
            "<",
            ["lt10", "le10", "lt1", "eb10"],
            ["10", "gt10", "ge10", "sa1"],
        ),
        (
            "<=",
            ["lt10", "le10", "ge10", "eb11"],
            ["10", "gt10", "eb10", "sa1"],
        ),
        (
            ">=",
            ["gt10", "ge10", "le10", "sa9"],
            ["10", "lt10", "sa10", "eb99"],
        ),
        (
            ">",
            ["gt10", "ge10", "gt99", "sa10"],
            ["10", "lt10", "le10", "eb99"],
        ),
    ] {
        let members = format!(r#""valueQuantity":{{"value":10,"comparator":"{comparator}"}}"#);
        let query = |value: &str| format!("Observation?value-quantity={value}");
        check(
            &members,
            &matching.map(query).each_ref().map(String::as_str),
            &others.map(query).each_ref().map(String::as_str),
        );
    }
    check(
        r#""onsetRange":{"low":{"value":10,"code":"a"},"high":{"value":20,"code":"a"}}"#,
        &[
            "Condition?onset-age=gt15",
            "Condition?onset-age=lt15",
            "Condition?onset-age=ge20||a",
            "Condition?onset-age=sa9",
        ],
        &[
            "Condition?onset-age=15",
            "Condition?onset-age=gt20",
            "Condition?onset-age=lt10",
            "Condition?onset-age=gt15||mo",
        ],
    );
    check(
        r#""totalNet":{"value":10.5,"currency":"EUR"}"#,
        &[
            "Invoice?totalnet=10.5",
            "Invoice?totalnet=10.5||EUR",
            "Invoice?totalnet=gt10|urn:iso:std:iso:4217|EUR",
        ],
        &["Invoice?totalnet=10.5||USD", "Invoice?totalnet=10.5|http://x|EUR"],
    );
}

#[test]
fn numbers_match_in_the_range_of_their_digits() {
    let of = |number: &str| format!(r#""prediction":[{{"probabilityDecimal":{number}}}]"#);
    check(
        &of("0.82"),
        &[
            "RiskAssessment?probability=0.8",
            "RiskAssessment?probability=0.82",
            "RiskAssessment?probability=gt0.8",
            "RiskAssessment?probability=8.2e-1",
        ],
        &[
            "RiskAssessment?probability=0.9",
            "RiskAssessment?probability=0.8200001",
            "RiskAssessment?probability=gt0.82",
        ],
    );
    check(
        &of("99.5"),
        &["RiskAssessment?probability=100"],
        &["RiskAssessment?probability=100.0"],
    );
    check(
        &of("100.5"),
        &["RiskAssessment?probability=ne100"],
        &["RiskAssessment?probability=100"],
    );
    check(
        r#""prediction":[{"probabilityRange":{"low":{"value":1},"high":{"value":5}}}]"#,
        &[
            "RiskAssessment?probability=gt4",
            "RiskAssessment?probability=lt2",
            "RiskAssessment?probability=ap5",
        ],
        &["RiskAssessment?probability=gt5", "RiskAssessment?probability=3"],
    );
}

#[test]
fn uris_match_exactly_or_along_their_path() {
    check(
        r#""url":"http://acme.org/fhir/ValueSet/123","meta":{"profile":["http://p|1.0"],"source":"http://s#1","tag":[{"system":"urn:t","code":"x"}],"security":[{"code":"R"}]}"#,
        &[
            "ValueSet?url=http://acme.org/fhir/ValueSet/123",
            "ValueSet?url:below=http://acme.org/fhir/",
            "ValueSet?url:below=http://acme.org/fhir",
            "ValueSet?url:above=http://acme.org/fhir/ValueSet/123/_history/5",
            "ValueSet?_profile=http://p",
            "ValueSet?_profile=http://p|1.0",
            "ValueSet?_profile:below=http://p",
            "ValueSet?_source=http://s#1",
            "ValueSet?_tag=urn:t|x",
            "ValueSet?_security=r",
            "ValueSet?_tag:not=y",
        ],
        &[
            "ValueSet?url=http://acme.org/fhir/valueset/123",
            "ValueSet?url:below=http://acme.org/fh",
            "ValueSet?url:above=http://acme.org/fhir/ValueSet/1234",
            "ValueSet?_profile=http://p|2.0",
            "ValueSet?_source=http://s",
            "ValueSet?_tag=x|y",
            "ValueSet?_security:missing=true",
            "ValueSet?_tag:not=x",
        ],
    );
}

#[test]
fn composites_match_within_one_element() {
    check(
        r#""component":[{"code":{"coding":[{"code":"a"}]},"valueQuantity":{"value":1}},{"code":{"coding":[{"code":"b"}]},"valueQuantity":{"value":2}}],"code":{"coding":[{"code":"c"}]},"valueQuantity":{"value":3}"#,
        &[
            "Observation?component-code-value-quantity=a$1",
            "Observation?component-code-value-quantity=b$gt1",
            "Observation?combo-code-value-quantity=c$3",
            "Observation?combo-code-value-quantity=b$2",
            "Observation?code-value-quantity=c$3",
            "Observation?code-value-quantity=x$1,c$3",
        ],
        &[
            "Observation?component-code-value-quantity=a$2",
            "Observation?code-value-quantity=a$1",
            "Observation?combo-code-value-quantity=c$1",
        ],
    );
    check(
        r#""relatesTo":[{"code":"replaces","target":{"reference":"DocumentReference/d1"}}]"#,
        &[
            "DocumentReference?relationship=replaces$d1",
            "DocumentReference?relationship=replaces$http://localhost:8080/fhir/DocumentReference/d1",
        ],
        &[
            "DocumentReference?relationship=signs$d1",
            "DocumentReference?relationship=replaces$d2",
        ],
    );
    check(
        r#""referenceSeq":{"chromosome":{"coding":[{"code":"1"}]}},"variant":[{"start":10,"end":20}]"#,
        &["MolecularSequence?chromosome-variant-coordinate=1$lt11$20"],
        &[
            "MolecularSequence?chromosome-variant-coordinate=2$lt11$20",
            "MolecularSequence?chromosome-variant-coordinate=1$lt10$20",
        ],
    );
}

#[test]
fn text_with_escapes_and_spaces_is_read_as_what_it_means() {
    let criteria = criteria("Observation?code=8302-2&subject=Patient/p1");
    let body = " {\n \"resourceType\" : \"Observation\" , \"c\\u006fde\" : { \"coding\" : [ null, { \"code\" : \"8302\\u002d2\" } ] } , \"subject\":{\"reference\":\"Patient\\/p1\"} } ";
    assert!(criteria.matches(body.as_bytes(), version()));
}

#[test]
fn codes_with_digits_are_found_in_another_case_too() {
    check(
        r#""code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"E11.9"}]}"#,
        &[
            "Condition?code=e11.9",
            "Condition?code=E11.9",
            "Condition?code=x,e11.9",
        ],
        &[
            "Condition?code=e11.90",
            "Condition?code=F11.9",
            "Condition?code=E11.8",
        ],
    );
    assert!(matches(
        "Condition?code=e11.9",
        r#""code":{"coding":[{"code":"E\u00311.9"}]}"#
    ));
}

#[test]
fn criteria_come_back_from_their_text_without_the_base() {
    for query in [
        "Patient",
        "Patient?name=a%26b%2Bc%25 d\u{e9}",
        "Observation?subject=http://localhost:8080/fhir/Patient/p1,Patient/p2",
        "Patient?name=x\\,y,z&_id=a",
        "Observation?date=ge2020-01-01T00:00:00+01:00",
        "DocumentReference?relationship=replaces$http://localhost:8080/fhir/DocumentReference/d1",
    ] {
        let first = criteria(query);
        let json = serde_json::to_string(&first).expect("serializes");
        let again: Criteria = serde_json::from_str(&json).expect("reads");
        assert_eq!(first, again, "{query}");
        assert!(!first.text().contains("localhost"), "{}", first.text());
    }
    assert!(criteria("Patient?").is_unrestricted() && !criteria("Patient?name=x").is_unrestricted());
    assert!(serde_json::from_str::<Criteria>("\"Patient?x=y\"").is_err());
}

#[test]
fn a_query_says_by_which_order_it_is_best_answered() {
    let texts = |ids: Option<&[fhirhose_fhir::id::Id]>| {
        ids.map(|ids| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        texts(criteria("Patient?_id=b,a,b&name=x").ids()),
        Some(vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(texts(criteria("Patient?_id:not=b").ids()), None);
    let patients = |query| texts(criteria(query).patients());
    assert_eq!(
        patients("Observation?patient=p2,Patient/p1"),
        Some(vec!["p1".to_owned(), "p2".to_owned()])
    );
    assert_eq!(
        patients("Observation?subject=Patient/p1"),
        Some(vec!["p1".to_owned()])
    );
    assert_eq!(
        patients("Observation?subject:Patient=p1"),
        Some(vec!["p1".to_owned()])
    );
    assert_eq!(
        patients("AllergyIntolerance?patient=p1"),
        Some(vec!["p1".to_owned()])
    );
    assert_eq!(patients("Observation?subject=p1"), None, "it may be a group");
    assert_eq!(patients("Observation?subject=Patient/p1,Group/g"), None);
    assert_eq!(patients("Observation?patient:missing=false"), None);
    assert_eq!(patients("Encounter?appointment=Appointment/a"), None);
}

/// T-10
#[test]
fn t_10_the_parameters_of_a_type_can_be_listed() {
    let listed: Vec<_> = parameters(ResourceType::OBSERVATION).collect();
    let code = listed.iter().find(|each| each.code() == "code").expect("code");
    assert_eq!(
        (code.kind(), code.definition().as_str()),
        ("token", "http://hl7.org/fhir/SearchParameter/clinical-code")
    );
    assert_eq!(code.documentation(), "The code of the observation type");
    for resource_type in ResourceType::all() {
        for parameter in parameters(resource_type) {
            let query = format!(
                "{resource_type}?{}{}",
                parameter.code(),
                if parameter.kind() == "composite" {
                    "="
                } else {
                    ":missing=true"
                }
            );
            let good = Criteria::parse(&query, BASE).is_ok();
            assert_eq!(good, parameter.kind() != "composite", "{query}");
            assert!(!parameter.documentation().is_empty(), "{query}");
        }
    }
}

#[test]
fn references_of_a_parameter_are_read_for_includes() {
    let body = br#"{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"performer":[{"reference":"Practitioner/d"},{"reference":"http://x/Organization/o"},{"display":"no"}]}"#;
    let read = |code| {
        let parameter =
            ReferenceParameter::find(ResourceType::OBSERVATION, code).expect("a reference parameter");
        let mut found = Vec::new();
        parameter.for_each(body, |reference| {
            found.push(format!("{}/{}", reference.resource_type, reference.id))
        });
        found
    };
    assert_eq!(read("performer"), ["Practitioner/d", "Organization/o"]);
    assert_eq!(read("patient"), ["Patient/p1"]);
    assert!(ReferenceParameter::find(ResourceType::OBSERVATION, "code").is_none());
    let patient = ReferenceParameter::find(ResourceType::OBSERVATION, "patient").expect("patient");
    assert!(patient.may_mean(ResourceType::PATIENT) && !patient.may_mean(ResourceType::GROUP));
}

proptest! {
    /// What a date with a prefix means of another one, said by their first and last seconds.
    #[test]
    fn dates_compare_by_their_first_and_last_seconds(asked in dates(), found in dates(), prefix in 0..9usize) {
        let prefix = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"][prefix];
        let ((asked_text, asked), (found_text, found)) = (asked, found);
        let within = asked.0 <= found.0 && found.1 <= asked.1;
        let length = asked.1 - asked.0 + 1;
        let expected = match prefix {
            "eq" => within,
            "ne" => !within,
            "gt" => found.1 > asked.1,
            "lt" => found.0 < asked.0,
            "ge" => within || found.1 > asked.1,
            "le" => within || found.0 < asked.0,
            "sa" => found.0 > asked.1,
            "eb" => found.1 < asked.0,
            _ => found.0 <= asked.1 + length && found.1 >= asked.0 - length,
        };
        let query = format!("Patient?birthdate={prefix}{asked_text}");
        prop_assert_eq!(matches(&query, &format!(r#""birthDate":"{found_text}""#)), expected, "{} of {}", query, found_text);
    }

    #[test]
    fn reading_queries_never_panics_and_what_is_read_survives_its_text(
        query in "(Patient|Observation|Group)\\?((name|code|date|_id|subject|value-quantity|deceased)(:(not|missing|exact|text|Patient))?=[ -~é]{0,12}&?){0,3}"
    ) {
        if let Ok(criteria) = Criteria::parse(&query, BASE) {
            prop_assert_eq!(&Criteria::parse(criteria.text(), "").expect("its own text"), &criteria);
        }
    }
}

/// A date of some precision in a few years, with the seconds of its first and its last moment.
fn dates() -> impl Strategy<Value = (String, (i64, i64))> {
    (2019..2022i32, 1..=12u32, 1..=28u32, 0..24u32, 0..60u32, 0..4usize).prop_map(
        |(year, month, day, hour, minute, precision)| {
            let second = |text: String| Instant::parse(&text).expect("an instant").micros() / 1_000_000;
            let last_day = [
                31,
                if year == 2020 { 29 } else { 28 },
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ][month as usize - 1];
            let (text, first, last) = match precision {
                0 => (
                    format!("{year}"),
                    format!("{year}-01-01T00:00"),
                    format!("{year}-12-31T23:59"),
                ),
                1 => (
                    format!("{year}-{month:02}"),
                    format!("{year}-{month:02}-01T00:00"),
                    format!("{year}-{month:02}-{last_day}T23:59"),
                ),
                2 => {
                    let text = format!("{year}-{month:02}-{day:02}");
                    (text.clone(), format!("{text}T00:00"), format!("{text}T23:59"))
                }
                _ => {
                    let text = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}");
                    (format!("{text}Z"), text.clone(), text)
                }
            };
            (
                text,
                (second(format!("{first}:00Z")), second(format!("{last}:59Z"))),
            )
        },
    )
}
