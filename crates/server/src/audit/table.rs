//! What is told of the requests of each route: one row for each pattern and its methods. A test holds it to the list of routes.

use hyper::Method;

use super::act::Act;

/// What is told of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audited {
    /// Nothing, for this reason. That it was refused is told.
    Not(&'static str),
    /// One event when it is answered.
    After(Act),
    /// The route opens an event before it does what was asked for, and closes it after.
    Around(Act),
    /// One event the first time that a job's end is delivered.
    Delivered(Act),
    /// A token, or that it was refused.
    Token,
}

const PUBLIC: Audited = Audited::Not("it is public and tells of nobody");
const OWN_JOB: Audited = Audited::Not("it tells a client of its own job, and nothing of anybody's data");
const NO_BODY: Audited = Audited::Not("it sends nothing of the file");

/// One row for each pattern and methods.
static TABLE: &[(&str, &[Method], Audited)] = &[
    ("/health", &[Method::GET, Method::HEAD], PUBLIC),
    ("/jobs", &[Method::GET], Audited::After(Act::OperatorRead)),
    ("/jobs/{job}", &[Method::GET], Audited::After(Act::OperatorRead)),
    (
        "/jobs/{job}/pause",
        &[Method::POST],
        Audited::Around(Act::JobControl),
    ),
    (
        "/jobs/{job}/resume",
        &[Method::POST],
        Audited::Around(Act::JobControl),
    ),
    (
        "/jobs/{job}/cancel",
        &[Method::POST],
        Audited::Around(Act::JobControl),
    ),
    ("/clients", &[Method::GET], Audited::After(Act::OperatorRead)),
    ("/clients", &[Method::POST], Audited::Around(Act::ClientAdd)),
    (
        "/clients/{client}",
        &[Method::GET],
        Audited::After(Act::OperatorRead),
    ),
    (
        "/clients/{client}/revoke",
        &[Method::POST],
        Audited::Around(Act::ClientRevoke),
    ),
    (
        "/clients/{client}/rotate",
        &[Method::POST],
        Audited::Around(Act::ClientRotate),
    ),
    ("/auth/token", &[Method::POST], Audited::Token),
    (
        "/auth/introspect",
        &[Method::POST],
        Audited::Not("it tells a client of its own token"),
    ),
    (
        "/.well-known/oauth-authorization-server",
        &[Method::GET, Method::HEAD],
        PUBLIC,
    ),
    (
        "/.well-known/oauth-protected-resource/fhir",
        &[Method::GET, Method::HEAD],
        PUBLIC,
    ),
    (
        "/fhir/.well-known/smart-configuration",
        &[Method::GET, Method::HEAD],
        PUBLIC,
    ),
    ("/auth/jwks", &[Method::GET, Method::HEAD], PUBLIC),
    ("/fhir/metadata", &[Method::GET, Method::HEAD], PUBLIC),
    ("/fhir/$export", &[Method::GET, Method::POST], EXPORT),
    ("/fhir/Patient/$export", &[Method::GET, Method::POST], EXPORT),
    ("/fhir/Patient/{id}/$export", &[Method::GET, Method::POST], EXPORT),
    ("/fhir/Group/{id}/$export", &[Method::GET, Method::POST], EXPORT),
    ("/fhir/$export-v4", &[Method::POST], EXPORT),
    ("/fhir/Patient/$export-v4", &[Method::POST], EXPORT),
    ("/fhir/Patient/{id}/$export-v4", &[Method::POST], EXPORT),
    ("/fhir/Group/{id}/$export-v4", &[Method::POST], EXPORT),
    (
        "/fhir/$export-status/{job}",
        &[Method::GET],
        Audited::Delivered(Act::ExportComplete),
    ),
    ("/fhir/$export-status/{job}", &[Method::DELETE], DELETE),
    ("/fhir/$export-file/{job}/{file}", &[Method::GET], DOWNLOAD),
    ("/fhir/$export-file/{job}/{file}", &[Method::HEAD], NO_BODY),
    (
        "/fhir/$import",
        &[Method::POST],
        Audited::Around(Act::ImportKickOff),
    ),
    (
        "/fhir/$import-status/{job}",
        &[Method::GET],
        Audited::Delivered(Act::ImportComplete),
    ),
    ("/fhir/$import-status/{job}", &[Method::DELETE], DELETE),
    ("/fhir/$import-file/{job}/{file}", &[Method::GET], DOWNLOAD),
    ("/fhir/$import-file/{job}/{file}", &[Method::HEAD], NO_BODY),
    ("/fhir/$digest", &[Method::GET], Audited::After(Act::Digest)),
    (
        "/fhir/Patient/{id}/$everything",
        &[Method::GET, Method::POST],
        Audited::After(Act::Everything),
    ),
    ("/fhir/$async-status/{job}", &[Method::GET], OWN_JOB),
    ("/fhir/$async-status/{job}", &[Method::DELETE], DELETE),
    (
        "/fhir",
        &[Method::GET, Method::HEAD],
        Audited::Not("a search of all types is always refused"),
    ),
    ("/fhir", &[Method::POST], Audited::After(Act::Bundle)),
    (
        "/fhir/{type}",
        &[Method::GET, Method::HEAD],
        Audited::After(Act::Search),
    ),
    ("/fhir/{type}", &[Method::POST], Audited::After(Act::Create)),
    ("/fhir/{type}", &[Method::PUT], Audited::After(Act::Update)),
    ("/fhir/{type}", &[Method::DELETE], Audited::After(Act::Delete)),
    (
        "/fhir/{type}/_search",
        &[Method::POST],
        Audited::After(Act::Search),
    ),
    (
        "/fhir/{type}/{id}",
        &[Method::GET, Method::HEAD],
        Audited::After(Act::Read),
    ),
    ("/fhir/{type}/{id}", &[Method::PUT], Audited::After(Act::Update)),
    (
        "/fhir/{type}/{id}",
        &[Method::DELETE],
        Audited::After(Act::Delete),
    ),
    (
        "/fhir/{type}/{id}/_history",
        &[Method::GET, Method::HEAD],
        Audited::After(Act::History),
    ),
    (
        "/fhir/{type}/{id}/_history/{version}",
        &[Method::GET, Method::HEAD],
        Audited::After(Act::Vread),
    ),
];

const EXPORT: Audited = Audited::Around(Act::ExportKickOff);
const DELETE: Audited = Audited::Around(Act::JobDelete);
const DOWNLOAD: Audited = Audited::Around(Act::Download);

/// Says what is told of a request; of a route that is not in the table it is told as the operator's.
pub(crate) fn audited(pattern: &str, method: &Method) -> Audited {
    let row = TABLE
        .iter()
        .find(|(known, methods, _)| *known == pattern && methods.contains(method));
    row.map_or(Audited::After(Act::OperatorRead), |(_, _, audited)| *audited)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_method_of_each_route_has_one_row() {
        let mut rows = BTreeSet::new();
        for (pattern, methods, _) in TABLE {
            for method in *methods {
                assert!(
                    rows.insert((*pattern, method.to_string())),
                    "{method} {pattern} twice"
                );
            }
        }
        let mut routes = BTreeSet::new();
        for route in crate::routes() {
            for method in route.methods {
                routes.insert((route.pattern, method.to_owned()));
            }
        }
        let missing: Vec<_> = routes.difference(&rows).collect();
        let stale: Vec<_> = rows.difference(&routes).collect();
        assert!(missing.is_empty() && stale.is_empty(), "{missing:?} {stale:?}");
    }
}
