//! One table of all routes: a route without a line here fails, and so does a line that `docs/operations/access.md` does not have.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::json;

use super::{by, populated};
use crate::fixture::Server;
use crate::http::Answer;

/// What a method of a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it is public.
    Nothing,
    /// It proves who asks by itself, and answers as OAuth has it.
    Proof,
    /// One scope; each of its actions counts. `{type}` is that of the path.
    Scope(&'static str),
    /// One scope of the type that this query names; each of its actions counts.
    Query(&'static str, &'static str),
    /// Scopes by what is asked for; these do for all.
    Content(&'static str),
    /// The job of the client itself, with a token as its kick-off needs it.
    OwnJob(Job),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    Export,
    Import,
    Create,
}

const EXPORT: Needs = Needs::Content("system/*.rs");

const CASES: &[(&str, &str, Needs)] = &[
    ("/health", "GET, HEAD", Needs::Nothing),
    ("/jobs", "GET", Needs::Scope("system/operator")),
    ("/jobs/{job}", "GET", Needs::Scope("system/operator")),
    ("/jobs/{job}/pause", "POST", Needs::Scope("system/operator")),
    ("/jobs/{job}/resume", "POST", Needs::Scope("system/operator")),
    ("/jobs/{job}/cancel", "POST", Needs::Scope("system/operator")),
    ("/clients", "GET, POST", Needs::Scope("system/operator")),
    ("/clients/{client}", "GET", Needs::Scope("system/operator")),
    (
        "/clients/{client}/revoke",
        "POST",
        Needs::Scope("system/operator"),
    ),
    (
        "/clients/{client}/rotate",
        "POST",
        Needs::Scope("system/operator"),
    ),
    ("/auth/token", "POST", Needs::Proof),
    ("/auth/jwks", "GET, HEAD", Needs::Nothing),
    ("/auth/introspect", "POST", Needs::Proof),
    (
        "/.well-known/oauth-authorization-server",
        "GET, HEAD",
        Needs::Nothing,
    ),
    (
        "/.well-known/oauth-protected-resource/fhir",
        "GET, HEAD",
        Needs::Nothing,
    ),
    (
        "/fhir/.well-known/smart-configuration",
        "GET, HEAD",
        Needs::Nothing,
    ),
    ("/fhir/metadata", "GET, HEAD", Needs::Nothing),
    ("/fhir/$export", "GET, POST", EXPORT),
    ("/fhir/Patient/$export", "GET, POST", EXPORT),
    ("/fhir/Patient/{id}/$export", "GET, POST", EXPORT),
    ("/fhir/Group/{id}/$export", "GET, POST", EXPORT),
    ("/fhir/$export-v4", "POST", EXPORT),
    ("/fhir/Patient/$export-v4", "POST", EXPORT),
    ("/fhir/Patient/{id}/$export-v4", "POST", EXPORT),
    ("/fhir/Group/{id}/$export-v4", "POST", EXPORT),
    (
        "/fhir/$export-status/{job}",
        "GET, DELETE",
        Needs::OwnJob(Job::Export),
    ),
    (
        "/fhir/$export-file/{job}/{file}",
        "GET, HEAD",
        Needs::OwnJob(Job::Export),
    ),
    ("/fhir/$import", "POST", Needs::Scope("system/bulk-import")),
    (
        "/fhir/$import-status/{job}",
        "GET, DELETE",
        Needs::OwnJob(Job::Import),
    ),
    (
        "/fhir/$import-file/{job}/{file}",
        "GET, HEAD",
        Needs::OwnJob(Job::Import),
    ),
    (
        "/fhir/$digest",
        "GET",
        Needs::Query("_type=Patient", "system/Patient.rs"),
    ),
    (
        "/fhir/Patient/{id}/$everything",
        "GET, POST",
        Needs::Scope("system/Patient.r"),
    ),
    (
        "/fhir/$async-status/{job}",
        "GET, DELETE",
        Needs::OwnJob(Job::Create),
    ),
    ("/fhir", "GET, HEAD, POST", Needs::Content("")),
    ("/fhir/{type}", "GET, HEAD", Needs::Scope("system/{type}.rs")),
    ("/fhir/{type}", "POST", Needs::Scope("system/{type}.c")),
    ("/fhir/{type}", "PUT", Needs::Scope("system/{type}.us")),
    ("/fhir/{type}", "DELETE", Needs::Scope("system/{type}.ds")),
    ("/fhir/{type}/_search", "POST", Needs::Scope("system/{type}.rs")),
    ("/fhir/{type}/{id}", "GET, HEAD", Needs::Scope("system/{type}.r")),
    ("/fhir/{type}/{id}", "PUT", Needs::Scope("system/{type}.u")),
    ("/fhir/{type}/{id}", "DELETE", Needs::Scope("system/{type}.d")),
    (
        "/fhir/{type}/{id}/_history",
        "GET, HEAD",
        Needs::Scope("system/{type}.r"),
    ),
    (
        "/fhir/{type}/{id}/_history/{version}",
        "GET, HEAD",
        Needs::Scope("system/{type}.r"),
    ),
];

/// A scope that no route asks for.
const UNRELATED: &str = "system/Basic.cruds";

pub(super) fn each_case() -> impl Iterator<Item = (&'static str, &'static str, Needs)> {
    let cases = CASES.iter();
    cases.flat_map(|(pattern, methods, needs)| {
        methods.split(", ").map(move |method| (*pattern, method, *needs))
    })
}

/// K-09, A-50: who adds a route says here who may use it.
#[test]
fn every_method_of_every_route_has_a_case() {
    let routes = fhirhose_server::routes();
    let there: BTreeSet<(&str, &str)> = routes
        .iter()
        .flat_map(|route| route.methods.iter().map(|method| (route.pattern, *method)))
        .collect();
    let listed: BTreeSet<(&str, &str)> = each_case()
        .map(|(pattern, method, _)| (pattern, method))
        .collect();
    assert_eq!(each_case().count(), listed.len(), "a route is listed twice");
    let unlisted: Vec<_> = there.difference(&listed).collect();
    assert!(unlisted.is_empty(), "no case says who may use {unlisted:?}");
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(gone.is_empty(), "there are no routes {gone:?}");
}

#[test]
fn the_table_for_people_says_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/access.md");
    let text = std::fs::read_to_string(path).expect("docs/operations/access.md");
    let rows: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with("| `/"))
        .map(str::to_owned)
        .collect();
    let says = |needs: Needs| match needs {
        Needs::Nothing => "nothing".to_owned(),
        Needs::Proof => "a proof of its own, see RFC 7523".to_owned(),
        Needs::Scope(scope) => format!("`{scope}`"),
        Needs::Query(..) => "`system/{type}.rs` of the `_type` that is asked for".to_owned(),
        Needs::Content("") => "what each entry needs".to_owned(),
        Needs::Content(_) => "reading what is exported, see below".to_owned(),
        Needs::OwnJob(Job::Export) => "the client's own job, and reading all that it exports".to_owned(),
        Needs::OwnJob(Job::Import) => "the client's own job, and `system/bulk-import`".to_owned(),
        Needs::OwnJob(Job::Create) => "the client's own job, and `system/Group.c`".to_owned(),
    };
    let expected: BTreeSet<String> = CASES
        .iter()
        .map(|(pattern, methods, needs)| format!("| `{pattern}` | {methods} | {} |", says(*needs)))
        .collect();
    let missing: Vec<_> = expected.difference(&rows).collect();
    assert!(missing.is_empty(), "not in {path}: {missing:#?}");
    let extra: Vec<_> = rows.difference(&expected).collect();
    assert!(extra.is_empty(), "only in {path}: {extra:#?}");
}

