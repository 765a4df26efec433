//! `$export`: levels, parameters and headers of the kick-off.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Held, Server, memory_store, names};
use crate::http::Ask;
use fhirhose_server::HeaderMode;

#[tokio::test]
async fn each_level_exports_what_belongs_to_it_k_01_k_02_k_03_k_04() {
    let server = Server::populated().await;
    // A Group sits in the compartments of its members.
    let of_p1 = [
        "Patient/p1",
        "Observation/o1",
        "Encounter/e1",
        "Device/d1",
        "Group/g1",
    ];
    let of_p2 = ["Patient/p2", "Observation/o2"];
    assert_eq!(server.exported("Group/g1/$export").await, names(&of_p1));
    assert_eq!(server.exported("Patient/p1/$export").await, names(&of_p1));
    let of_all: Vec<&str> = of_p1.iter().chain(&of_p2).copied().collect();
    assert_eq!(server.exported("Patient/$export").await, names(&of_all));
    let outside = ["Practitioner/dr1", "Organization/org1"];
    let everything: Vec<&str> = of_all.iter().chain(&outside).copied().collect();
    assert_eq!(server.exported("$export").await, names(&everything));
}

#[tokio::test]
async fn get_and_post_kick_off_the_same_k_05() {
    let server = Server::populated().await;
    let body = parameters(&[
        ("_type", "valueString", "Patient"),
        ("_type", "valueString", "Device"),
    ]);
    let posted = server
        .ask(Method::POST, "/fhir/$export")
        .asynchronous()
        .json(&body)
        .send()
        .await;
    assert_eq!(posted.status, 202, "{}", posted.text());
    let manifest = server.finished(posted.header("content-location")).await.json();
    let expected = names(&["Patient/p1", "Patient/p2", "Device/d1"]);
    assert_eq!(server.names(&manifest["output"]).await, expected);
    assert_eq!(server.exported("$export?_type=Patient,Device").await, expected);
}

#[tokio::test]
async fn the_three_spellings_of_ndjson_and_a_bare_plus_are_taken_k_06() {
    let server = Server::start().await;
    for format in [
        "application/fhir+ndjson",
        "application/fhir%2Bndjson",
        "application/ndjson",
        "ndjson",
    ] {
        let answer = server.kick_off(&format!("$export?_outputFormat={format}")).await;
        assert_eq!(answer.status, 202, "{format}");
    }
}

#[tokio::test]
async fn repeated_parameters_equal_one_comma_list_k_07() {
    let server = Server::populated().await;
    let expected = names(&["Observation/o1", "Observation/o2", "Device/d1"]);
    assert_eq!(
        server.exported("$export?_type=Observation,Device").await,
        expected
    );
    assert_eq!(
        server.exported("$export?_type=Observation&_type=Device").await,
        expected
    );
}

#[tokio::test]
async fn elements_are_cut_and_tagged() {
    let server = Server::populated().await;
    let (_, manifest) = server
        .export("Patient/p1/$export?_type=Patient&_elements=Patient.gender")
        .await;
    let file = server.get(manifest["output"][0]["url"].as_str().unwrap()).await;
    let patient = &file.lines()[0];
    assert_eq!(
        (&patient["gender"], &patient["active"]),
        (&json!("female"), &Value::Null)
    );
    assert_eq!(patient["meta"]["tag"][0]["code"], "SUBSETTED");
}

#[tokio::test]
async fn the_headers_of_the_standard_are_required_k_20_k_21() {
    let server = Server::start().await;
    let get = || server.ask(Method::GET, "/fhir/$export");
    let accept = |ask: Ask| ask.header("accept", "application/fhir+json");
    let prefer = |ask: Ask| ask.header("prefer", "respond-async");
    assert!(prefer(get()).send().await.refusal(400).contains("Accept"));
    assert!(accept(get()).send().await.refusal(400).contains("Prefer"));
    accept(get())
        .header("prefer", "return=minimal")
        .send()
        .await
        .refusal(400);
    let post = || server.ask(Method::POST, "/fhir/$export").json(&parameters(&[]));
    let both = post().send().await.refusal(400);
    assert!(both.contains("Accept") && both.contains("Prefer"), "{both}");
    assert!(prefer(post()).send().await.refusal(400).contains("Accept"));
    assert!(accept(post()).send().await.refusal(400).contains("Prefer"));
    prefer(get())
        .header("accept", "text/html")
        .send()
        .await
        .refusal(406);
    for (wide, lists) in [
        ("*/*", "respond-async, handling=lenient"),
        ("application/json", "Respond-Async;x=1"),
    ] {
        let answer = get().header("accept", wide).header("prefer", lists).send().await;
        assert_eq!(answer.status, 202, "{wide}, {lists}");
    }
}

