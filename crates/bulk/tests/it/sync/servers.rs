//! Servers as source and as target of a sync.

use std::path::Path;
use std::sync::{Arc, Mutex};

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::sync::{
    BulkSource, FolderSource, ImportTarget, LocalFilter, RoundReport, Source, StateFolder, Sync,
    SyncSettings, Unguided, Wanted,
};
use fhirhose_client::pull::{PullSettings, Quiet};
use fhirhose_client::testing::{EhrSettings, Fault, FaultyEhr, Place, SourceFile, Strike, Words};
use fhirhose_client::{BatchSettings, DataProvider, ExportParameters, Http, HttpSettings};
use fhirhose_fhir::export_request::ExportLevel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::TestClock;

const PATIENTS: &str =
    "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n{\"resourceType\":\"Patient\",\"id\":\"b\"}\n";

pub(super) fn provider(base: &str) -> DataProvider {
    let http = Http::new(&HttpSettings::for_provider()).unwrap();
    DataProvider::new(&http, base).unwrap()
}

/// Answers each `$import` with the next of these reports, and gives its base URL.
async fn import_server(reports: Arc<Mutex<Vec<&'static str>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let is_kick_off = read_request(&mut stream).await.starts_with("POST /$import ");
            let answer = match is_kick_off {
                true => "202 Accepted\r\ncontent-location: /status\r\ncontent-length: 0\r\n\r\n".to_owned(),
                false => {
                    let report = reports.lock().unwrap().remove(0);
                    format!("200 OK\r\ncontent-length: {}\r\n\r\n{report}", report.len())
                }
            };
            let answer = format!(
                "HTTP/1.1 {}",
                answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    base
}

/// Reads a request to the end of its body.
async fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut piece) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        request.push_str(&String::from_utf8_lossy(&piece[..read]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if read == 0 || body.len() >= length.unwrap_or(0) {
            return request;
        }
    }
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
    let base = import_server(Arc::clone(&reports)).await;
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
fn source(ehr: &FaultyEhr, custom: &str) -> BulkSource {
    BulkSource {
        provider: provider(&ehr.base()),
        parameters: ExportParameters {
            custom: vec![("custom".to_owned(), custom.to_owned())],
            ..ExportParameters::new(ExportLevel::AllPatients)
        },
        settings: PullSettings::default(),
        always_whole: false,
        joiners_max: 10,
        watch: Arc::new(Quiet),
    }
}

async fn fetch(source: &BulkSource, folder: &Path) -> fhirhose_bulk::Result<usize> {
    let fetched = source.fetch(&Wanted::default(), folder).await?;
    Ok(fetched.unwrap().files.len())
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
    fetch(&source(&ehr, "refused"), folder.path()).await.unwrap_err();
    assert_eq!(fetch(&source(&ehr, "taken"), folder.path()).await.unwrap(), 1);
    let kick_offs = ehr.asked_at(Place::KickOff);
    assert_eq!(kick_offs.last().unwrap().query("custom"), ["taken"]);
}