/// A job of each kind with a file, of one client.
struct Jobs {
    export: String,
    import: String,
    create: String,
    /// The last two parts of the paths of their files.
    export_file: String,
    import_file: String,
}

impl Jobs {
    async fn make(server: &mut Server) -> Self {
        let last = |url: &str, parts: usize| {
            let pieces: Vec<&str> = url.rsplit('/').take(parts).collect();
            pieces.into_iter().rev().collect::<Vec<_>>().join("/")
        };
        let (status, manifest) = server.export("$export?_type=Patient").await;
        let file = manifest["output"][0]["url"].as_str().expect("a file").to_owned();
        let url = server.input("refused.ndjson", "no JSON\n");
        let accepted = server.kick_off_import(&[(None, &url)]).await;
        let import = accepted.header("content-location").to_owned();
        let report = server.finished(&import).await.json();
        let import_file = report["error"][0]["url"].as_str().expect("a file").to_owned();
        let group = json!({"resourceType": "Group", "type": "person", "actual": true});
        let create = server
            .ask(Method::POST, "/fhir/Group")
            .json(&group)
            .asynchronous();
        let accepted = create.send().await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let create = accepted.header("content-location").to_owned();
        server.finished(&create).await;
        Self {
            export: last(&status, 1),
            import: last(&import, 1),
            create: last(&create, 1),
            export_file: last(&file, 2),
            import_file: last(&import_file, 2),
        }
    }

    /// Fills a pattern in with a job of its kind.
    fn fill(&self, pattern: &str) -> String {
        let (job, file) = match pattern {
            _ if pattern.contains("$export") => (&self.export, &self.export_file),
            _ if pattern.contains("$import") => (&self.import, &self.import_file),
            _ => (&self.create, &self.create),
        };
        pattern.replace("{job}/{file}", file).replace("{job}", job)
    }
}