#[tokio::test]
async fn missing_headers_are_taken_for_granted_when_the_operator_says_so_k_20_k_21() {
    let server = Server::start_with(|settings| settings.headers = HeaderMode::Default).await;
    assert_eq!(server.get("/fhir/$export").await.status, 202);
    let post = server.ask(Method::POST, "/fhir/$export").json(&parameters(&[]));
    assert_eq!(post.send().await.status, 202);
    let html = server
        .ask(Method::GET, "/fhir/$export")
        .header("accept", "text/html");
    html.send().await.refusal(406);
}

#[tokio::test]
async fn a_kick_off_answers_with_an_absolute_status_url_k_40_k_41() {
    let server = Server::start().await;
    let answer = server.kick_off("$export").await;
    assert_eq!(answer.status, 202);
    let location = answer.header("content-location");
    assert!(
        location.starts_with(&format!("http://{}/fhir/$export-status/", server.address)),
        "{location}"
    );
    assert_eq!(answer.header("content-type"), "application/fhir+json");
    assert_eq!(answer.json()["resourceType"], "OperationOutcome");
}

#[tokio::test]
async fn the_public_base_url_is_in_every_url_k_40() {
    let base = "https://data.example.org/hospital/fhir";
    let server =
        Server::start_with(|settings| settings.base_url = Some(format!("{base}/").parse().unwrap())).await;
    let answer = server.put(&json!({"resourceType": "Patient", "id": "p1"})).await;
    assert_eq!(answer.status, 201);
    let version = answer.header("etag").trim_matches(['W', '/', '"']);
    assert_eq!(
        answer.header("location"),
        format!("{base}/Patient/p1/_history/{version}")
    );
    let accepted = server.kick_off("$export?_type=Patient").await;
    let location = accepted.header("content-location");
    let path = location.strip_prefix(base).expect("it is below the base");
    let manifest = server.finished(&format!("/fhir{path}")).await.json();
    assert_eq!(manifest["request"], format!("{base}/$export?_type=Patient"));
    let url = manifest["output"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{base}/$export-file/")), "{url}");
}

#[tokio::test]
async fn every_bad_parameter_is_told_at_the_kick_off_k_42_k_47_k_48() {
    let server = Server::start().await;
    for query in [
        "_outputFormat=application/xml",
        "_outputFormat=text/html",
        "_since=0000-60-01T30:70:80%2B05:00",
        "_since=2020-01-01",
        "_since=2999-01-01T00:00:00Z",
        "_type=MadeUp",
        "_elements=Patient.name.family",
        "_typeFilter=Patient?made-up=true",
        "_until=2020-01-01",
        "organizeOutputBy=Observation",
        "includeAssociatedData=Everything",
        "allowPartialManifests=maybe",
        "_maximumFileSize=0",
        "_dryRun=maybe",
        "patient=Patient/p1",
        "unheard=of",
    ] {
        let name = query.split('=').next().unwrap();
        let text = server.kick_off(&format!("$export?{query}")).await.refusal(400);
        assert!(text.contains(name), "{query}: {text}");
    }
    let both = server
        .kick_off("$export?_type=MadeUp&unheard=of")
        .await
        .refusal(400);
    assert!(both.contains("MadeUp") && both.contains("unheard"), "{both}");
}

#[tokio::test]
async fn a_lenient_client_gets_what_is_supported_and_hears_of_the_rest_k_22_t_11() {
    let server = Server::populated().await;
    let ask = |query: &str| {
        let ask = server.ask(Method::GET, &format!("/fhir/Patient/$export?{query}"));
        ask.header("accept", "application/fhir+json")
            .header("prefer", "respond-async, handling=lenient")
    };
    // The probe of a public certification suite: a Patient has no status.
    let query = "_type=Patient&_typeFilter=Patient%3Fstatus%3Dactive&unheard=of";
    let accepted = ask(query).send().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let manifest = server.finished(accepted.header("content-location")).await.json();
    let both = names(&["Patient/p1", "Patient/p2"]);
    assert_eq!(server.names(&manifest["output"]).await, both);
    assert_eq!(manifest["error"][0]["type"], "OperationOutcome");
    let file = server.get(manifest["error"][0]["url"].as_str().unwrap()).await;
    assert_eq!(file.header("content-type"), "application/fhir+ndjson");
    let reports = file.lines();
    assert_eq!(reports.len(), 2, "one for each parameter");
    for (report, name) in reports.iter().zip(["_typeFilter", "unheard"]) {
        let issue = &report["issue"][0];
        assert_eq!(issue["severity"], "warning");
        assert!(
            issue["details"]["text"].as_str().unwrap().contains(name),
            "{issue}"
        );
    }
    server
        .kick_off(&format!("Patient/$export?{query}"))
        .await
        .refusal(400);
    for unreadable in ["_since=yesterday", "_outputFormat=xml", "_type=MadeUp"] {
        ask(unreadable).send().await.refusal(400);
    }
}

#[tokio::test]
async fn bodies_that_are_no_parameters_are_refused_k_25_k_42() {
    let server = Server::start().await;
    let post = || server.ask(Method::POST, "/fhir/$export").asynchronous();
    post()
        .json(&json!({"resourceType": "Patient"}))
        .send()
        .await
        .refusal(400);
    post()
        .text("application/fhir+json", "{")
        .send()
        .await
        .refusal(400);
    post().text("text/plain", "{}").send().await.refusal(415);
    post().send().await.refusal(415);
    let body = parameters(&[("_type", "valueCode", "Patient")]).to_string();
    for content_type in ["application/json", "application/fhir+json; charset=utf-8"] {
        let answer = post().text(content_type, body.clone()).send().await;
        assert_eq!(answer.status, 202, "{content_type}");
    }
}

#[tokio::test]
async fn only_the_newest_version_of_a_resource_is_exported_k_14() {
    let server = Server::start().await;
    for active in [true, false] {
        let patient = json!({"resourceType": "Patient", "id": "p1", "active": active});
        server.put(&patient).await;
    }
    let (_, manifest) = server.export("$export").await;
    let file = server.get(manifest["output"][0]["url"].as_str().unwrap()).await;
    let lines = file.lines();
    assert_eq!((lines.len(), &lines[0]["active"]), (1, &json!(false)));
}

#[tokio::test]
async fn preferences_are_read_from_several_headers_in_any_case_k_24() {
    let server = Server::start().await;
    for values in [
        &["RESPOND-ASYNC"][..],
        &["handling=lenient", "respond-async"],
        &["respond-async; handling=lenient"],
        &["wait=5 ,respond-async;x=\"a\""],
    ] {
        let ask = server
            .ask(Method::GET, "/fhir/$export")
            .header("accept", "application/fhir+json");
        let ask = values.iter().fold(ask, |ask, value| ask.header("prefer", value));
        assert_eq!(ask.send().await.status, 202, "{values:?}");
    }
}

fn patients(references: &[&str]) -> Value {
    let parameter = |reference: &&str| json!({"name": "patient", "valueReference": {"reference": reference}});
    let parameter: Vec<Value> = references.iter().map(parameter).collect();
    json!({"resourceType": "Parameters", "parameter": parameter})
}

#[tokio::test]
async fn patients_are_named_in_a_body_below_the_system_level_only() {
    let server = Server::populated().await;
    let body = patients(&["Patient/p1"]);
    let post = |path: &str| server.ask(Method::POST, path).asynchronous().json(&body);
    let system = post("/fhir/$export").send().await.refusal(400);
    assert!(system.contains("patient: "), "{system}");
    let get = server.kick_off("Patient/$export?patient=Patient/p1").await;
    assert!(
        get.refusal(400).contains("POST"),
        "a GET may be logged with its URL"
    );
    let accepted = post("/fhir/Patient/$export").send().await;
    let manifest = server.finished(accepted.header("content-location")).await.json();
    let of_p1 = names(&[
        "Patient/p1",
        "Observation/o1",
        "Encounter/e1",
        "Device/d1",
        "Group/g1",
    ]);
    assert_eq!(server.names(&manifest["output"]).await, of_p1);
}

#[tokio::test]
async fn patients_that_do_not_exist_or_are_not_in_the_group_are_refused_each_by_name_k_46_k_48() {
    let server = Server::populated().await;
    let body = patients(&["Patient/p1", "Patient/p2", "Patient/nobody"]);
    let post = || server.ask(Method::POST, "/fhir/Group/g1/$export").json(&body);
    let text = post().asynchronous().send().await.refusal(400);
    assert!(text.contains("Patient/p2 is not a member"), "{text}");
    assert!(text.contains("Patient/nobody does not exist"), "{text}");
    let lenient = post()
        .header("accept", "application/fhir+json")
        .header("prefer", "respond-async, handling=lenient");
    let accepted = lenient.send().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let manifest = server.finished(accepted.header("content-location")).await.json();
    let exported = server.names(&manifest["output"]).await;
    assert!(exported.contains("Patient/p1") && !exported.contains("Patient/p2"));
    let reports = server
        .get(manifest["error"][0]["url"].as_str().unwrap())
        .await
        .lines();
    assert_eq!(reports.len(), 2, "one for each patient: {reports:?}");
}

/// What is in `output` of an export by GET.
async fn exported(server: &Server, query: &str) -> BTreeSet<String> {
    server.exported(&format!("Patient/$export?{query}")).await
}

#[tokio::test]
async fn filters_choose_within_their_type_and_add_up_t_02_t_03_t_04_t_07() {
    let server = Server::populated().await;
    let whole = exported(&server, "_type=Patient,Observation").await;
    assert_eq!(
        whole,
        names(&["Patient/p1", "Patient/p2", "Observation/o1", "Observation/o2"])
    );
    let female = "_type=Patient,Observation&_typeFilter=Patient%3Fgender%3Dfemale";
    let expected = names(&["Patient/p1", "Observation/o1", "Observation/o2"]);
    assert_eq!(exported(&server, female).await, expected, "each type on its own");
    let both = "_type=Patient&_typeFilter=Patient%3Fgender%3Dfemale&_typeFilter=Patient%3F_id%3Dp2";
    assert_eq!(
        exported(&server, both).await,
        names(&["Patient/p1", "Patient/p2"])
    );
    let neither = "_type=Patient&_typeFilter=Patient%3Fgender%3Dfemale%26_id%3Dp2";
    assert_eq!(exported(&server, neither).await, names(&[]));
}

#[tokio::test]
async fn until_leaves_out_what_is_not_older() {
    let server = Server::populated().await;
    let (_, manifest) = server.export("$export").await;
    let time = manifest["transactionTime"].as_str().unwrap().to_owned();
    server
        .put(&json!({"resourceType": "Patient", "id": "p1", "active": false}))
        .await;
    server.put(&json!({"resourceType": "Patient", "id": "p3"})).await;
    let old = server
        .exported(&format!("$export?_type=Patient&_until={time}"))
        .await;
    // The newest version of p1 is younger, and older ones are never exported (K-14).
    assert_eq!(old, names(&["Patient/p2"]));
    let window = format!("$export?_since={time}&_until={time}");
    server.kick_off(&window).await.refusal(400);
}

#[tokio::test]
async fn too_many_waiting_jobs_get_429_with_retry_after_k_43() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    held.put_off(&store).await;
    let server = Server::over(store, |settings| settings.jobs_queued_max = 1).await;
    let answer = server.kick_off("$export").await;
    answer.refusal(429);
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
}

#[tokio::test]
async fn unknown_groups_and_patients_get_404_k_46() {
    let server = Server::populated().await;
    server.kick_off("Group/unknown/$export").await.refusal(404);
    server.kick_off("Patient/unknown/$export").await.refusal(404);
    assert_eq!(server.delete("/fhir/Patient/p2").await.status, 204);
    server.kick_off("Patient/p2/$export").await.refusal(404);
}

#[tokio::test]
async fn a_head_request_starts_no_export() {
    let server = Server::start().await;
    let answer = server
        .ask(Method::HEAD, "/fhir/$export")
        .asynchronous()
        .send()
        .await;
    assert_eq!(answer.status, 405);
    let jobs = server.store.catalog().jobs(&Default::default()).await.unwrap();
    assert_eq!(jobs.len(), 0);
}

/// A Parameters body of name, kind of value and value.
pub(crate) fn parameters(list: &[(&str, &str, &str)]) -> Value {
    let parameter: Vec<Value> = list
        .iter()
        .map(|(name, kind, value)| json!({"name": name, *kind: value}))
        .collect();
    json!({"resourceType": "Parameters", "parameter": parameter})
}
