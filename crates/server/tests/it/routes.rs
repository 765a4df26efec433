//! Every path with its methods; all else is 404 or 405.

use hyper::Method;

use crate::fixture::Server;

/// The whole surface. A change here is a change of what users see.
const SURFACE: &[(&str, &str)] = &[
    ("/health", "GET, HEAD"),
    ("/jobs", "GET"),
    ("/jobs/{job}", "GET"),
    ("/jobs/{job}/pause", "POST"),
    ("/jobs/{job}/resume", "POST"),
    ("/jobs/{job}/cancel", "POST"),
    ("/clients", "GET, POST"),
    ("/clients/{client}", "GET"),
    ("/clients/{client}/revoke", "POST"),
    ("/clients/{client}/rotate", "POST"),
    ("/auth/token", "POST"),
    ("/auth/jwks", "GET, HEAD"),
    ("/auth/introspect", "POST"),
    ("/.well-known/oauth-authorization-server", "GET, HEAD"),
    ("/.well-known/oauth-protected-resource/fhir", "GET, HEAD"),
    ("/fhir/.well-known/smart-configuration", "GET, HEAD"),
    ("/fhir/metadata", "GET, HEAD"),
    ("/fhir/$export", "GET, POST"),
    ("/fhir/Patient/$export", "GET, POST"),
    ("/fhir/Patient/{id}/$export", "GET, POST"),
    ("/fhir/Group/{id}/$export", "GET, POST"),
    ("/fhir/$export-v4", "POST"),
    ("/fhir/Patient/$export-v4", "POST"),
    ("/fhir/Patient/{id}/$export-v4", "POST"),
    ("/fhir/Group/{id}/$export-v4", "POST"),
    ("/fhir/$export-status/{job}", "GET, DELETE"),
    ("/fhir/$export-file/{job}/{file}", "GET, HEAD"),
    ("/fhir/$import", "POST"),
    ("/fhir/$import-status/{job}", "GET, DELETE"),
    ("/fhir/$import-file/{job}/{file}", "GET, HEAD"),
    ("/fhir/$digest", "GET"),
    ("/fhir/Patient/{id}/$everything", "GET, POST"),
    ("/fhir/$async-status/{job}", "GET, DELETE"),
    ("/fhir", "GET, HEAD, POST"),
    ("/fhir/{type}", "GET, HEAD, POST, PUT, DELETE"),
    ("/fhir/{type}/_search", "POST"),
    ("/fhir/{type}/{id}", "GET, HEAD, PUT, DELETE"),
    ("/fhir/{type}/{id}/_history", "GET, HEAD"),
    ("/fhir/{type}/{id}/_history/{version}", "GET, HEAD"),
];

#[test]
fn the_surface_is_the_one_that_is_documented() {
    let routes = fhirhose_server::routes();
    let listed: Vec<(&str, String)> = routes
        .iter()
        .map(|route| (route.pattern, route.methods.join(", ")))
        .collect();
    let expected: Vec<(&str, String)> = SURFACE
        .iter()
        .map(|(pattern, methods)| (*pattern, (*methods).to_owned()))
        .collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn other_methods_get_405_with_allow_k_46() {
    let server = Server::start().await;
    for &(pattern, allowed) in SURFACE {
        let path = pattern.replace("{type}", "Patient").replace(['{', '}'], "");
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND",
        ] {
            let answer = server
                .ask(Method::from_bytes(method.as_bytes()).unwrap(), &path)
                .send()
                .await;
            let is_allowed = allowed.split(", ").any(|known| known == method);
            assert_eq!(
                answer.status == 405,
                !is_allowed,
                "{method} {path}: {}",
                answer.status
            );
            if !is_allowed {
                assert_eq!(answer.header("allow"), allowed, "{method} {path}");
                // A HEAD has no body to look at; below /auth errors are those of OAuth.
                match method {
                    "HEAD" => {}
                    _ if path.starts_with("/auth/") => assert_eq!(answer.json()["error"], "invalid_request"),
                    _ => {
                        answer.refusal(405);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_with_an_outcome() {
    let server = Server::start().await;
    for path in [
        "/",
        "/fhir/",
        "/fhir/$export/",
        "/fhir/$unknown/a/b/c",
        "/fhir/Patient/p1/Observation",
        "/fhir/%ff",
        "/metadata",
    ] {
        server.get(path).await.refusal(404);
    }
    server.get("/fhir/Unknown/1").await.refusal(404);
    server.get("/fhir/Patient/not_an_id").await.refusal(404);
    server.get("/fhir/Group/$export").await.refusal(404);
}

#[tokio::test]
async fn an_escaped_dollar_is_a_dollar() {
    let server = Server::start().await;
    let answer = server.kick_off("%24export").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test]
async fn a_foreign_host_name_is_refused() {
    let server = Server::start().await;
    let ask = |host: &str| server.ask(Method::GET, "/fhir/metadata").header("host", host);
    ask("evil.example").send().await.refusal(421);
    assert_eq!(ask("localhost:8080").send().await.status, 200);
}

/// Without authorization a page that somebody on this machine opens could shut out clients, or cancel jobs, by a form.
#[tokio::test]
async fn what_a_page_of_another_site_sends_is_refused() {
    let server = Server::start().await;
    let ask = |origin: &str| {
        let ask = server.ask(Method::POST, "/clients/x/revoke");
        ask.header("origin", origin)
    };
    ask("https://evil.example").send().await.refusal(403);
    ask("null").send().await.refusal(403);
    ask("http://localhost:8080").send().await.refusal(404);
}

#[tokio::test]
async fn health_says_ok() {
    let server = Server::start().await;
    let answer = server.get("/health").await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#));
}
