//! Pulls that end at another place: the server keeps its job until everything is there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fhirhose_client::pull::{AttachmentSettings, Pull, PullSettings, Quiet};
use fhirhose_client::receipt::{ProveSettings, PulledFolder};
use fhirhose_client::testing::{
    EhrSettings, FaultyEhr, Manner, Pages, Place, SimulatedClock, SourceAttachment, SourceFile,
};
use fhirhose_client::{
    DataProvider, Delivered, DeliveredPull, Destination, Error, ErrorKind, ExportParameters, Result,
};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::json;

use crate::case::Case;
use crate::provider::PATIENTS;
use crate::receipt_attachments::attach_some;
use crate::server::http;

/// A folder as another place, which takes all but one file.
#[derive(Debug)]
struct Elsewhere {
    folder: PathBuf,
    refuses: Option<&'static str>,
    /// What was taken, in order.
    taken: Arc<Mutex<Vec<String>>>,
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
        self.taken.lock().unwrap().push(name.to_owned());
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
                taken: Arc::default(),
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
    let mut with_attachments = delivered(None);
    with_attachments.pull.settings.attachments = Some(AttachmentSettings::default());
    let refused = with_attachments.run(&Quiet).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OtherFolder, "what lies there has none");
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
            taken: Arc::default(),
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

#[tokio::test]
async fn attachments_arrive_once_and_before_the_manifest_that_binds_them() {
    let files = vec![SourceFile::output("Patient", PATIENTS); 2];
    let case = Case::of(files, Manner::default(), Vec::new()).await;
    let (there, staging) = (case.place.path().join("there"), case.folder());
    // As a pull that was begun has left them.
    std::fs::create_dir_all(staging.join(".fhirhose-pull")).unwrap();
    let names = attach_some(&staging);
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let delivered = |refuses| DeliveredPull {
        pull: case.pull(),
        to: Box::new(Elsewhere {
            folder: there.clone(),
            refuses,
            taken: Arc::clone(&taken),
        }),
        journal: case.place.path().join("journal"),
        parallel: 1,
    };
    let last = names.last().unwrap().clone();
    for refuses in [&*last.leak(), "attachments.sha256", "manifest.json"] {
        let stopped = delivered(Some(refuses)).run(&Quiet).await.unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::Unreachable, "{refuses}");
        assert!(!there.join("manifest.json").exists());
    }
    let delivered = delivered(None).run(&Quiet).await.unwrap();
    assert!(matches!(delivered, Delivered::Pulled(_)), "{delivered:?}");
    let taken = taken.lock().unwrap();
    for name in &names {
        let times = taken.iter().filter(|taken| *taken == name).count();
        assert_eq!(times, 1, "{name}");
    }
    assert_eq!(taken.last().unwrap(), "manifest.json");
    let proof = PulledFolder::open(&there).unwrap();
    let proof = proof.prove(&ProveSettings::default(), &|_| ()).unwrap();
    assert!(proof.is_whole() && proof.attachments == 5, "{proof:?}");
    assert!(!staging.exists());
}

#[tokio::test]
async fn lines_that_lead_to_attachments_arrive_with_them() {
    let document = |id: usize| {
        let url = format!("Binary/{id}");
        let attachment = json!({"contentType": "text/plain", "url": url});
        json!({"resourceType": "DocumentReference", "id": url.replace('/', "-"), "content": [{"attachment": attachment}]})
    };
    let lines = format!("{}\n{}\n", document(0), document(1));
    let mut files = vec![SourceFile::output("Patient", PATIENTS); 3];
    files.push(SourceFile::output("DocumentReference", lines));
    let mut case = Case::of(files, Manner::default(), Vec::new()).await;
    for content in ["first", "second"] {
        case.ehr
            .hold(SourceAttachment::new("text/plain", content.to_owned()));
    }
    case.settings.attachments = Some(AttachmentSettings::default());
    let there = case.place.path().join("there");
    let delivered = DeliveredPull {
        pull: case.pull(),
        to: Box::new(Elsewhere {
            folder: there.clone(),
            refuses: None,
            taken: Arc::default(),
        }),
        journal: case.place.path().join("journal"),
        parallel: 2,
    };
    let delivered = delivered.run(&Quiet).await.unwrap();
    let Delivered::Pulled(report) = delivered else {
        panic!("the manifest was not there")
    };
    assert_eq!(report.attachments.map(|attachments| attachments.files), Some(2));
    let lines = std::fs::read_to_string(there.join("1.DocumentReference.ndjson")).unwrap();
    assert_eq!(lines.matches("\"./attachments/").count(), 2, "{lines}");
    let proof = PulledFolder::open(&there).unwrap();
    let proof = proof.prove(&ProveSettings::default(), &|_| ()).unwrap();
    assert!(proof.is_whole() && proof.attachments == 2, "{proof:?}");
}
