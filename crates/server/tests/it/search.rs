//! `GET [base]/{Type}` and `POST [base]/{Type}/_search`, against a filter of the test's own over everything that was written.

use std::sync::Arc;

use fhirhose_jobs::SystemClock;
use fhirhose_server::RestSettings;
use fhirhose_store::{Store, StoreSettings};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::Answer;

/// What a page of a search holds, by mode.
struct Page {
    matches: Vec<String>,
    included: Vec<String>,
    notes: Vec<String>,
    next: Option<String>,
    total: Option<u64>,
}

fn page(answer: &Answer) -> Page {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    assert_eq!(
        (&bundle["resourceType"], &bundle["type"]),
        (&json!("Bundle"), &json!("searchset"))
    );
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    assert!(
        bundle.get("entry").is_none() || !entries.is_empty(),
        "no empty array"
    );
    let of_mode = |mode: &str| -> Vec<Value> {
        let of_mode = entries.iter().filter(|entry| entry["search"]["mode"] == mode);
        of_mode.cloned().collect()
    };
    let names = |mode| {
        let entries = of_mode(mode);
        for entry in &entries {
            let url = entry["fullUrl"].as_str().expect("a full URL");
            assert!(url.ends_with(&name(&entry["resource"])), "{url}");
        }
        entries.iter().map(|entry| name(&entry["resource"])).collect()
    };
    let issues = of_mode("outcome").into_iter().flat_map(|entry| {
        let issues = entry["resource"]["issue"].as_array().expect("issues").clone();
        issues
            .into_iter()
            .map(|issue| issue["details"]["text"].as_str().expect("a text").to_owned())
    });
    let link = |relation: &str| {
        let links = bundle["link"].as_array().expect("links");
        let found = links.iter().find(|link| link["relation"] == relation);
        found.map(|link| link["url"].as_str().expect("a URL").to_owned())
    };
    assert!(link("self").is_some());
    Page {
        matches: names("match"),
        included: names("include"),
        notes: issues.collect(),
        next: link("next"),
        total: bundle["total"].as_u64(),
    }
}

fn name(resource: &Value) -> String {
    let text = |member: &str| resource[member].as_str().expect("a text");
    format!("{}/{}", text("resourceType"), text("id"))
}

/// Follows a search to its last page.
async fn all_pages(server: &Server, target: &str) -> Vec<Page> {
    let mut pages = vec![page(&server.get(&format!("/fhir/{target}")).await)];
    while let Some(next) = pages.last().and_then(|page| page.next.clone()) {
        pages.push(page(&server.get(&next).await));
        assert!(pages.len() < 500, "the pages of {target} come to an end");
    }
    pages
}

async fn all(server: &Server, target: &str) -> Vec<String> {
    let pages = all_pages(server, target).await;
    pages.into_iter().flat_map(|page| page.matches).collect()
}

/// Some patients, Observations of several owners and states, and who took them.
fn population() -> Vec<Value> {
    let mut all = Vec::new();
    for number in 0..6 {
        let gender = ["female", "male", "other"][number % 3];
        all.push(json!({"resourceType": "Patient", "id": format!("p{number}"), "gender": gender, "active": number % 2 == 0,
            "birthDate": format!("19{}0-05-0{}", 5 + number % 4, 1 + number)}));
    }
    for id in ["dr1", "dr2"] {
        all.push(json!({"resourceType": "Practitioner", "id": id, "active": true}));
    }
    for number in 0..60_usize {
        let id = match number % 3 {
            0 => format!("o{number}"),
            1 => format!("000000{number:02}-0000-4000-8000-00000000000{}", number % 7),
            _ => format!("O-{}.{number}", number % 5),
        };
        let mut observation = json!({"resourceType": "Observation", "id": id,
            "status": if number % 2 == 0 { "final" } else { "preliminary" },
            "code": {"coding": [{"system": "http://loinc.org", "code": format!("c{}", number % 4)}]},
            "valueQuantity": {"value": number}, "effectiveDateTime": format!("2020-0{}-01", 1 + number % 9),
            "performer": [{"reference": format!("Practitioner/dr{}", 1 + number % 2)}]});
        if number % 10 != 0 {
            observation["subject"] = json!({"reference": format!("Patient/p{}", number % 6)});
        }
        if number % 7 == 0 {
            // In the compartment of a second patient.
            let performers = observation["performer"].as_array_mut().expect("performers");
            performers.push(json!({"reference": "Patient/p5"}));
        }
        all.push(observation);
    }
    all
}

