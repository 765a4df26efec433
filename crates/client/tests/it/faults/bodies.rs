//! Bodies that break, lie and change: a file shows under its name only when it is the file.

use fhirhose_client::pull::{MissingFile, Quiet};
use fhirhose_client::testing::{
    Counts, Cut, EntityTag, Fault, FileCoding, ManifestShape, Manner, Place, SourceFile, Strike, Words,
};

use super::{Case, LARGEST, population, resources};

fn largest(fault: Fault) -> Strike {
    Strike::once(Place::File(LARGEST), fault)
}

#[tokio::test]
async fn cl_10_a_connection_that_drops_within_a_line_goes_on_by_range() {
    let (case, _) = Case::struck(largest(Fault::Cut(Cut::Body(1_005)))).await;
    assert_eq!(case.fetches(LARGEST), [(200, None), (206, Some(1_005))]);
    let again = &case.asked(Place::File(LARGEST))[1];
    assert_eq!(again.header("if-range"), Some("\"file-1-\""));
    assert_eq!(again.header("accept"), Some("application/fhir+ndjson"));
}

#[tokio::test]
async fn cl_10_a_connection_that_drops_again_and_again_gets_on_each_time() {
    let script = (1..8)
        .map(|number| largest(Fault::Cut(Cut::Body(number * 100))))
        .collect();
    let case = Case::new(Manner::default(), script).await;
    let report = case.whole().await;
    let begins: Vec<_> = case.fetches(LARGEST).iter().map(|(_, from)| *from).collect();
    let expected = [100, 300, 600, 1_000, 1_500, 2_100, 2_800].map(Some);
    assert_eq!((begins[0], &begins[1..]), (None, &expected[..]));
    assert_eq!(report.retries, 7);
}

#[tokio::test]
async fn cl_10_an_answer_that_breaks_off_is_asked_for_again() {
    for fault in [
        Fault::Cut(Cut::Before),
        Fault::Cut(Cut::Head),
        Fault::Cut(Cut::Body(0)),
        Fault::AnnouncesMore(77),
        Fault::EndlessChunks,
        Fault::Cut(Cut::Silence(300)),
    ] {
        let (case, _) = Case::struck(largest(fault.clone())).await;
        assert!(
            case.fetches(LARGEST).len() > 1,
            "{fault:?}: {:?}",
            case.fetches(LARGEST)
        );
    }
}

#[tokio::test]
async fn cl_10_a_body_that_is_not_the_file_is_fetched_again() {
    for fault in [
        Fault::ShortBody(2),
        Fault::ShortBody(700),
        Fault::AnnouncesLess(40),
        Fault::BrokenLine,
        Fault::OtherType,
        Fault::OtherFile,
    ] {
        let (case, report) = Case::struck(largest(fault.clone())).await;
        let fetches = case.fetches(LARGEST);
        assert!(fetches.len() > 1, "{fault:?}: {fetches:?}");
        assert_eq!(report.files.len(), case.ehr.files().len());
    }
}

#[tokio::test]
async fn cl_10_a_byte_that_is_another_is_found_by_the_checksum() {
    for fault in [Fault::Altered(100), Fault::Altered(950), Fault::RepeatedLine] {
        let manner = Manner {
            checksums: true,
            ..Manner::default()
        };
        let case = Case::new(manner, vec![largest(fault.clone())]).await;
        case.whole().await;
        assert!(case.fetches(LARGEST).len() > 1, "{fault:?}");
    }
}

#[tokio::test]
async fn cl_10_a_wrong_first_half_does_not_stay_before_the_right_second_half() {
    let manner = Manner {
        checksums: true,
        ..Manner::default()
    };
    let cut = largest(Fault::Cut(Cut::Body(4_000)));
    let gone = largest(Fault::answer(503, Words::Html));
    let case = Case::new(manner, vec![cut, gone]).await;
    let first = case.hasty().run(&Quiet).await.unwrap();
    assert_eq!(first.missing.len(), 1);
    let partial = case.folder().join(".fhirhose-pull/1.Observation.ndjson.partial");
    let right = std::fs::read_to_string(&partial).unwrap();
    let wrong = right.replacen("\"Observation-7\"", "\"Observation-8\"", 1);
    assert!(wrong != right && wrong.len() == right.len());
    std::fs::write(&partial, &wrong).unwrap();
    case.whole().await;
    // The second half is fetched behind it, and when they do not fit all of it is.
    let from = case.fetches(LARGEST)[2].1.unwrap();
    assert!(from > 2_000 && from <= wrong.len() as u64, "{from}");
    assert_eq!(case.fetches(LARGEST)[2..], [(206, Some(from)), (200, None)]);
}

