//! The CapabilityStatement says what there is, and the definitions that it names can be read.

use std::collections::BTreeSet;

use crate::fixture::Server;
use fhirhose_fhir::export_request::export_parameters;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::Criteria;
use fhirhose_server::RouteMethods;
use serde_json::{Value, json};

const GUIDE: &str = "http://hl7.org/fhir/uv/bulkdata";

async fn rest(server: &Server) -> Value {
    server.get("/fhir/metadata").await.json()["rest"][0].take()
}

fn resource<'a>(rest: &'a Value, name: &str) -> &'a Value {
    let resources = rest["resource"].as_array().expect("a list");
    resources
        .iter()
        .find(|resource| resource["type"] == name)
        .expect("each type is there")
}

fn operations(holder: &Value) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = holder["operation"].as_array().into_iter().flatten();
    list.map(|operation| (text(&operation["name"]), text(&operation["definition"])))
        .collect()
}

#[tokio::test]
async fn the_statement_names_operations_and_types() {
    let server = Server::start().await;
    let answer = server.get("/fhir/metadata").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/fhir+json")
    );
    let statement = answer.json();
    assert_eq!(statement["resourceType"], "CapabilityStatement");
    assert_eq!(statement["fhirVersion"], "4.0.1");
    assert_eq!(
        statement["instantiates"][0],
        format!("{GUIDE}/CapabilityStatement/bulk-data")
    );
    let rest = &statement["rest"][0];
    assert_eq!(rest["operation"][0]["name"], "export");
    let resources = rest["resource"].as_array().unwrap();
    assert_eq!(resources.len(), ResourceType::all().count());
    assert_eq!(server.get("/fhir/metadata").await.json(), statement);
}

/// One certification suite looks for the names `patient-export` and `group-export`, another for `export`.
#[tokio::test]
async fn exports_are_declared_under_both_names_and_stu4_beside_them() {
    let server = Server::start().await;
    let rest = rest(&server).await;
    for (name, alias) in [("Patient", "patient-export"), ("Group", "group-export")] {
        let declared = operations(resource(&rest, name));
        let definition = format!("{GUIDE}/OperationDefinition/{alias}");
        for known in ["export", alias] {
            assert!(
                declared.contains(&(known.to_owned(), definition.clone())),
                "{declared:?}"
            );
        }
        let pinned = ("export-v4".to_owned(), format!("{definition}|4.0.0-ballot"));
        assert!(declared.contains(&pinned), "{declared:?}");
    }
}

/// What a route means, worked out here once more: interactions of all types, and operations by the type that they are on.
fn expected(routes: &[RouteMethods]) -> (BTreeSet<&'static str>, BTreeSet<(&'static str, &'static str)>) {
    let (mut interactions, mut operations) = (BTreeSet::new(), BTreeSet::new());
    for route in routes {
        let path = route.pattern.strip_prefix("/fhir").unwrap_or("");
        let last = path.rsplit('/').next().unwrap_or("");
        if let Some(name) = last.strip_prefix('$') {
            let first = path.split('/').nth(1).unwrap_or("");
            operations.insert((if first == last { "" } else { first }, name));
            continue;
        }
        for method in &route.methods {
            let code = match (path, *method) {
                ("/{type}", "POST") => "create",
                ("/{type}", "GET") | ("/{type}/_search", "POST") => "search-type",
                ("/{type}/{id}", "GET") => "read",
                ("/{type}/{id}", "PUT") | ("/{type}", "PUT") => "update",
                ("/{type}/{id}", "DELETE") | ("/{type}", "DELETE") => "delete",
                ("/{type}/{id}/_history", "GET") => "history-instance",
                ("/{type}/{id}/_history/{version}", "GET") => "vread",
                (_, "HEAD") => continue,
                (path, _) if !path.starts_with("/{type}") => continue,
                (path, method) => panic!("what does {method} {path} mean?"),
            };
            interactions.insert(code);
        }
    }
    (interactions, operations)
}

#[tokio::test]
async fn the_statement_lists_interactions_and_operations_exactly_as_the_routes_do() {
    let server = Server::start().await;
    let rest = rest(&server).await;
    let routes = fhirhose_server::routes();
    let (interactions, declared) = expected(&routes);
    for resource_type in ResourceType::all() {
        let resource = resource(&rest, resource_type.name());
        let codes: Vec<&str> = resource["interaction"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|interaction| interaction["code"].as_str().expect("a code"))
            .collect();
        assert_eq!(codes.iter().copied().collect::<BTreeSet<_>>(), interactions);
        assert_eq!(codes.len(), interactions.len(), "none comes twice: {codes:?}");
        let has = declared
            .iter()
            .any(|(on, _)| *on == resource_type.name() || *on == "{type}");
        assert_eq!(!operations(resource).is_empty(), has, "{resource_type}");
    }
    for (on, name) in declared {
        let holder = match on {
            "" => &rest,
            "{type}" => resource(&rest, "Patient"),
            on => resource(&rest, on),
        };
        let listed = operations(holder);
        assert!(
            listed.iter().any(|(known, _)| known == name),
            "{on} ${name}: {listed:?}"
        );
    }
    let is_batch = |route: &RouteMethods| route.pattern == "/fhir" && route.methods.contains(&"POST");
    let expected = if routes.iter().any(is_batch) {
        json!([{"code": "batch"}, {"code": "transaction"}])
    } else {
        Value::Null
    };
    assert_eq!(rest["interaction"], expected);
}

