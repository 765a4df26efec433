//! `GET [base]/Binary/{id}`: the content, or the resource.

use hyper::Method;
use serde_json::json;

use crate::fixture::Server;

#[tokio::test]
async fn f_11_a_binary_is_sent_as_what_it_holds_unless_the_resource_is_asked_for() {
    let server = Server::start().await;
    let binary = json!({"resourceType": "Binary", "id": "b1", "contentType": "text/plain; charset=utf-8", "data": "SGVsbG8="});
    assert_eq!(server.put(&binary).await.status, 201);
    let ask = |accept: &str| {
        server
            .ask(Method::GET, "/fhir/Binary/b1")
            .header("accept", accept)
    };
    for content in [
        server.get("/fhir/Binary/b1").await,
        ask("*/*").send().await,
        ask("text/*;q=0.5, image/png").send().await,
    ] {
        assert_eq!((content.status, content.text()), (200, "Hello"));
        assert_eq!(content.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(content.header("x-content-type-options"), "nosniff");
    }
    for resource in [
        ask("application/fhir+json").send().await,
        server.get("/fhir/Binary/b1?_format=json").await,
    ] {
        assert_eq!(resource.json()["data"], "SGVsbG8=");
        assert_eq!(resource.header("content-type"), "application/fhir+json");
    }
    ask("image/png").send().await.refusal(406);
    let etag = server.get("/fhir/Binary/b1").await.header("etag").to_owned();
    let again = server
        .ask(Method::GET, "/fhir/Binary/b1")
        .header("if-none-match", &etag);
    assert_eq!(again.send().await.status, 304);
}

#[tokio::test]
async fn a_binary_that_is_not_base64_or_has_no_type_is_no_trap() {
    let server = Server::start().await;
    for (id, content_type, data) in [("odd", "a\nb", "SGVsbG8="), ("bad", "text/plain", "%%%")] {
        let binary = json!({"resourceType": "Binary", "id": id, "contentType": content_type, "data": data});
        assert_eq!(server.put(&binary).await.status, 201);
    }
    assert_eq!(
        server.get("/fhir/Binary/odd").await.header("content-type"),
        "application/octet-stream"
    );
    server.get("/fhir/Binary/bad").await.refusal(422);
    assert_eq!(
        server
            .put(&json!({"resourceType": "Binary", "id": "none"}))
            .await
            .status,
        201
    );
    assert_eq!(server.get("/fhir/Binary/none").await.body.len(), 0);
}