fn fill(pattern: &str) -> String {
    let id = if pattern.contains("/Group/") { "g1" } else { "p1" };
    let path = pattern.replace("{type}", "Patient").replace("{id}", id);
    path.replace("{version}", "1")
        .replace("{job}", "0190163d-8694-739b-aea5-966c26f8ad91")
}

async fn ask(server: &Server, method: &str, path: &str, token: Option<&str>) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    by(server.ask(method, path), token).send().await
}

async fn token(server: &Server, id: &str, scope: &str) -> String {
    let client = server.register(id, scope).await;
    server.token_of(&client, scope).await
}

/// K-44, A-51: nobody gets in without a token, or with one that is worth nothing.
#[tokio::test]
async fn without_a_token_only_public_routes_answer_k_44_a_51() {
    let server = populated().await;
    for (pattern, method, needs) in each_case() {
        let path = fill(pattern);
        let answer = ask(&server, method, &path, None).await;
        match needs {
            Needs::Nothing => assert!(![401, 403].contains(&answer.status), "{method} {path}"),
            Needs::Proof => {}
            _ => {
                for token in [None, Some("e30.e30.e30"), Some("x")] {
                    let answer = ask(&server, method, &path, token).await;
                    assert_eq!(answer.status, 401, "{method} {path} with {token:?}");
                    assert!(answer.header("www-authenticate").starts_with("Bearer"));
                    if method != "HEAD" {
                        answer.refusal(401);
                    }
                }
            }
        }
    }
}

/// K-09, A-50: a token without the scope gets 403; so does one with only a part of it.
#[tokio::test]
async fn a_token_needs_the_scope_of_the_route_and_all_of_its_actions_a_50() {
    let server = populated().await;
    let unrelated = token(&server, "unrelated", UNRELATED).await;
    for (number, (pattern, method, needs)) in each_case().enumerate() {
        let mut path = fill(pattern);
        if let Needs::Query(query, _) = needs {
            path = format!("{path}?{query}");
        }
        let scope = match needs {
            Needs::Query(_, scope) => scope.to_owned(),
            Needs::Scope(scope) | Needs::Content(scope) => scope.replace("{type}", "Patient"),
            Needs::Nothing | Needs::Proof | Needs::OwnJob(_) => continue,
        };
        let answer = ask(&server, method, &path, Some(&unrelated)).await;
        if scope.is_empty() {
            assert!(![401, 403].contains(&answer.status), "{method} {path}");
            continue;
        }
        // A kick-off tells of its headers first.
        if !pattern.contains("$export") {
            assert_eq!(answer.status, 403, "{method} {path} with {UNRELATED}");
        }
        let right = token(&server, &format!("right-{number}"), &scope).await;
        let answer = ask(&server, method, &path, Some(&right)).await;
        assert!(
            ![401, 403].contains(&answer.status),
            "{method} {path} with {scope}: {}",
            answer.status
        );
        let Some((before, actions)) = scope.rsplit_once('.').filter(|(_, actions)| actions.len() > 1) else {
            continue;
        };
        if matches!(needs, Needs::Content(_)) {
            continue;
        }
        for left_out in actions.chars() {
            let less = format!("{before}.{}", actions.replace(left_out, ""));
            let token = token(&server, &format!("less-{number}-{left_out}"), &less).await;
            let answer = ask(&server, method, &path, Some(&token)).await;
            assert_eq!(answer.status, 403, "{method} {path} with {less}");
        }
    }
}

/// A-53, A-54, S-02, D-07, F-04: jobs and their files are their client's, and need what their kick-off needed.
#[tokio::test]
async fn jobs_are_for_their_own_client_with_a_token_that_covers_them_a_53() {
    let mut server = populated().await;
    let scopes = "system/*.rs system/bulk-import system/Group.c";
    let owner = server.sign_in("owner", scopes).await;
    let jobs = Jobs::make(&mut server).await;
    let own = server.token_of(&owner, scopes).await;
    let small = server.token_of(&owner, "system/Observation.rs").await;
    let other = token(&server, "other", scopes).await;
    server.token = None;
    let of_jobs = || each_case().filter(|(_, _, needs)| matches!(needs, Needs::OwnJob(_)));
    let (deleting, reading): (Vec<_>, Vec<_>) = of_jobs().partition(|(_, method, _)| *method == "DELETE");
    for (pattern, method, _) in reading.into_iter().chain(deleting) {
        let path = jobs.fill(pattern);
        for (token, expected) in [(&other, 404), (&small, 403)] {
            let answer = ask(&server, method, &path, Some(token)).await;
            assert_eq!(answer.status, expected, "{method} {path}");
            if method != "HEAD" {
                answer.refusal(expected);
            }
        }
        let answer = ask(&server, method, &path, Some(&own)).await;
        assert!(
            [200, 202].contains(&answer.status),
            "{method} {path}: {}",
            answer.status
        );
    }
}
