//! What a folder with attachments says of itself.

use fhirhose_client::receipt::{Damage, ProveSettings, PulledFolder};
use fhirhose_client::testing::{ManifestShape, Manner, Pages};
use sha2::{Digest, Sha256};

use super::{named, note, notes};

#[tokio::test]
async fn a_checksum_in_the_manifest_is_of_the_file_that_is_there() {
    for shape in [ManifestShape::Stu3, ManifestShape::Stu4] {
        let manner = Manner {
            checksums: true,
            shape,
            ..Manner::default()
        };
        let case = notes(1, manner, Vec::new()).await;
        let report = case.pulled().await;
        case.assert_notes(1);
        let manifest = case.text("manifest.json");
        for file in &report.files {
            assert!(
                manifest.contains(&format!("\"sha256:{}\"", file.sha256)),
                "{shape:?}: {manifest}"
            );
        }
        let before: String = Sha256::digest(&case.ehr.files()[0].text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(!manifest.contains(&before), "{shape:?}: {manifest}");
    }
}

#[tokio::test]
async fn files_in_folders_of_pages_lead_to_the_one_folder_of_attachments() {
    let manner = Manner {
        pages: Pages {
            files_each: Some(1),
            ..Pages::default()
        },
        shape: ManifestShape::Stu4,
        ..Manner::default()
    };
    let mut case = notes(1, manner, Vec::new()).await;
    case.settings.page_folders = true;
    case.pulled().await;
    let name = named(note(0).as_bytes(), ".txt");
    let text = case.text("0/1.DocumentReference.ndjson");
    assert!(text.contains(&format!("\"../{name}\"")), "{text}");
    assert_eq!(case.text(&format!("0/../{name}")), note(0));
    let proof = || {
        let folder = PulledFolder::open(&case.folder()).unwrap();
        folder.prove(&ProveSettings::default(), &|_| {}).unwrap()
    };
    assert!(proof().is_whole(), "{:?}", proof());
    std::fs::remove_file(case.folder().join(&name)).unwrap();
    let damages = proof().damages;
    let is_of_link = |damage: &Damage| damage.file == "0/1.DocumentReference.ndjson";
    assert!(damages.iter().any(is_of_link), "{damages:?}");
}
