//! The operations that the routes have, as the CapabilityStatement lists them, and the OperationDefinitions of exports.

use fhirhose_fhir::export_request::{ExportParameter, Wire, export_parameters};
use serde_json::{Value, json};

use super::BULK_DATA;
use crate::RouteMethods;

/// The draft that `$import` follows; nothing newer was ever published for it.
const IMPORT_DEFINITION: &str = "https://github.com/smart-on-fhir/bulk-import/blob/master/import-manifest.md";

/// The version of the guide that `$export-v4` speaks.
const STU4_VERSION: &str = "4.0.0-ballot";

/// On what an operation works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// `[base]/$name`.
    System,
    /// `[base]/Type/$name`.
    Type(&'a str),
    /// `[base]/Type/[id]/$name`.
    Instance(&'a str),
}

/// An operation of the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation<'a> {
    /// Without `$`.
    pub(super) name: &'a str,
    pub(super) scope: Scope<'a>,
}

impl<'a> Operation<'a> {
    /// Finds the operation that a route answers, if it is one: its path ends in a name with `$`.
    pub(super) fn of(route: &'a RouteMethods) -> Option<Self> {
        let parts: Vec<&str> = route.pattern.strip_prefix("/fhir/")?.split('/').collect();
        let (last, before) = parts.split_last()?;
        let name = last.strip_prefix('$')?;
        let scope = match before {
            [] => Scope::System,
            [resource_type] => Scope::Type(resource_type),
            [resource_type, "{id}"] => Scope::Instance(resource_type),
            _ => return None,
        };
        Some(Self { name, scope })
    }

    /// The entries of the CapabilityStatement. One certification suite looks for `patient-export` and `group-export`, another
    /// for `export`, so both names are there.
    pub(super) fn entries(self, base_url: &str) -> Vec<Value> {
        let guide = |id: &str| format!("{BULK_DATA}/OperationDefinition/{id}");
        let pinned = |id: &str| format!("{BULK_DATA}/OperationDefinition/{id}|{STU4_VERSION}");
        let ours = |id: &str| format!("{base_url}/OperationDefinition/{id}");
        let named: Vec<(&str, String)> = match (self.name, self.scope) {
            ("export", Scope::System) => vec![("export", guide("export"))],
            ("export", Scope::Type("Patient")) => both("patient-export", &guide("patient-export")),
            ("export", Scope::Instance("Group")) => both("group-export", &guide("group-export")),
            ("export", Scope::Instance("Patient")) => {
                vec![("patient-instance-export", ours("patient-instance-export"))]
            }
            ("export-v4", Scope::System) => vec![("export-v4", pinned("export"))],
            ("export-v4", Scope::Type("Patient")) => vec![("export-v4", pinned("patient-export"))],
            ("export-v4", Scope::Instance("Group")) => vec![("export-v4", pinned("group-export"))],
            ("export-v4", Scope::Instance("Patient")) => {
                vec![("patient-instance-export-v4", ours("patient-instance-export-v4"))]
            }
            ("import", Scope::System) => vec![("import", IMPORT_DEFINITION.to_owned())],
            (name, Scope::Type(resource_type) | Scope::Instance(resource_type)) => {
                let definition = format!("http://hl7.org/fhir/OperationDefinition/{resource_type}-{name}");
                vec![(name, definition)]
            }
            (name, Scope::System) => vec![(name, ours(name))],
        };
        let entry = |(name, definition): (&str, String)| json!({ "name": name, "definition": definition });
        named.into_iter().map(entry).collect()
    }
}

fn both<'a>(alias: &'a str, definition: &str) -> Vec<(&'a str, String)> {
    vec![("export", definition.to_owned()), (alias, definition.to_owned())]
}

/// An export that has an OperationDefinition here.
struct Defined {
    id: &'static str,
    title: &'static str,
    scope: Scope<'static>,
    /// The definition of the guide that it restricts.
    base: &'static str,
}

const DEFINED: [Defined; 4] = [
    Defined {
        id: "export",
        title: "Export of everything",
        scope: Scope::System,
        base: "export",
    },
    Defined {
        id: "patient-export",
        title: "Export of the compartments of all patients",
        scope: Scope::Type("Patient"),
        base: "patient-export",
    },
    Defined {
        id: "group-export",
        title: "Export of the compartments of a Group's members",
        scope: Scope::Instance("Group"),
        base: "group-export",
    },
    Defined {
        id: "patient-instance-export",
        title: "Export of the compartment of one patient",
        scope: Scope::Instance("Patient"),
        base: "patient-export",
    },
];