#[tokio::test]
async fn cl_10_ranges_that_are_not_what_was_asked_for_lose_nothing() {
    for fault in [
        Fault::IgnoresRange,
        Fault::OtherRange,
        Fault::OtherBytes,
        Fault::RangeRefused,
    ] {
        for shape in [ManifestShape::Stu3, ManifestShape::Stu4] {
            let manner = Manner {
                shape,
                checksums: fault == Fault::OtherBytes,
                ..Manner::default()
            };
            let script = vec![largest(Fault::Cut(Cut::Body(2_000))), largest(fault.clone())];
            let case = Case::new(manner, script).await;
            case.whole().await;
            assert!(case.fetches(LARGEST).len() > 1, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn cl_10_entity_tags_that_are_weak_missing_or_new_each_time_lose_nothing() {
    for entity_tag in [EntityTag::Weak, EntityTag::None, EntityTag::Restless] {
        for ignores_ranges in [false, true] {
            let manner = Manner {
                entity_tag,
                ignores_ranges,
                ..Manner::default()
            };
            let case = Case::new(manner, vec![largest(Fault::Cut(Cut::Body(2_000)))]).await;
            case.whole().await;
        }
    }
}

#[tokio::test]
async fn cl_10_codings_are_undone_and_gone_on_with() {
    for coding in [
        FileCoding::Gzip,
        FileCoding::GzipMembers,
        FileCoding::Zstd,
        FileCoding::ZstdFrames,
    ] {
        for fault in [
            Fault::Cut(Cut::Body(150)),
            Fault::Cut(Cut::Body(400)),
            Fault::ShortBody(9),
            Fault::ShortBody(60),
            Fault::EndlessChunks,
        ] {
            let manner = Manner {
                coding,
                ..Manner::default()
            };
            let case = Case::new(manner, vec![largest(fault.clone())]).await;
            case.whole().await;
            assert!(case.fetches(LARGEST).len() > 1, "{coding:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn cl_10_frames_are_gone_on_with_by_range() {
    for coding in [FileCoding::ZstdFrames, FileCoding::GzipMembers] {
        let manner = Manner {
            coding,
            ..Manner::default()
        };
        let case = Case::new(manner, vec![largest(Fault::Cut(Cut::Body(900)))]).await;
        case.whole().await;
        let again = case.fetches(LARGEST)[1];
        assert_eq!(again, (206, Some(900)), "{coding:?}");
    }
}

#[tokio::test]
async fn cl_10_a_coding_that_nobody_knows_or_that_is_laid_twice_is_told_and_nothing_is_deleted() {
    for (coding, name) in [
        (FileCoding::Unknown, "snail"),
        (FileCoding::GzipTwice, "gzip, gzip"),
    ] {
        let manner = Manner {
            coding,
            ..Manner::default()
        };
        let case = Case::new(manner, Vec::new()).await;
        let report = case.run(&Quiet).await.unwrap();
        assert_eq!(report.missing.len(), population().len(), "{coding:?}");
        let words = format!("the content coding `{name}` is not known");
        for missing in &report.missing {
            assert!(missing.why.contains(&words), "{missing:?}");
        }
        assert_eq!(super::data_files(&case.folder()), Vec::<String>::new());
        assert!(
            case.asked(Place::Delete).is_empty(),
            "the server keeps what could not be had"
        );
    }
}

#[tokio::test]
async fn cl_10_a_count_that_is_a_lie_is_told_with_its_numbers_and_nothing_is_deleted_cl_13() {
    let manner = Manner {
        counts: Counts::TooMany,
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    let report = case.run(&Quiet).await.unwrap();
    assert_eq!(
        (report.files.len(), report.missing.len()),
        (0, population().len())
    );
    let why = &missing(&report.missing, "1.Observation.ndjson").why;
    assert!(why.contains("90") && why.contains("91"), "{why}");
    assert_eq!(super::data_files(&case.folder()), Vec::<String>::new());
    assert!(case.asked(Place::Delete).is_empty());
}

#[tokio::test]
async fn cl_10_a_file_that_stays_broken_is_named_and_the_others_are_there_cl_13() {
    for fault in [
        Fault::BrokenLine,
        Fault::OtherType,
        Fault::ShortBody(20),
        Fault::Cut(Cut::Head),
        Fault::answer(404, Words::Nothing),
        Fault::answer(500, Words::Exception),
    ] {
        let script = vec![Strike::always(Place::File(LARGEST), fault.clone())];
        let case = Case::new(Manner::default(), script).await;
        let report = case.run(&Quiet).await.unwrap();
        let names: Vec<&str> = report.missing.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["1.Observation.ndjson"], "{fault:?}");
        assert_eq!(report.files.len(), population().len() - 1);
        assert_eq!(super::data_files(&case.folder()).len(), population().len() - 1);
        assert!(
            case.asked(Place::Delete).is_empty(),
            "{fault:?}: the server keeps its job"
        );
        assert!(
            case.asked(Place::File(LARGEST)).len() > 1,
            "{fault:?}: it was tried again"
        );
        assert!(!case.log_of("download_error").is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn cl_10_what_was_missing_is_fetched_by_the_next_run_and_only_that() {
    let script = vec![Strike::times(60, Place::File(LARGEST), Fault::OtherType)];
    let mut case = Case::new(Manner::default(), script).await;
    case.settings.file_attempts_max = 3;
    let report = case.run(&Quiet).await.unwrap();
    assert_eq!(report.missing.len(), 1);
    case.settings.file_attempts_max = 100;
    case.whole().await;
    assert_eq!(case.asked(Place::KickOff).len(), 1);
    let others = case.asked(Place::File(0));
    assert_eq!(others.len(), 1, "what was whole is not fetched again");
    assert_eq!(case.asked(Place::Delete).len(), 1, "CL-13");
}

#[tokio::test]
async fn cl_10_texts_that_are_odd_and_right_come_as_they_are() {
    let long = format!(
        "{{\"resourceType\":\"Binary\",\"id\":\"long\",\"data\":\"{}\"}}\n",
        "QUJD".repeat(2_500_000)
    );
    let with_crlf = resources("Patient", 0, 5).replace('\n', "\r\n");
    let with_blanks = resources("Observation", 0, 3).replace('\n', "\n\n  \n");
    let without_end = resources("Encounter", 0, 3).trim_end().to_owned();
    let files = vec![
        SourceFile::output("Binary", long),
        SourceFile::output("Patient", with_crlf),
        SourceFile::output("Observation", with_blanks),
        SourceFile::output("Encounter", without_end),
    ];
    let script = vec![
        Strike::once(Place::File(0), Fault::Cut(Cut::Body(7_000_000))),
        Strike::once(Place::File(1), Fault::Cut(Cut::Body(200))),
        Strike::once(Place::File(2), Fault::Cut(Cut::Body(200))),
        Strike::once(Place::File(3), Fault::Cut(Cut::Body(200))),
    ];
    Case::of(files, Manner::default(), script).await.whole().await;
}

#[tokio::test]
async fn cl_10_a_byte_order_mark_is_taken_as_it_came() {
    let text = format!("\u{feff}{}", resources("Patient", 0, 3));
    let files = vec![SourceFile::output("Patient", text)];
    Case::of(files, Manner::default(), Vec::new()).await.whole().await;
}

#[tokio::test]
async fn cl_11_resources_that_come_twice_are_all_in_the_files() {
    let twice = resources("Patient", 0, 4).repeat(2);
    let files = vec![
        SourceFile::output("Patient", twice.clone()),
        SourceFile::output("Patient", twice),
    ];
    Case::of(files, Manner::default(), Vec::new()).await.whole().await;
}

fn missing<'a>(files: &'a [MissingFile], name: &str) -> &'a MissingFile {
    let found = files.iter().find(|file| file.name == name);
    found.unwrap_or_else(|| panic!("{name} is not told: {files:?}"))
}
