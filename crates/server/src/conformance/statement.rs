//! The CapabilityStatement, made of what there is.

use fhirhose_bulk::export::GroupJoiners;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Parameter, parameters};
use serde_json::{Map, Value, json};

use super::operations::{Operation, Scope};
use super::{BULK_DATA, COHORT_PROFILE};
use crate::app::App;
use crate::{RouteMethods, ServerSettings, routes};

/// What people have to know of exports (spec §4.5), one paragraph each.
const DOCUMENTATION: &[&str] = &[
    "Exports: `$export` (STU1 to STU3, GET and POST) and `$export-v4` (the STU4 ballot, POST) for the system, all patients, a Group, and \
     one patient. Parameters are those of the OperationDefinitions of this server at `OperationDefinition/export`, `patient-export`, \
     `group-export` and `patient-instance-export`, with `-v4` behind the name for STU4; unknown ones are refused, or left out and \
     reported under `Prefer: handling=lenient`. Types are those of `rest.resource`; no profile is claimed or checked.",
    "Levels: exports of patients and Groups hold the Patient compartment of FHIR R4 and Device by its `patient`. Inactive and former \
     members of a Group are not exported; nested Groups are followed.",
    "Formats: NDJSON, sent plain, as gzip or as zstd. Files are split by type and size, see `_maximumFileSize`; several files of a type are \
     numbered. A type without resources has no file.",
    "`includeAssociatedData` takes LatestProvenanceResources and RelevantProvenanceResources. Without it, all Provenance of the level comes.",
    "`_typeFilter` takes the search parameters listed at each type; result parameters, chaining and `_has` are refused.",
    "`_dryRun=true` is an extension of this server: nothing is exported, and the answer is 200 with a Parameters resource that tells how \
     many resources and bytes an export would have by type, and how long it would take.",
    "`$digest` is an extension of this server: hashes of the resources of a type, as a tree, by which two servers are compared without \
     reading what is equal.",
    "Search: by the parameters listed at each type, with `_count`, `_total`, `_sort` by `_id` and `_lastUpdated`, `_elements`, \
     `_summary=count`, and `_include` and `_revinclude` for one step. Pages are of one state, for as long as it is kept. A search that is \
     narrowed neither by ids, nor by a patient, nor by `_lastUpdated` looks at the whole type, up to a limit, and says so.",
    "Histories are of one resource, and go back as far as versions are kept. Transactions are done whole or not at all; a conditional \
     interaction needs a condition that matches one resource at most.",
];

/// What is at a path without an operation: its pattern, its method, and the interactions that it means.
const INTERACTIONS: &[(&str, &str, &[&str])] = &[
    ("/fhir/{type}", "GET", &["search-type"]),
    ("/fhir/{type}", "POST", &["create"]),
    ("/fhir/{type}/{id}", "GET", &["read"]),
    ("/fhir/{type}/{id}", "PUT", &["update"]),
    ("/fhir/{type}/{id}", "PATCH", &["patch"]),
    ("/fhir/{type}/{id}", "DELETE", &["delete"]),
    ("/fhir/{type}/{id}/_history", "GET", &["history-instance"]),
    ("/fhir/{type}/{id}/_history/{version}", "GET", &["vread"]),
    ("/fhir", "POST", &["batch", "transaction"]),
];

/// What depends on the operator's choice.
fn chosen(settings: &ServerSettings) -> [&'static str; 2] {
    let helpers = if settings.export_helper_resources {
        "Helper resources: exports of patients and Groups add the Practitioner, PractitionerRole, Organization, Location, Medication and \
         Device resources that exported resources refer to, each once, unless `_type` leaves their types out. `_since` and \
         `_typeFilter` do not apply to them."
    } else {
        "Helper resources: none; what lies outside the Patient compartment has to be exported at system level."
    };
    let joiners = match settings.export_group_joiners {
        GroupJoiners::WholeHistory => {
            "`_since` compares each resource's own `meta.lastUpdated`, not the patient's. Of members who joined a Group since then \
             everything is exported; members who left are named in an OperationOutcome of the manifest. Deletions are listed as \
             long as versions are kept."
        }
        GroupJoiners::ChangesOnly => {
            "`_since` compares each resource's own `meta.lastUpdated`, not the patient's, and says nothing of who joined a Group when: \
             what members had before they joined does not come. Members who left are named in an OperationOutcome of the \
             manifest. Deletions are listed as long as versions are kept."
        }
    };
    [helpers, joiners]
}

