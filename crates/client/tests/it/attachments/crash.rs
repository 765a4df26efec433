//! Pulls with attachments that are cut off and run again: what is there is not fetched again.

use std::collections::BTreeSet;

use fhirhose_client::pull::AttachmentSettings;
use fhirhose_client::testing::{Cut, Fault, Manner, Place, SourceAttachment, SourceFile, Strike, Words};

use super::{NOTE, document, link, named, note, notes, with_attachments};
use crate::case::{Case, cut_at};

impl Case {
    /// The attachments of which the pull knows that they are there: when it has ended, all.
    fn noted(&self) -> BTreeSet<String> {
        let ledger = std::fs::read_to_string(self.folder().join(".fhirhose-pull/attachments.journal"));
        let mut there = self.attachments();
        if let Ok(ledger) = ledger {
            there.retain(|name| ledger.contains(&name["attachments/".len()..]));
        }
        there
    }
}

#[tokio::test]
async fn cl_10_a_pull_with_attachments_cut_off_at_any_event_goes_on_where_it_was() {
    for at in 1.. {
        assert!(at < 200, "a pull has fewer events");
        let script = vec![
            Strike::once(Place::Attachment(0), Fault::Cut(Cut::Body(7))),
            Strike::once(Place::Attachment(2), Fault::answer(404, Words::Nothing)),
        ];
        let case = notes(3, Manner::default(), script).await;
        let ended = cut_at(&case, at).await;
        let noted = case.noted();
        let before = case.ehr.asked().len();
        assert_eq!(case.pulled().await.missing, [], "cut at event {at}");
        case.assert_notes(3);
        for asked in &case.ehr.asked()[before..] {
            if let Some(Place::Attachment(index)) = asked.place {
                let name = named(note(index).as_bytes(), ".txt");
                assert!(
                    !noted.contains(&name),
                    "cut at event {at}: {index} was fetched again"
                );
            }
        }
        assert_eq!(case.asked(Place::KickOff).len(), 1, "cut at event {at}");
        if ended.is_some() {
            return;
        }
    }
}

/// Ends the journal before the last line of this record.
fn cut_journal(case: &Case, record: &str) {
    let path = case.folder().join(".fhirhose-pull/journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let last = lines.iter().rposition(|line| line.contains(record)).unwrap();
    std::fs::write(&path, lines[..last].concat()).unwrap();
}

#[tokio::test]
async fn cl_10_a_file_that_was_replaced_just_before_a_crash_is_recognised() {
    for is_replaced in [true, false] {
        let lines = document(9, &[link("text/plain", "Binary/1")]);
        let media = "{\"resourceType\":\"Media\",\"id\":\"m\",\"content\":{\"url\":\"Binary/0\"}}\n";
        let files = vec![
            SourceFile::output("Media", media),
            SourceFile::output("DocumentReference", lines),
        ];
        let gone = Strike::times(2, Place::Attachment(1), Fault::answer(404, Words::Nothing));
        // The manifest has digests: what was replaced would not be the file.
        let manner = Manner {
            checksums: true,
            ..Manner::default()
        };
        let mut case = Case::of(files, manner, vec![gone]).await;
        for _ in 0..2 {
            case.ehr.hold(SourceAttachment::new("text/plain", NOTE));
        }
        case.settings = with_attachments(AttachmentSettings::default());
        assert_eq!(case.pulled().await.missing.len(), 1);
        cut_journal(&case, "\"linked\"");
        let linked = case.text("1.Media.ndjson");
        if !is_replaced {
            std::fs::write(case.folder().join("1.Media.ndjson"), media).unwrap();
        }
        let report = case.pulled().await;
        assert_eq!(report.missing, []);
        assert_eq!(case.text("1.Media.ndjson"), linked);
        assert_eq!(report.attachments.unwrap().links, 2);
        assert_eq!(case.asked(Place::File(0)).len(), 1, "it is not fetched again");
        assert_eq!([case.given(0), case.given(1)], [1, 1]);
    }
}

#[tokio::test]
async fn cl_10_a_file_that_comes_again_leads_to_its_attachments_again() {
    let media = "{\"resourceType\":\"Media\",\"id\":\"m\",\"content\":{\"url\":\"Binary/0\"}}\n";
    let files = vec![
        SourceFile::output("Media", media),
        SourceFile::output(
            "DocumentReference",
            document(0, &[link("text/plain", "Binary/1")]),
        ),
    ];
    let gone = Strike::times(2, Place::Attachment(1), Fault::answer(404, Words::Nothing));
    let mut case = Case::of(files, Manner::default(), vec![gone]).await;
    for _ in 0..2 {
        case.ehr.hold(SourceAttachment::new("text/plain", NOTE));
    }
    case.settings = with_attachments(AttachmentSettings::default());
    assert_eq!(case.pulled().await.missing.len(), 1);
    let linked = case.text("1.Media.ndjson");
    std::fs::remove_file(case.folder().join("1.Media.ndjson")).unwrap();
    // As a kill would leave them.
    for cut in ["attachment-00.partial", "1.Media.ndjson.linked.partial"] {
        std::fs::write(case.folder().join(".fhirhose-pull").join(cut), "half").unwrap();
    }
    assert_eq!(case.pulled().await.attachments.unwrap().links, 2);
    assert_eq!(case.text("1.Media.ndjson"), linked);
    assert_eq!(case.given(0), 1, "the attachment was there");
    case.assert_ended();
}