/// The parameters of `$digest`: name, least and most, type, direction, what they are.
const DIGEST_PARAMETERS: [(&str, u8, &str, &str, &str, &str); 9] = [
    ("_type", 1, "1", "code", "in", "The type whose tree is asked for."),
    (
        "prefix",
        0,
        "*",
        "string",
        "in",
        "Buckets that are asked for: the first hexadecimal digits of the SHA-256 of `Type/id`; \
            several by commas. Default: all.",
    ),
    (
        "depth",
        0,
        "1",
        "integer",
        "in",
        "How many digits below the prefixes are told apart: 0 to 2.",
    ),
    (
        "entries",
        0,
        "1",
        "boolean",
        "in",
        "Whether resources are listed instead of buckets.",
    ),
    ("type", 1, "1", "code", "out", "The type whose tree it is."),
    ("instant", 1, "1", "instant", "out", "The state that is shown."),
    (
        "bucket",
        0,
        "*",
        "string",
        "out",
        "prefix:count:sum, the sum of SHA-256 of `Type/id`, a line feed and the content's hash, \
            modulo 2^256, in hexadecimal digits.",
    ),
    (
        "entry",
        0,
        "*",
        "string",
        "out",
        "id:hash, the SHA-256 of the content in one canonical form.",
    ),
    (
        "next",
        0,
        "1",
        "url",
        "out",
        "Where the rest of the type is; the buckets of all pages add up.",
    ),
];

/// The OperationDefinition of `$digest`, which is this server's own.
fn digest(base_url: &str) -> Value {
    let described = DIGEST_PARAMETERS.map(|(name, min, max, kind, way, text)| {
        json!({ "name": name, "use": way, "min": min, "max": max, "documentation": text, "type": kind })
    });
    json!({
        "resourceType": "OperationDefinition",
        "id": "digest",
        "url": format!("{base_url}/OperationDefinition/digest"),
        "version": env!("CARGO_PKG_VERSION"),
        "name": "Digest",
        "title": "Hashes of the resources of a type",
        "status": "active",
        "kind": "operation",
        "affectsState": false,
        "code": "digest",
        "system": true,
        "type": false,
        "instance": false,
        "parameter": described,
    })
}

/// Makes the OperationDefinition with this id: `digest`, or one of the exports, with `-v4` behind it as STU4 has it.
pub(super) fn definition(id: &str, base_url: &str) -> Option<Value> {
    if id == "digest" {
        return Some(digest(base_url));
    }
    let (plain, wire) = match id.strip_suffix("-v4") {
        Some(plain) => (plain, Wire::Stu4),
        None => (id, Wire::Stu3),
    };
    let defined = DEFINED.iter().find(|defined| defined.id == plain)?;
    let (code, version) = match wire {
        Wire::Stu3 => ("export", String::new()),
        Wire::Stu4 => ("export-v4", format!("|{STU4_VERSION}")),
    };
    let mut definition = json!({
        "resourceType": "OperationDefinition",
        "id": id,
        "url": format!("{base_url}/OperationDefinition/{id}"),
        "version": env!("CARGO_PKG_VERSION"),
        "name": name(id),
        "title": defined.title,
        "status": "active",
        "kind": "operation",
        "affectsState": false,
        "code": code,
        "base": format!("{BULK_DATA}/OperationDefinition/{}{version}", defined.base),
        "system": defined.scope == Scope::System,
        "type": matches!(defined.scope, Scope::Type(_)),
        "instance": matches!(defined.scope, Scope::Instance(_)),
        "parameter": parameters(defined.scope, wire),
    });
    if let Scope::Type(resource_type) | Scope::Instance(resource_type) = defined.scope {
        definition["resource"] = json!([resource_type]);
    }
    Some(definition)
}

fn parameters(scope: Scope<'_>, wire: Wire) -> Vec<Value> {
    let described = |parameter: &ExportParameter| {
        json!({
            "name": parameter.name,
            "use": "in",
            "min": 0,
            "max": if parameter.repeats { "*" } else { "1" },
            "documentation": parameter.documentation,
            "type": parameter.fhir_type(wire),
        })
    };
    let taken = |parameter: &&ExportParameter| scope != Scope::System || !parameter.is_below_system_only();
    export_parameters().iter().filter(taken).map(described).collect()
}

/// `group-export` as a name for machines: `GroupExport`.
fn name(id: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    id.split('-').map(capital).collect()
}
