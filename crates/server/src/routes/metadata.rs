//! `GET [base]/metadata`: the CapabilityStatement, made of what there is (spec §4.5).

use fhirhose_fhir::resource_type::ResourceType;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::{self, FHIR_JSON};
use crate::app::App;
use crate::call::{Answer, Call};

/// Where the operations of Bulk Data are defined.
const BULK_DATA: &str = "http://hl7.org/fhir/uv/bulkdata";

/// The draft that `$import` follows; nothing newer was ever published for it.
const IMPORT_DEFINITION: &str = "https://github.com/smart-on-fhir/bulk-import/blob/master/import-manifest.md";

/// Answers with the CapabilityStatement.
pub(super) async fn metadata(call: Call) -> Answer {
    call.check_interaction()?;
    let statement = statement(&call.app).to_string();
    Ok(answer::text(StatusCode::OK, FHIR_JSON, statement))
}

fn statement(app: &App) -> Value {
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": app.started.to_string(),
        "kind": "instance",
        "instantiates": [format!("{BULK_DATA}/CapabilityStatement/bulk-data")],
        "software": { "name": "fhirhose", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "fhirhose, the bulk FHIR engine", "url": app.base_url },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{
            "mode": "server",
            "documentation": "Bulk export and import, and single resources by id. Exports at patient and Group level hold the \
                Patient compartment of R4 and Device by its patient. `_type`, `_since`, `_elements` and `_outputFormat` are \
                supported; `_since` looks at each resource's own lastUpdated, not at who joined a Group when.",
            "security": { "description": "No authorization: the server listens on loopback addresses only." },
            "resource": ResourceType::all().map(resource).collect::<Vec<_>>(),
            "operation": [
                operation("export", &format!("{BULK_DATA}/OperationDefinition/export")),
                operation("import", IMPORT_DEFINITION),
            ],
        }],
    })
}

fn resource(resource_type: ResourceType) -> Value {
    let interactions = ["read", "vread", "create", "update", "delete"];
    let mut resource = json!({
        "type": resource_type.name(),
        "interaction": interactions.map(|code| json!({ "code": code })),
        "versioning": "versioned",
        "readHistory": false,
        "updateCreate": true,
        "conditionalCreate": false,
        "conditionalRead": "not-match",
        "conditionalUpdate": false,
        "conditionalDelete": "not-supported",
    });
    let definition = match resource_type {
        ResourceType::PATIENT => "patient-export",
        ResourceType::GROUP => "group-export",
        _ => return resource,
    };
    let definition = format!("{BULK_DATA}/OperationDefinition/{definition}");
    resource["operation"] = json!([operation("export", &definition)]);
    resource
}

fn operation(name: &str, definition: &str) -> Value {
    json!({ "name": name, "definition": definition })
}
