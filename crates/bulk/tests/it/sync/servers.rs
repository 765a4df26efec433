//! Servers as source and as target of a sync.

use std::path::Path;
use std::sync::{Arc, Mutex};

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::sync::{
    BulkSource, Fetched, FolderSource, ImportTarget, LocalFilter, RoundReport, Source, StateFolder, Sync,
    SyncSettings, Unguided, Wanted,
};
use fhirhose_client::pull::{PullSettings, Quiet};
use fhirhose_client::testing::{EhrSettings, Fault, FaultyEhr, Place, SourceFile, Strike, Words};
use fhirhose_client::{BatchSettings, DataProvider, ExportParameters, Http, HttpSettings, Quirks};
use fhirhose_fhir::export_request::ExportLevel;

use super::fixture::TestClock;
use crate::answers::{answer, serve};

const PATIENTS: &str =
    "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n{\"resourceType\":\"Patient\",\"id\":\"b\"}\n";

pub(super) fn provider(base: &str) -> DataProvider {
    let http = Http::new(&HttpSettings::for_provider()).unwrap();
    DataProvider::new(&http, base).unwrap()
}

#[tokio::test]
async fn a_round_of_which_the_server_could_not_read_all_is_imported_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("files")).unwrap();
    std::fs::write(at("files/1.Patient.ndjson"), PATIENTS).unwrap();
    let unread = r#"{"output":[{"count":0}],"error":[{"count":1,"errors":[{"rule":"unreadable","message":"denied"}]}]}"#;
    let reports = Arc::new(Mutex::new(vec![
        unread,
        r#"{"output":[{"count":1}],"error":[]}"#,
        r#"{"output":[{"count":1}],"error":[{"count":1,"errors":[{"lineNumber":2}]}]}"#,
    ]));
    let left = Arc::clone(&reports);
    let base = serve(move |request| match request.starts_with("POST /$import ") {
        true => answer("202 Accepted", "content-location: /status\r\n", ""),
        false => answer("200 OK", "", left.lock().unwrap().remove(0)),
    })
    .await;
    let round = async || {
        let target = ImportTarget::new(
            provider(&base),
            BatchSettings::default(),
            at("shared"),
            at("shared"),
        );
        let sync = Sync::new(
            Box::new(FolderSource { path: at("files") }),
            Box::new(target),
            (LocalFilter::default(), None),
            SyncSettings::default(),
            (
                StateFolder::open(&at("state")).unwrap(),
                Arc::new(TestClock::new()),
            ),
        );
        let ran = sync.run_round(&Unguided).await;
        (ran, sync.state().unwrap().cursor.is_some())
    };
    for left in [2, 1] {
        let (ran, has_cursor) = round().await;
        let error = ran.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains("to its end"), "{error}");
        // The next one does not read the same report.
        assert_eq!((has_cursor, reports.lock().unwrap().len()), (false, left));
    }
    let (ran, has_cursor) = round().await;
    let RoundReport {
        refused_by_target, ..
    } = ran.unwrap();
    assert_eq!((has_cursor, refused_by_target), (true, 1));
}

/// A server as a source, with a parameter of its own.
fn source(ehr: &FaultyEhr, level: ExportLevel, custom: &str) -> BulkSource {
    BulkSource {
        provider: provider(&ehr.base()),
        parameters: ExportParameters {
            custom: vec![("custom".to_owned(), custom.to_owned())],
            ..ExportParameters::new(level)
        },
        settings: PullSettings::default(),
        always_whole: false,
        joiners_max: 10,
        watch: Arc::new(Quiet),
    }
}

async fn fetch(source: &BulkSource, folder: &Path) -> fhirhose_bulk::Result<Fetched> {
    Ok(source.fetch(&Wanted::default(), folder).await?.unwrap())
}

#[tokio::test]
async fn parameters_that_were_refused_are_not_in_the_way_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let ehr = FaultyEhr::start(EhrSettings {
        files: vec![SourceFile::output("Patient", PATIENTS)],
        script: vec![Strike::once(Place::KickOff, Fault::answer(400, Words::Exception))],
        ..EhrSettings::default()
    })
    .await;
    let all = ExportLevel::AllPatients;
    let refused = source(&ehr, all.clone(), "refused");
    fetch(&refused, folder.path()).await.unwrap_err();
    let fetched = fetch(&source(&ehr, all, "taken"), folder.path()).await.unwrap();
    assert_eq!(fetched.files.len(), 1);
    let kick_offs = ehr.asked_at(Place::KickOff);
    assert_eq!(kick_offs.last().unwrap().query("custom"), ["taken"]);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_read_may_tell_of_an_error() {
    let outcome = |issue: &str| format!("{{\"resourceType\":\"OperationOutcome\",\"issue\":{issue}}}\n");
    for (issue, expected) in [
        (r#"[{"severity":"error"}]"#, 1),
        (r#"[{"severity":"warning"},{"severity":"information"}]"#, 0),
        (r#"[{"severity":"bad"}]"#, 1),
        (r#"{"severity":7}"#, 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = vec![
            SourceFile::output("Patient", PATIENTS),
            SourceFile::error(outcome(issue)),
        ];
        let ehr = FaultyEhr::start(EhrSettings {
            files,
            ..EhrSettings::default()
        })
        .await;
        let source = source(&ehr, ExportLevel::AllPatients, "");
        let fetched = fetch(&source, folder.path()).await.unwrap();
        assert_eq!(
            (fetched.source_errors, fetched.files.len()),
            (expected, 1),
            "{issue}"
        );
    }
}

#[tokio::test]
async fn a_server_without_since_is_asked_for_everything_and_another_for_what_is_new_cl_12() {
    const CURSOR: &str = "2026-11-20T02:00:00.120+01:00";
    for no_since in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let ehr = FaultyEhr::start(EhrSettings {
            files: vec![SourceFile::output("Patient", PATIENTS)],
            ..EhrSettings::default()
        })
        .await;
        let mut source = source(&ehr, ExportLevel::AllPatients, "taken");
        source.provider = source.provider.with_quirks(Quirks {
            no_since,
            ..Quirks::default()
        });
        let wanted = Wanted {
            cursor: Some(CURSOR.to_owned()),
            members: None,
        };
        let fetched = source.fetch(&wanted, folder.path()).await.unwrap().unwrap();
        assert_eq!((fetched.is_whole, fetched.files.len()), (no_since, 1));
        let kick_offs = ehr.asked_at(Place::KickOff);
        let since: Vec<_> = kick_offs.iter().map(|asked| asked.query("_since")).collect();
        let expected = if no_since {
            Vec::new()
        } else {
            vec![CURSOR.to_owned()]
        };
        assert_eq!(since, [expected]);
    }
}
