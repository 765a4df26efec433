//! Comparing two sides: what is found is what a plain comparison says, whatever differs and however much.

use std::collections::BTreeMap;
use std::path::Path;

use fhirhose_bulk::reconcile::{
    Difference, Differences, FolderLimits, FolderSide, Found, ReconcileSide, ServerSide, TypeReport,
    compare_type, types_of,
};
use fhirhose_bulk::sync::both::Pair;
use fhirhose_client::{DataProvider, Http, HttpSettings};
use fhirhose_fhir::resource_type::ResourceType;

use crate::answers::{answer, serve};

#[derive(Default)]
struct Gathered(BTreeMap<String, Difference>);

#[async_trait::async_trait]
impl Differences for Gathered {
    async fn hear(&mut self, _type: ResourceType, found: &Found) -> fhirhose_bulk::Result<()> {
        for (id, contents) in found {
            let again = self.0.insert(id.clone(), Difference::of(contents));
            assert_eq!(again, None, "{id} is told twice");
        }
        Ok(())
    }
}

fn basic() -> ResourceType {
    ResourceType::parse("Basic").expect("a type")
}

fn write(folder: &Path, resources: &BTreeMap<String, String>) {
    let lines = resources.iter().map(|(id, text)| {
        format!("{{\"resourceType\":\"Basic\",\"id\":\"{id}\",\"language\":\"{text}\"}}\n")
    });
    std::fs::write(folder.join("1.Basic.ndjson"), lines.collect::<String>()).expect("a file");
}

fn open(folder: &Path) -> FolderSide {
    FolderSide::open(folder, FolderLimits::default()).expect("a folder of NDJSON")
}

async fn compare(a: &FolderSide, b: &FolderSide) -> (TypeReport, BTreeMap<String, Difference>) {
    let sides: Pair<&dyn ReconcileSide> = Pair { source: a, target: b };
    let mut gathered = Gathered::default();
    let report = compare_type(sides, basic(), &mut gathered)
        .await
        .expect("a comparison");
    (report, gathered.0)
}

/// Changes each `every`th resource, and leaves one in three of these out at either side.
async fn check(count: usize, every: usize) {
    let (mut a, mut b, mut expected) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for at in 0..count {
        let id = format!("r{at}");
        let differs = at % every == every - 1;
        match (differs, at / every % 3) {
            (false, _) => {
                a.insert(id.clone(), "same".to_owned());
                b.insert(id, "same".to_owned());
            }
            (true, 0) => {
                a.insert(id.clone(), "one".to_owned());
                b.insert(id.clone(), "other".to_owned());
                expected.insert(id, Difference::Different);
            }
            (true, 1) => {
                a.insert(id.clone(), "one".to_owned());
                expected.insert(id, Difference::MissingInB);
            }
            (true, _) => {
                b.insert(id.clone(), "one".to_owned());
                expected.insert(id, Difference::MissingInA);
            }
        }
    }
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    write(folders[0].path(), &a);
    write(folders[1].path(), &b);
    let (report, found) = compare(&open(folders[0].path()), &open(folders[1].path())).await;
    assert_eq!(found, expected, "{count} resources, each {every}th differs");
    assert_eq!((report.in_a, report.in_b), (a.len() as u64, b.len() as u64));
    let of = |wanted: Difference| expected.values().filter(|known| **known == wanted).count() as u64;
    assert_eq!(
        (report.different, report.missing_in_a, report.missing_in_b),
        (
            of(Difference::Different),
            of(Difference::MissingInA),
            of(Difference::MissingInB)
        )
    );
    assert_eq!(report.is_equal(), expected.is_empty());
}

#[tokio::test]
async fn what_is_found_is_what_differs_from_one_resource_to_all_of_them() {
    for (count, every) in [
        (1, 1),
        (1, 2),
        (60, 7),
        (500, 1),
        (500, 499),
        (5_000, 1),
        (5_000, 2),
        (5_000, 1_000),
        (5_000, 9_999),
        (40_000, 13_000),
        (40_000, 3),
    ] {
        check(count, every).await;
    }
}