/// Makes the CapabilityStatement.
pub(crate) fn statement(app: &App) -> Value {
    let routes = routes();
    let documentation = [DOCUMENTATION, &chosen(&app.settings)].concat().join("\n\n");
    let rest = json!({
        "mode": "server",
        "documentation": documentation,
        "security": security(app),
        "resource": ResourceType::all().map(|name| resource(name, &routes, app)).collect::<Vec<_>>(),
        "interaction": interactions(&routes, |pattern| pattern == "/fhir"),
        "operation": operations(&routes, &app.base_url, |scope| scope == Scope::System),
    });
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
        "rest": [without_empty_lists(rest)],
    })
}

/// How clients are let in. The extension is of old times, and certification looks for it.
fn security(app: &App) -> Value {
    if !app.authority.requires_access_token() {
        return json!({
            "description": "No authorization: the server listens on loopback addresses only. Files need no token."
        });
    }
    let mut security = json!({
        "service": [{
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
                "display": "SMART-on-FHIR",
            }],
            "text": "SMART Backend Services",
        }],
        "description": "Access tokens of SMART Backend Services, in the header Authorization, for everything but this statement and \
            the documents below .well-known; for statuses and files too.",
    });
    if let Some(token_url) = app.authority.token_url() {
        security["extension"] = json!([{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{ "url": "token", "valueUri": token_url }],
        }]);
    }
    security
}

fn resource(resource_type: ResourceType, routes: &[RouteMethods], app: &App) -> Value {
    let name = resource_type.name();
    let answers = |pattern: &str, method: &str| {
        let at = |route: &RouteMethods| route.pattern == pattern && route.methods.contains(&method);
        routes.iter().any(at)
    };
    let of_type = |scope: Scope<'_>| {
        let of = [Scope::Type(name), Scope::Instance(name)];
        of.contains(&scope) || [Scope::Type("{type}"), Scope::Instance("{type}")].contains(&scope)
    };
    let mut resource = json!({
        "type": name,
        "interaction": interactions(routes, |pattern| pattern.starts_with("/fhir/{type}")),
        "versioning": "versioned",
        "readHistory": answers("/fhir/{type}/{id}/_history", "GET"),
        "updateCreate": true,
        "conditionalCreate": true,
        "conditionalRead": "full-support",
        "conditionalUpdate": answers("/fhir/{type}", "PUT"),
        "conditionalDelete": if answers("/fhir/{type}", "DELETE") { "single" } else { "not-supported" },
        "operation": operations(routes, &app.base_url, of_type),
        "searchParam": parameters(resource_type).map(|parameter| search_parameter(&parameter)).collect::<Vec<_>>(),
    });
    if resource_type == ResourceType::GROUP {
        resource["supportedProfile"] = json!([COHORT_PROFILE]);
    }
    without_empty_lists(resource)
}

/// Exports' `_typeFilter` and REST search take the same ones (T-10), so none is marked as of REST only.
fn search_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.code(),
        "definition": parameter.definition(),
        "type": parameter.kind(),
        "documentation": parameter.documentation(),
    })
}

fn interactions(routes: &[RouteMethods], is_meant: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut codes = Vec::new();
    for route in routes.iter().filter(|route| is_meant(route.pattern)) {
        for (_, _, meant) in INTERACTIONS
            .iter()
            .filter(|(pattern, method, _)| *pattern == route.pattern && route.methods.contains(method))
        {
            codes.extend(meant.iter().map(|code| json!({ "code": code })));
        }
    }
    codes
}

fn operations(routes: &[RouteMethods], base_url: &str, is_meant: impl Fn(Scope<'_>) -> bool) -> Vec<Value> {
    let found = routes.iter().filter_map(Operation::of);
    let meant = found.filter(|operation| is_meant(operation.scope));
    meant.flat_map(|operation| operation.entries(base_url)).collect()
}

/// JSON of FHIR has no empty lists.
fn without_empty_lists(value: Value) -> Value {
    let is_kept = |(_, value): &(String, Value)| value.as_array().is_none_or(|list| !list.is_empty());
    match value {
        Value::Object(members) => Value::Object(members.into_iter().filter(is_kept).collect::<Map<_, _>>()),
        other => other,
    }
}
