//! `$digest`: the tree of hashes over a type, by which two servers are compared.

use fhirhose_bulk::reconcile::tree::Bucket;
use serde_json::{Value, json};

use crate::fixture::Server;

fn values(parameters: &Value, name: &str) -> Vec<String> {
    let listed = parameters["parameter"].as_array().expect("parameters").iter();
    listed
        .filter(|parameter| parameter["name"] == name)
        .map(|parameter| parameter["valueString"].as_str().expect("a text").to_owned())
        .collect()
}

fn next(parameters: &Value) -> Option<String> {
    let listed = parameters["parameter"].as_array().expect("parameters").iter();
    let mut urls = listed.filter(|parameter| parameter["name"] == "next");
    Some(urls.next()?["valueUrl"].as_str().expect("a URL").to_owned())
}

/// All pages of a request.
async fn pages(server: &Server, query: &str) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut path = format!("/fhir/$digest?{query}");
    loop {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        let next = next(&page);
        pages.push(page);
        match next {
            Some(url) => path = format!("/fhir{}", url.strip_prefix(&server.base).expect("its own URL")),
            None => return pages,
        }
    }
}

fn bucket(text: &str) -> (String, Bucket) {
    let parts: Vec<&str> = text.split(':').collect();
    (
        parts[0].to_owned(),
        Bucket::read(parts[1], parts[2]).expect("a bucket"),
    )
}

async fn filled(count: usize, change: impl FnOnce(&mut fhirhose_server::ServerSettings)) -> Server {
    let server = Server::start_with(change).await;
    let lines: Vec<String> = (0..count)
        .map(|at| format!(r#"{{"resourceType":"Basic","id":"b{at}","code":{{"text":"{at}"}}}}"#))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    server.import_lines(&lines).await;
    server
}

#[tokio::test]
async fn the_root_of_a_tree_is_the_sum_of_what_is_there_and_changes_with_it() {
    let server = filled(5, |_| ()).await;
    // The sum of SHA-256("Basic/b0\n" + SHA-256({"code":{"text":"0"},"id":"b0","resourceType":"Basic"})) and the other four.
    let sum = "a3b581987f6d7138696a5b266b47add53ab194decba32bbf16f614310b8d0a3e";
    let expected = Bucket::read("5", sum).expect("a bucket");
    let root = async || bucket(&values(&pages(&server, "_type=Basic").await[0], "bucket")[0]);
    assert_eq!(root().await, (String::new(), expected));
    server
        .put(&json!({"resourceType": "Basic", "id": "b1", "code": {"text": "other"}}))
        .await;
    assert_ne!(root().await.1, expected);
    server
        .put(&json!({"resourceType": "Basic", "id": "b1", "code": {"text": "1"}}))
        .await;
    assert_eq!(root().await.1, expected, "the same content, whatever its version");
    server.delete("/fhir/Basic/b1").await;
    assert_eq!(root().await.1.count, 4);
    assert_eq!(
        values(&pages(&server, "_type=Goal").await[0], "bucket"),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_page_looks_at_no_more_than_a_search_and_all_pages_add_up() {
    let server = filled(30, |settings| settings.rest.search_rows_max = 7).await;
    let deep = pages(&server, "_type=Basic&depth=1").await;
    assert!(deep.len() >= 4, "{} pages", deep.len());
    let mut sum = Bucket::default();
    for text in deep.iter().flat_map(|page| values(page, "bucket")) {
        sum.absorb(bucket(&text).1);
    }
    let whole = filled(30, |_| ()).await;
    let root = bucket(&values(&pages(&whole, "_type=Basic").await[0], "bucket")[0]);
    assert_eq!(sum, root.1);
}

#[tokio::test]
async fn entries_are_listed_below_a_prefix_in_pages_of_their_own_limit() {
    let server = filled(40, |settings| settings.rest.digest_entries_max = 3).await;
    // Those whose SHA-256 of `Basic/id` begins with 0 to 7.
    let expected = [
        "b10", "b11", "b13", "b15", "b19", "b2", "b20", "b21", "b22", "b25", "b27", "b28", "b29", "b3",
        "b30", "b31", "b37", "b38", "b39", "b4", "b6", "b7", "b8",
    ];
    let found = pages(&server, "_type=Basic&prefix=0,1,2,3&prefix=4,5,6,7&entries=true").await;
    assert!(found.iter().all(|page| values(page, "entry").len() <= 3) && found.len() > 2);
    let entries = found.iter().flat_map(|page| values(page, "entry"));
    let mut ids: Vec<String> = entries
        .map(|entry| entry.split(':').next().expect("an id").to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let server = Server::start().await;
    for query in [
        "",
        "_type=Nothing",
        "_type=Basic&_type=Goal",
        "_type=Basic&prefix=G",
        "_type=Basic&prefix=a,a1",
        "_type=Basic&depth=3",
        "_type=Basic&depth=-1",
        "_type=Basic&entries=yes",
        "_type=Basic&_cursor=1-2--3-4",
        "_type=Basic&other=1",
    ] {
        server.get(&format!("/fhir/$digest?{query}")).await.refusal(400);
    }
}

#[tokio::test]
async fn the_definition_has_what_answers_have() {
    let server = Server::start().await;
    let answer = server.get("/fhir/OperationDefinition/digest").await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (200, Some("digest"))
    );
    let definition = answer.json();
    let parameters = definition["parameter"].as_array().unwrap().iter();
    let out = parameters.filter(|parameter| parameter["use"] == "out");
    let names: Vec<&str> = out.map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["type", "instant", "bucket", "entry", "next"]);
}
