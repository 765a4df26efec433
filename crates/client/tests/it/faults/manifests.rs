//! Manifests of all versions, in pages, partial, and of servers that change their mind.

use std::time::Duration;

use fhirhose_client::pull::Quiet;
use fhirhose_client::testing::{
    Counts, Fault, ManifestShape, Manner, Pages, Place, RetryAfter, SourceFile, Strike, Words,
};
use fhirhose_fhir::export_request::Wire;

use super::{Case, population};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn cl_08_manifests_of_all_versions_are_read() {
    for shape in [
        ManifestShape::Stu1,
        ManifestShape::Stu2,
        ManifestShape::Stu3,
        ManifestShape::Stu4,
    ] {
        for counts in [Counts::True, Counts::None] {
            let manner = Manner {
                shape,
                counts,
                checksums: true,
                ..Manner::default()
            };
            let mut files = population();
            if shape == ManifestShape::Stu1 {
                files.retain(|file| file.kind != fhirhose_client::pull::FileKind::Deleted);
            }
            let mut case = Case::of(files, manner, Vec::new()).await;
            if shape == ManifestShape::Stu4 {
                case.parameters.wire = Wire::Stu4;
            }
            case.whole().await;
        }
    }
}

#[tokio::test]
async fn cl_08_an_export_of_nothing_is_whole() {
    for shape in [ManifestShape::Stu1, ManifestShape::Stu4] {
        let manner = Manner {
            shape,
            ..Manner::default()
        };
        let report = Case::of(Vec::new(), manner, Vec::new()).await.whole().await;
        assert!(report.is_whole() && report.files.is_empty());
    }
}

fn pages(files_each: usize) -> Pages {
    Pages {
        files_each: Some(files_each),
        ..Pages::default()
    }
}

#[tokio::test]
async fn cl_09_pages_are_followed_to_the_last() {
    for files_each in [1, 2, 3] {
        let manner = Manner {
            pages: pages(files_each),
            ..Manner::default()
        };
        let case = Case::new(
            manner,
            vec![Strike::once(Place::NextPage, Fault::answer(502, Words::Html))],
        )
        .await;
        case.whole().await;
    }
}

#[tokio::test]
async fn cl_09_a_file_that_two_pages_list_is_fetched_once() {
    let manner = Manner {
        pages: Pages {
            repeats: true,
            ..pages(2)
        },
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    case.whole().await;
    assert_eq!(case.asked(Place::AnyFile).len(), population().len());
}

#[tokio::test]
async fn cl_09_files_are_fetched_while_the_export_runs() {
    let manner = Manner {
        takes: 10 * HOUR,
        retry_after: RetryAfter::Secs(300),
        pages: pages(1),
        ..Manner::default()
    };
    let mut case = Case::new(manner, Vec::new()).await;
    case.parameters.allow_partial_manifests = true;
    case.whole().await;
    let asked = case.ehr.asked();
    let first_file = asked.iter().position(|asked| asked.file().is_some()).unwrap();
    let last_page = asked.iter().rposition(|asked| {
        matches!(asked.place, Some(Place::Status | Place::NextPage)) && asked.status == 202
    });
    assert!(
        first_file < last_page.unwrap(),
        "files came before the last page was ready"
    );
}

#[tokio::test]
async fn cl_09_pages_that_list_their_files_in_another_order_each_time_lose_nothing() {
    let manner = Manner {
        pages: Pages {
            restless: true,
            ..pages(3)
        },
        checksums: true,
        ..Manner::default()
    };
    let script = vec![
        Strike::once(Place::File(0), Fault::Expired),
        Strike::once(Place::File(2), Fault::Expired),
    ];
    let case = Case::new(manner, script).await;
    let report = case.run(&Quiet).await.unwrap();
    assert_eq!(report.missing, []);
    assert_same_texts(&case);
}

/// Each text of the population lies in one file of its type, under whatever number.
pub(super) fn assert_same_texts(case: &Case) {
    let mut left: Vec<&SourceFile> = case.ehr.files().iter().collect();
    for name in super::data_files(&case.folder()) {
        let text = std::fs::read(case.folder().join(&name)).unwrap();
        let same = |file: &&SourceFile| file.text == text && name.contains(&file.resource_type);
        let at = left.iter().position(same);
        left.remove(at.unwrap_or_else(|| panic!("{name} holds no file of the server")));
    }
    assert_eq!(left.len(), 0, "files that are not there");
    case.assert_ended();
}
