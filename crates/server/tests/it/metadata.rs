//! The CapabilityStatement says what there is.

use crate::fixture::Server;
use fhirhose_fhir::resource_type::ResourceType;

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
    let instantiates = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data";
    assert_eq!(statement["instantiates"][0], instantiates);
    let rest = &statement["rest"][0];
    assert_eq!(rest["operation"][0]["name"], "export");
    let resources = rest["resource"].as_array().unwrap();
    assert_eq!(resources.len(), ResourceType::all().count());
    for (name, definition) in [("Patient", "patient-export"), ("Group", "group-export")] {
        let resource = resources
            .iter()
            .find(|resource| resource["type"] == name)
            .unwrap();
        let url = format!("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{definition}");
        assert_eq!(resource["operation"][0]["definition"], url);
        assert_eq!(resource["operation"][0]["name"], "export");
    }
}

#[tokio::test]
async fn the_operations_that_it_names_exist() {
    let server = Server::start().await;
    let statement = server.get("/fhir/metadata").await.json();
    for operation in statement["rest"][0]["operation"].as_array().unwrap() {
        let path = format!("/fhir/${}", operation["name"].as_str().unwrap());
        assert!(
            fhirhose_server::routes()
                .iter()
                .any(|route| route.pattern == path),
            "{path}"
        );
    }
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
