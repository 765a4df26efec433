//! Pulls that end at another place: the server keeps its job until everything is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fhirhose_client::pull::{Pull, PullSettings, Quiet};
use fhirhose_client::testing::{EhrSettings, FaultyEhr, Manner, Pages, Place, SimulatedClock, SourceFile};
use fhirhose_client::{
    DataProvider, Delivered, DeliveredPull, Destination, Error, ErrorKind, ExportParameters, Result,
};
use fhirhose_fhir::export_request::ExportLevel;

use crate::case::Case;
use crate::provider::PATIENTS;
use crate::server::http;

/// A folder as another place, which takes all but one file.
#[derive(Debug)]
struct Elsewhere {
    folder: PathBuf,
    refuses: Option<&'static str>,
}

#[async_trait]
impl Destination for Elsewhere {
    async fn deliver(&self, name: &str, file: &Path) -> Result<()> {
        if self.refuses == Some(name) {
            return Err(Error::new(ErrorKind::Unreachable, "the place is away"));
        }
        let to = self.folder.join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file, to).unwrap();
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.folder.join(name)).ok())
    }
}

#[tokio::test]
async fn a_job_is_deleted_when_the_last_file_has_arrived_elsewhere_cl_13() {
    let clock = SimulatedClock::default();
    let settings = EhrSettings {
        files: vec![SourceFile::output("Patient", PATIENTS); 3],
        ..EhrSettings::default()
    };
    let ehr = FaultyEhr::simulated(settings, &clock).await;
    let place = tempfile::tempdir().unwrap();
    let staging = place.path().join("staging");
    let delivered = |refuses| {
        let provider = DataProvider::new(&http(|_| ()), &ehr.base()).unwrap();
        DeliveredPull {
            pull: Pull {
                provider: provider.with_clock(Arc::new(clock.clone())),
                parameters: ExportParameters::new(ExportLevel::System),
                folder: staging.clone(),
                settings: PullSettings::default(),
            },
            to: Box::new(Elsewhere {
                folder: place.path().join("there"),
                refuses,
            }),
            journal: place.path().join("journal"),
            parallel: 2,
        }
    };
    for refuses in ["2.Patient.ndjson", "log.ndjson", "manifest.json"] {
        let stopped = delivered(Some(refuses)).run(&Quiet).await.unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::Unreachable);
        assert_eq!(ehr.asked_at(Place::Delete).len(), 0, "{refuses} is not there");
    }
    let Delivered::Pulled(report) = delivered(None).run(&Quiet).await.unwrap() else {
        panic!("the manifest was not there")
    };
    assert!(report.job_deleted && report.delete_problem.is_none());
    assert_eq!(ehr.asked_at(Place::Delete).len(), 1);
    assert_eq!(ehr.asked_at(Place::KickOff).len(), 1);
    assert!(place.path().join("there/manifest.json").exists() && !staging.exists());
    let again = delivered(None).run(&Quiet).await.unwrap();
    assert!(matches!(again, Delivered::AlreadyThere), "{again:?}");
    assert_eq!(ehr.asked_at(Place::Delete).len(), 1);
}

#[tokio::test]
async fn the_manifests_of_pages_arrive_before_the_one_of_the_whole() {
    let manner = Manner {
        pages: Pages {
            files_each: Some(2),
            ..Pages::default()
        },
        ..Manner::default()
    };
    let files = vec![SourceFile::output("Patient", PATIENTS); 3];
    let mut case = Case::of(files, manner, Vec::new()).await;
    case.settings.page_folders = true;
    let there = case.place.path().join("there");
    let delivered = DeliveredPull {
        pull: case.pull(),
        to: Box::new(Elsewhere {
            folder: there.clone(),
            refuses: Some("manifest.json"),
        }),
        journal: case.place.path().join("journal"),
        parallel: 2,
    };
    let stopped = delivered.run(&Quiet).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Unreachable);
    for page in ["0/manifest.json", "1/manifest.json"] {
        assert!(there.join(page).is_file(), "{page}");
    }
}