#[tokio::test]
async fn a_folder_counts_the_newest_version_and_nothing_that_was_deleted_cl_11_cl_15() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |id: &str, updated: &str, text: &str| {
        format!(
            "{{\"resourceType\":\"Basic\",\"id\":\"{id}\",\"meta\":{{\"lastUpdated\":\"{updated}\"}},\"language\":\"{text}\"}}\n"
        )
    };
    let text = [
        line("b1", "2026-01-02T00:00:00Z", "new"),
        line("b1", "2026-01-01T00:00:00Z", "old"),
        line("gone", "2026-01-01T00:00:00Z", "text"),
        "{\"resourceType\":\"Basic\",\"id\":\"cut\",\"meta\":{\"tag\":[{\"code\":\"SUBSETTED\"}]}}\n"
            .to_owned(),
        "no JSON\n".to_owned(),
    ];
    std::fs::write(folder.path().join("1.Basic.ndjson"), text.concat()).expect("a file");
    std::fs::write(folder.path().join("log.ndjson"), "{}\n").expect("a file");
    std::fs::create_dir(folder.path().join("deleted")).expect("a folder");
    let deleted = "{\"resourceType\":\"Bundle\",\"entry\":[{\"request\":{\"method\":\"DELETE\",\"url\":\"Basic/gone\"}}]}\n";
    std::fs::write(folder.path().join("deleted/1.Bundle.ndjson"), deleted).expect("a file");
    let other = tempfile::tempdir().expect("a folder");
    write(
        other.path(),
        &BTreeMap::from([("b1".to_owned(), "new".to_owned())]),
    );
    let (a, b) = (open(folder.path()), open(other.path()));
    assert_eq!((a.unusable_lines(), b.unusable_lines()), (2, 0));
    assert!(
        compare(&a, &b).await.0.is_equal(),
        "the newest version is the content"
    );
    assert_eq!(types_of(&[&a, &b]).await.expect("types"), [basic()]);
    let texts = a
        .texts(basic(), &["b1".to_owned(), "gone".to_owned()])
        .await
        .expect("texts");
    assert!(
        String::from_utf8(texts[0].clone().expect("b1"))
            .expect("UTF-8")
            .contains("new")
    );
    assert_eq!(texts[1], None);
    let limits = FolderLimits {
        resources_max: 1,
        ..FolderLimits::default()
    };
    let error = FolderSide::open(folder.path(), limits).expect_err("too many");
    assert!(error.to_string().contains("more than 1 resources"), "{error}");
}

#[tokio::test]
async fn errors_of_an_export_count_as_lines_that_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        &BTreeMap::from([("b1".to_owned(), "new".to_owned())]),
    );
    std::fs::create_dir(folder.path().join("error")).expect("a folder");
    let outcome = |severity: &str| {
        format!(
            "{{\"resourceType\":\"OperationOutcome\",\"issue\":[{{\"severity\":\"{severity}\",\"code\":\"exception\"}}]}}\n"
        )
    };
    let outcomes = outcome("error") + &outcome("warning") + "no JSON\n";
    std::fs::write(folder.path().join("error/1.OperationOutcome.ndjson"), outcomes).expect("a file");
    assert_eq!(open(folder.path()).unusable_lines(), 2);
}

#[tokio::test]
async fn a_server_that_does_not_let_a_resource_be_read_has_not_lost_it() {
    for (status, is_gone) in [("410 Gone", true), ("403 Forbidden", false)] {
        let base = serve(move |request| {
            let body = match request.starts_with("GET /$digest") {
                true => r#"{"resourceType":"Parameters"}"#.to_owned(),
                false => format!(
                    r#"{{"resourceType":"Bundle","type":"batch-response","entry":[{{"response":{{"status":"{status}"}}}}]}}"#
                ),
            };
            answer("200 OK", "content-type: application/fhir+json\r\n", &body)
        })
        .await;
        let http = Http::new(&HttpSettings::for_provider()).expect("a client");
        let provider = DataProvider::new(&http, &base).expect("a URL");
        let side = ServerSide::new(provider, basic())
            .await
            .expect("an answer")
            .expect("trees");
        match side.texts(basic(), &["b1".to_owned()]).await {
            Ok(texts) => assert_eq!((texts, is_gone), (vec![None], true)),
            Err(error) => assert!(!is_gone && error.to_string().contains("403"), "{error}"),
        }
    }
}