/// Writes the population: one half by an import, the other one by one, and reads it all back.
async fn populated(change: impl FnOnce(&mut RestSettings)) -> (Server, Vec<Value>) {
    let server = Server::start_with(|settings| change(&mut settings.rest)).await;
    let (imported, written) = population()
        .into_iter()
        .enumerate()
        .partition::<Vec<_>, _>(|(at, _)| at % 2 == 0);
    let lines: Vec<String> = imported
        .iter()
        .map(|(_, resource)| resource.to_string())
        .collect();
    server
        .import_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    for (_, resource) in written {
        assert_eq!(server.put(&resource).await.status, 201);
    }
    let mut stored = Vec::new();
    for resource in population() {
        stored.push(server.get(&format!("/fhir/{}", name(&resource))).await.json());
    }
    (server, stored)
}

type Filter = fn(&Value) -> bool;

/// Queries, and what they mean in the plainest words.
const CASES: [(&str, Filter); 12] = [
    ("Observation?", |_| true),
    ("Observation?status=final", |each| each["status"] == "final"),
    (
        "Observation?code=http://loinc.org|c1,http://loinc.org|c2",
        |each| ["c1", "c2"].contains(&each["code"]["coding"][0]["code"].as_str().unwrap()),
    ),
    ("Observation?subject=Patient/p1", |each| {
        each["subject"]["reference"] == "Patient/p1"
    }),
    ("Observation?patient=p1,p2&status=final", |each| {
        ["Patient/p1", "Patient/p2"]
            .map(|name| each["subject"]["reference"] == name)
            .contains(&true)
            && each["status"] == "final"
    }),
    ("Observation?performer=Patient/p5", |each| {
        each["performer"][1]["reference"] == "Patient/p5"
    }),
    ("Observation?_id=o0,o3,nobody,O-2.2", |each| {
        ["o0", "o3", "O-2.2"].contains(&each["id"].as_str().unwrap())
    }),
    ("Observation?value-quantity=gt40&date=ge2020-03", |each| {
        each["valueQuantity"]["value"].as_u64() > Some(40)
            && each["effectiveDateTime"].as_str() >= Some("2020-03")
    }),
    ("Observation?_lastUpdated=ge2020-01-01", |_| true),
    ("Observation?_lastUpdated=gt2999-01-01", |_| false),
    ("Patient?gender=female", |each| each["gender"] == "female"),
    ("Patient?birthdate=lt1970-01-01&active=true", |each| {
        each["birthDate"].as_str() < Some("1970") && each["active"] == true
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn searches_give_what_a_plain_filter_gives_by_every_order_and_page_size() {
    let (server, stored) = populated(|_| ()).await;
    for (query, filter) in CASES {
        let resource_type = query.split('?').next().unwrap();
        let is_meant = |each: &&Value| each["resourceType"] == resource_type && filter(each);
        let mut expected: Vec<&Value> = stored.iter().filter(is_meant).collect();
        for sort in ["", "_id", "-_id", "_lastUpdated", "-_lastUpdated"] {
            expected.sort_by_key(|each| sort_key(sort, each));
            if sort.starts_with('-') {
                expected.reverse();
            }
            check_pages(&server, query, sort, &expected).await;
        }
    }
}

fn sort_key(sort: &str, resource: &Value) -> String {
    let value = match sort.trim_start_matches('-') {
        "_lastUpdated" => &resource["meta"]["lastUpdated"],
        _ => &resource["id"],
    };
    value.as_str().expect("a text").to_owned()
}

/// Checks a search in pages of several sizes against what is expected, in its order.
async fn check_pages(server: &Server, query: &str, sort: &str, expected: &[&Value]) {
    for count in [1, 7, 1_000] {
        let target = match sort {
            "" => format!("{query}&_count={count}"),
            sort => format!("{query}&_sort={sort}&_count={count}"),
        };
        let pages = all_pages(server, &target).await;
        assert!(pages.iter().all(|page| page.matches.len() <= count), "{target}");
        let mut found: Vec<String> = pages.into_iter().flat_map(|page| page.matches).collect();
        if sort.ends_with("_lastUpdated") {
            // What one commit wrote has one time; the order within it is the server's.
            let time_of = |wanted: &String| {
                let resource = expected.iter().find(|each| name(each) == *wanted);
                sort_key(sort, resource.expect("a resource that is expected"))
            };
            let times: Vec<String> = found.iter().map(time_of).collect();
            let expected: Vec<String> = expected.iter().map(|each| sort_key(sort, each)).collect();
            assert_eq!(times, expected, "{target}");
        }
        let mut names: Vec<String> = expected.iter().map(|each| name(each)).collect();
        if !sort.ends_with("_id") {
            names.sort_unstable();
            found.sort_unstable();
        }
        assert_eq!(found, names, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_of_the_state_that_the_first_one_showed() {
    let (server, _) = populated(|_| ()).await;
    for sort in ["", "&_sort=_id", "&_sort=-_lastUpdated"] {
        let target = format!("/fhir/Observation?status=final{sort}&_count=4");
        let whole = all(&server, target.trim_start_matches("/fhir/")).await;
        let mut found = page(&server.get(&target).await);
        let mut names = found.matches.clone();
        let mut writes = 0;
        while let Some(next) = found.next {
            let gone = whole
                .last()
                .expect("matches")
                .trim_start_matches("Observation/")
                .to_owned();
            let changed = json!({"resourceType": "Observation", "id": gone, "status": "preliminary", "code": {"text": writes.to_string()}});
            assert_eq!(server.put(&changed).await.status, 200);
            let added = json!({"resourceType": "Observation", "id": format!("new-{writes}"), "status": "final", "code": {"text": "x"}});
            assert!(server.put(&added).await.status < 300);
            writes += 1;
            found = page(&server.get(&next).await);
            names.extend(found.matches.clone());
        }
        assert!(writes > 3);
        assert_eq!(names, whole, "{target}");
        // Put things right for the next order.
        for number in 0..writes {
            server.delete(&format!("/fhir/Observation/new-{number}")).await;
        }
        let last = whole.last().expect("matches").trim_start_matches("Observation/");
        let back =
            json!({"resourceType": "Observation", "id": last, "status": "final", "code": {"text": "back"}});
        assert_eq!(server.put(&back).await.status, 200);
    }
}

#[tokio::test]
async fn a_cursor_of_another_search_or_a_changed_one_is_refused() {
    let (server, _) = populated(|_| ()).await;
    let next = page(&server.get("/fhir/Observation?_count=3").await)
        .next
        .expect("a next page");
    assert_eq!(server.get(&next).await.status, 200);
    let cursor = next.split("_cursor=").nth(1).expect("a cursor");
    for target in [
        format!("/fhir/Observation?_count=4&_cursor={cursor}"),
        format!("/fhir/Patient?_count=3&_cursor={cursor}"),
        format!("/fhir/Observation?_count=3&_cursor={}", &cursor[1..]),
        "/fhir/Observation?_count=3&_cursor=x".to_owned(),
    ] {
        let told = server.get(&target).await.refusal(400);
        assert!(told.contains("_cursor"), "{told}");
    }
}

#[tokio::test]
async fn totals_are_given_as_asked() {
    let (server, _) = populated(|_| ()).await;
    let total = async |query: &str| page(&server.get(&format!("/fhir/Observation?{query}")).await);
    for query in ["_summary=count", "_count=0", "status=final,preliminary&_count=0"] {
        let counted = total(query).await;
        assert_eq!((counted.total, counted.matches.len()), (Some(60), 0), "{query}");
        assert_eq!(counted.next, None);
    }
    assert_eq!(
        total("status=final&_total=accurate&_count=5").await.total,
        Some(30)
    );
    let page_two = total("status=final&_total=accurate&_count=5")
        .await
        .next
        .expect("a page");
    assert_eq!(
        page(&server.get(&page_two).await).total,
        Some(30),
        "also on later pages"
    );
    assert_eq!(total("status=final&_total=none").await.total, None);
    assert_eq!(
        total("status=final&_count=5").await.total,
        None,
        "not known without cost"
    );
    assert_eq!(total("status=final").await.total, Some(30), "known anyway");
    let estimate = total("status=final&_total=estimate&_count=10")
        .await
        .total
        .expect("a total");
    assert!((10..=60).contains(&estimate), "{estimate}");
}

#[tokio::test]
async fn includes_follow_references_one_step_at_the_same_state() {
    let (server, _) = populated(|_| ()).await;
    let find = async |query: &str| page(&server.get(&format!("/fhir/{query}")).await);
    let found =
        find("Observation?_id=o0,o3&_include=Observation:performer&_include=Observation:subject").await;
    let mut included = found.included.clone();
    included.sort_unstable();
    assert_eq!(found.matches.len(), 2);
    assert_eq!(
        included,
        ["Patient/p3", "Patient/p5", "Practitioner/dr1", "Practitioner/dr2"]
    );
    let found = find("Observation?_id=o0&_include=Observation:performer:Practitioner").await;
    assert_eq!(found.included, ["Practitioner/dr1"]);
    let found = find("Patient?_id=p1&_revinclude=Observation:subject").await;
    assert_eq!(found.matches, ["Patient/p1"]);
    assert_eq!(found.included.len(), 10, "the Observations about p1");
    let found = find("Patient?_id=p1&_revinclude=Observation:subject:Group").await;
    assert!(found.included.is_empty());
    for wrong in [
        "_include=*",
        "_include=Observation:*",
        "_include=Observation:status",
        "_include:iterate=Observation:subject",
        "_include=Patient:organization",
        "_revinclude=Nothing:subject",
    ] {
        let told = server
            .get(&format!("/fhir/Observation?{wrong}"))
            .await
            .refusal(400);
        assert!(told.contains("nclude"), "{told}");
    }
}

#[tokio::test]
async fn more_to_include_than_the_limit_is_told() {
    let (server, _) = populated(|rest| rest.included_max = 3).await;
    let found = page(
        &server
            .get("/fhir/Patient?_id=p1&_revinclude=Observation:subject")
            .await,
    );
    assert_eq!(found.included.len(), 3);
    assert!(
        found.notes.iter().any(|note| note.contains("not all")),
        "{:?}",
        found.notes
    );
}

#[tokio::test]
async fn unknown_parameters_are_refused_by_name_or_left_out_and_told() {
    let (server, _) = populated(|_| ()).await;
    for query in [
        "colour=red",
        "subject.name=x",
        "_has:Observation:patient:code=1",
        "_sort=date",
        "_summary=text",
        "_pretty=true",
    ] {
        let told = server
            .get(&format!("/fhir/Observation?status=final&{query}"))
            .await
            .refusal(400);
        let name = query.split(['=', ':', '.']).next().unwrap();
        assert!(told.contains(name), "{query}: {told}");
        let ask = server.ask(Method::GET, &format!("/fhir/Observation?status=final&{query}"));
        let lenient = page(&ask.header("prefer", "handling=lenient").send().await);
        assert_eq!(lenient.matches.len(), 30, "{query}");
        assert!(
            lenient.notes.iter().any(|note| note.contains(name)),
            "{query}: {:?}",
            lenient.notes
        );
    }
    let ask = server.ask(Method::GET, "/fhir/Observation?_count=many");
    ask.header("prefer", "handling=lenient").send().await.refusal(400);
    server
        .get("/fhir/Observation?_count=1&_count=2")
        .await
        .refusal(400);
    server.get("/fhir/Nothing?x=y").await.refusal(404);
    assert!(
        server
            .get("/fhir?_type=Patient")
            .await
            .refusal(400)
            .contains("one type")
    );
}

#[tokio::test]
async fn a_form_and_the_url_are_searched_together() {
    let (server, _) = populated(|_| ()).await;
    let ask = server.ask(Method::POST, "/fhir/Observation/_search?status=final");
    let ask = ask.text(
        "application/x-www-form-urlencoded",
        "code=http%3A%2F%2Floinc.org%7Cc2&_count=50",
    );
    let found = page(&ask.send().await);
    assert_eq!(found.matches.len(), 15);
    let ask = server
        .ask(Method::POST, "/fhir/Observation/_search")
        .text("application/json", "{}");
    ask.send().await.refusal(415);
    let head = server
        .ask(Method::HEAD, "/fhir/Observation?status=final")
        .send()
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn elements_are_cut_and_tagged() {
    let (server, _) = populated(|_| ()).await;
    let found = server
        .get("/fhir/Observation?_id=o3&_elements=status")
        .await
        .json();
    let resource = &found["entry"][0]["resource"];
    assert_eq!(
        (&resource["status"], &resource["valueQuantity"]),
        (&json!("preliminary"), &Value::Null)
    );
    assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED");
    server
        .get("/fhir/Observation?_elements=nothing")
        .await
        .refusal(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_looks_at_no_more_than_its_limit_says_so_and_loses_nothing() {
    let (server, _) = populated(|rest| rest.search_rows_max = 13).await;
    let pages = all_pages(&server, "Observation?status=final&_count=50").await;
    assert!(pages.len() >= 4, "{} pages", pages.len());
    let notes = &pages[0].notes;
    assert!(
        notes.iter().any(|note| note.contains("13 resources")),
        "{notes:?}"
    );
    let mut found: Vec<String> = pages.into_iter().flat_map(|page| page.matches).collect();
    assert_eq!(found.len(), 30);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 30);
    let by_id = all(&server, "Observation?status=final&_sort=_id&_count=9").await;
    assert!(by_id.is_sorted());
    assert_eq!(by_id.len(), 30);
    for query in [
        "_sort=-_id",
        "_summary=count",
        "_total=accurate&_count=1",
        "_sort=_lastUpdated",
    ] {
        let told = server
            .get(&format!("/fhir/Observation?{query}"))
            .await
            .refusal(422);
        assert!(told.contains("too-costly"), "{told}");
    }
    // By owner and by id the limit is far away.
    assert_eq!(all(&server, "Observation?patient=p1&_sort=-_id").await.len(), 10);
}

#[tokio::test]
async fn a_page_ends_when_its_text_is_long_enough() {
    let (server, _) = populated(|rest| rest.page_bytes_max = 1_000).await;
    let pages = all_pages(&server, "Observation?_sort=_id").await;
    assert!(pages.iter().all(|page| (1..10).contains(&page.matches.len())));
    assert_eq!(pages.iter().map(|page| page.matches.len()).sum::<usize>(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_to_a_state_that_is_not_kept_any_more_is_gone() {
    let settings = StoreSettings {
        history_secs: 0,
        ..StoreSettings::default()
    };
    let store = Store::in_memory(Arc::new(SystemClock), settings).expect("a store");
    let server = Server::over(store, |_| ()).await;
    let line = |id: u32, active: bool| {
        json!({"resourceType": "Patient", "id": format!("p{id}"), "active": active}).to_string()
    };
    let (first, second) = ([line(1, true), line(2, true)], [line(2, false)]);
    server.import_lines(&first.each_ref().map(String::as_str)).await;
    let next = page(&server.get("/fhir/Patient?_count=1").await)
        .next
        .expect("a next page");
    server.import_lines(&second.each_ref().map(String::as_str)).await;
    assert_eq!(
        page(&server.get(&next).await).matches,
        ["Patient/p2"],
        "still there"
    );
    let runs = server.store.catalog().runs().await.expect("runs");
    let places: Vec<String> = runs.iter().map(|run| run.place.clone()).collect();
    let merged = server
        .store
        .compact(&places, "merged.run", None, |_| Ok(()))
        .await;
    merged.expect("a compaction");
    let told = server.get(&next).await.refusal(410);
    assert!(told.contains("expired") && told.contains("begin again"), "{told}");
    let history = server.get("/fhir/Patient/p2/_history").await.json();
    assert_eq!(
        history["entry"].as_array().map(Vec::len),
        Some(2),
        "one version, and that there was more"
    );
    assert_eq!(
        history["entry"][1]["response"]["outcome"]["issue"][0]["code"],
        "incomplete"
    );
}

#[tokio::test]
async fn a_form_of_any_length_is_no_search() {
    let server = Server::start().await;
    let ask = server
        .ask(Method::POST, "/fhir/Patient/_search")
        .header("prefer", "handling=lenient")
        .text("application/x-www-form-urlencoded", "a&".repeat(1 << 20));
    assert!(ask.send().await.refusal(400).len() < 1_000);
}