#[tokio::test]
async fn the_search_parameters_of_each_type_are_those_that_filters_take_t_10() {
    let server = Server::start().await;
    let rest = rest(&server).await;
    for resource_type in ResourceType::all() {
        let listed = &resource(&rest, resource_type.name())["searchParam"];
        let listed: Vec<&str> = listed
            .as_array()
            .expect("a list")
            .iter()
            .map(|parameter| parameter["name"].as_str().expect("a name"))
            .collect();
        assert!(!listed.is_empty(), "{resource_type}");
        for name in listed {
            assert!(
                Criteria::refusal(resource_type, name).is_none(),
                "{resource_type} {name}"
            );
        }
    }
    let gender = resource(&rest, "Patient")["searchParam"].as_array().unwrap();
    assert!(gender.iter().any(|parameter| {
        parameter["name"] == "gender"
            && parameter["type"] == "token"
            && parameter["definition"]
                .as_str()
                .unwrap()
                .starts_with("http://hl7.org/fhir/SearchParameter/")
    }));
}

#[tokio::test]
async fn the_documentation_tells_what_the_guide_asks_for() {
    let server = Server::start().await;
    let rest = rest(&server).await;
    let text = rest["documentation"].as_str().unwrap();
    for subject in [
        "profile",
        "split",
        "Helper resources",
        "Levels",
        "NDJSON",
        "_since",
        "LatestProvenanceResources",
        "_dryRun",
    ] {
        assert!(text.contains(subject), "{subject}");
    }
}

#[tokio::test]
async fn operation_definitions_list_the_parameters_that_the_kick_off_takes() {
    let server = Server::start().await;
    for id in [
        "export",
        "patient-export",
        "group-export",
        "patient-instance-export",
    ] {
        for (suffix, code, associated) in [("", "export", "code"), ("-v4", "export-v4", "Coding")] {
            let answer = server
                .get(&format!("/fhir/OperationDefinition/{id}{suffix}"))
                .await;
            assert_eq!(answer.status, 200, "{id}{suffix}");
            let definition = answer.json();
            assert_eq!(definition["code"], code);
            assert_eq!(
                definition["url"],
                format!("{}/OperationDefinition/{id}{suffix}", server.base)
            );
            let listed = definition["parameter"].as_array().unwrap();
            let names: Vec<&str> = listed.iter().map(|one| one["name"].as_str().unwrap()).collect();
            let taken = export_parameters()
                .iter()
                .map(|parameter| parameter.name)
                .filter(|name| *name != "patient" || id != "export");
            assert_eq!(names, taken.collect::<Vec<_>>(), "{id}{suffix}");
            let one = |name: &str| &listed[names.iter().position(|known| *known == name).unwrap()];
            assert_eq!(one("includeAssociatedData")["type"], associated);
            assert_eq!(
                (&one("_type")["max"], &one("_since")["max"]),
                (&json!("*"), &json!("1"))
            );
        }
    }
    server.get("/fhir/OperationDefinition/made-up").await.refusal(404);
}

#[tokio::test]
async fn operations_of_our_own_can_be_read_where_they_are_declared() {
    let server = Server::start().await;
    let rest = rest(&server).await;
    for (name, definition) in operations(resource(&rest, "Patient")) {
        if let Some(path) = definition.strip_prefix(&server.base) {
            let answer = server.get(&format!("/fhir{path}")).await;
            assert_eq!(answer.status, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn the_profile_of_cohorts_is_declared_and_can_be_read_c_07() {
    let server = Server::start().await;
    let rest = rest(&server).await;
    let canonical = format!("{GUIDE}/StructureDefinition/bulk-cohort-group");
    assert_eq!(resource(&rest, "Group")["supportedProfile"], json!([canonical]));
    let profile = server
        .get("/fhir/StructureDefinition/bulk-cohort-group")
        .await
        .json();
    assert_eq!(
        (&profile["url"], &profile["type"]),
        (&json!(canonical), &json!("Group"))
    );
    let elements = profile["differential"]["element"].as_array().unwrap();
    let filter = elements
        .iter()
        .find(|element| element["sliceName"] == "memberFilter")
        .unwrap();
    assert_eq!(
        filter["type"][0]["profile"][0],
        format!("{GUIDE}/StructureDefinition/member-filter")
    );
}

#[tokio::test]
async fn a_stored_resource_comes_before_one_that_comes_with_the_server() {
    let server = Server::start().await;
    let own = json!({"resourceType": "OperationDefinition", "id": "export", "title": "Ours"});
    assert_eq!(server.put(&own).await.status, 201);
    let path = "/fhir/OperationDefinition/export";
    assert_eq!(server.get(path).await.json()["title"], "Ours");
    assert_eq!(server.delete(path).await.status, 204);
    server.get(path).await.refusal(410);
}

#[tokio::test]
async fn another_format_is_refused() {
    let server = Server::start().await;
    assert_eq!(server.get("/fhir/metadata?_format=json").await.status, 200);
    server.get("/fhir/metadata?_format=xml").await.refusal(400);
    let xml = server
        .ask(hyper::Method::GET, "/fhir/metadata")
        .header("accept", "application/fhir+xml");
    xml.send().await.refusal(406);
}
