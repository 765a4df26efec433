//! A FHIR server as a side.

use fhirhose_bulk::sync::both::{FhirPeer, Peer};
use fhirhose_client::pull::PullSettings;
use fhirhose_client::testing::{EhrSettings, FaultyEhr, Place, SourceFile};
use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings, Quirks};
use fhirhose_fhir::export_request::ExportLevel;

const PATIENT: &str = "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n";
const SINCE: Option<&str> = Some("2026-11-01T00:00:00Z");

async fn ehr(files: Vec<SourceFile>) -> FaultyEhr {
    FaultyEhr::start(EhrSettings {
        files,
        ..EhrSettings::default()
    })
    .await
}

fn peer(ehr: &FaultyEhr, quirks: Quirks) -> FhirPeer {
    let http = Http::new(&HttpSettings::for_provider()).expect("a client");
    let provider = DataProvider::new(&http, &ehr.base()).expect("a URL");
    let parameters = ExportParameters::new(ExportLevel::AllPatients);
    FhirPeer::new(provider.with_quirks(quirks), parameters, PullSettings::default())
}

#[tokio::test]
async fn a_server_without_since_is_asked_for_everything_each_time() {
    for (no_since, expected) in [(false, vec!["2026-11-01T00:00:00Z"]), (true, vec![])] {
        let folder = tempfile::tempdir().expect("a folder");
        let ehr = ehr(vec![SourceFile::output("Patient", PATIENT)]).await;
        let quirks = Quirks {
            no_since,
            ..Quirks::default()
        };
        let changes = peer(&ehr, quirks)
            .changes(SINCE, &folder.path().join("pull"))
            .await;
        assert_eq!(changes.expect("a pull").output.len(), 1);
        assert_eq!(ehr.asked_at(Place::KickOff)[0].query("_since"), expected);
    }
}

#[tokio::test]
async fn errors_that_a_server_tells_of_are_told_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\"}]}\n";
    let files = vec![SourceFile::output("Patient", PATIENT), SourceFile::error(outcome)];
    let ehr = ehr(files).await;
    let changes = peer(&ehr, Quirks::default())
        .changes(None, &folder.path().join("pull"))
        .await;
    assert_eq!(changes.expect("a pull").errors, 1);
}
