//! Attachments of pulled resources, from a faulty EHR: each is there once, and the resources lead there.

mod crash;
mod folder;

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fhirhose_client::ErrorKind;
use fhirhose_client::pull::{AttachmentReport, AttachmentSettings, PullReport, PullSettings, Quiet};
use fhirhose_client::testing::{
    Cut, Fault, FileHost, Manner, Place, RetryAfter, SourceAttachment, SourceFile, Strike, Words,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::case::{Case, data_files, tokens};

const NOTE: &str = "Patient feels well. Größe 170 cm.\n";

/// The line of a DocumentReference with these attachments.
fn document(id: usize, attachments: &[String]) -> String {
    let content: Vec<String> = attachments
        .iter()
        .map(|attachment| format!("{{ \"attachment\" : {attachment}}}"))
        .collect();
    format!(
        "{{\"resourceType\":\"DocumentReference\",\"id\":\"d{id}\",\"decimal\":1.0,\"content\":[{}]}}\n",
        content.join(",")
    )
}

/// An attachment of this type behind a URL.
fn link(content_type: &str, url: &str) -> String {
    format!("{{\"contentType\":\"{content_type}\",\"url\":\"{url}\",\"title\":\"t\"}}")
}

/// The name of a content.
fn named(content: &[u8], extension: &str) -> String {
    let digits: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("attachments/{digits}{extension}")
}

fn with_attachments(settings: AttachmentSettings) -> PullSettings {
    PullSettings {
        attachments: Some(settings),
        ..PullSettings::default()
    }
}

/// A server with these notes as plain text, each behind its Binary, and one DocumentReference for each.
async fn notes(number: usize, manner: Manner, script: Vec<Strike>) -> Case {
    let lines = (0..number).map(|at| document(at, &[link("text/plain", &format!("Binary/{at}"))]));
    let files = vec![
        SourceFile::output("DocumentReference", lines.collect::<String>()),
        SourceFile::output("Patient", "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n"),
    ];
    let mut case = Case::of(files, manner, script).await;
    for at in 0..number {
        let url = case.ehr.hold(SourceAttachment::new("text/plain", note(at)));
        assert_eq!(url, format!("Binary/{at}"));
    }
    case.settings = with_attachments(AttachmentSettings::default());
    case
}

fn note(at: usize) -> String {
    format!("{NOTE}{at}\n")
}

impl Case {
    async fn pulled(&self) -> PullReport {
        let report = self.run(&Quiet).await;
        report.unwrap_or_else(|error| panic!("{}", error.chain()))
    }

    /// The files of attachments, by their paths in the folder.
    fn attachments(&self) -> BTreeSet<String> {
        files_in(&self.folder().join("attachments"))
    }

    fn documents(&self) -> Vec<Value> {
        let lines = self.text("1.DocumentReference.ndjson");
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// All notes are there, and the lines differ from the server's in nothing but their URLs.
    fn assert_notes(&self, number: usize) {
        let mut expected = String::from_utf8(self.ehr.files()[0].text.to_vec()).unwrap();
        for at in 0..number {
            let name = named(note(at).as_bytes(), ".txt");
            assert_eq!(self.text(&name), note(at));
            expected = expected.replace(&format!("\"Binary/{at}\""), &format!("\"./{name}\""));
        }
        assert_eq!(self.text("1.DocumentReference.ndjson"), expected);
        assert_eq!(self.attachments().len(), number);
        self.assert_ended();
        assert_eq!(
            self.own_files(),
            BTreeSet::from(["journal".to_owned(), "lock".to_owned()])
        );
    }

    /// What the pull keeps for itself.
    fn own_files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder().join(".fhirhose-pull")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// How often each attachment was asked for and given.
    fn given(&self, index: usize) -> usize {
        let asked = self.asked(Place::Attachment(index));
        asked.iter().filter(|asked| asked.status == 200).count()
    }
}

fn files_in(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| {
            format!(
                "attachments/{}",
                entry.unwrap().file_name().into_string().unwrap()
            )
        })
        .collect()
}

#[tokio::test]
async fn attachments_lie_in_the_folder_and_the_lines_lead_there() {
    let case = notes(3, Manner::default(), Vec::new()).await;
    let report = case.pulled().await;
    case.assert_notes(3);
    assert_eq!(report.missing, []);
    let told = AttachmentReport {
        files: 3,
        bytes: 3 * note(0).len() as u64,
        links: 3,
        ..AttachmentReport::default()
    };
    assert_eq!(report.attachments, Some(told));
    let file = &report.files[0];
    let text = case.text("1.DocumentReference.ndjson");
    assert_eq!((file.lines, file.bytes), (3, text.len() as u64));
    assert!(
        named(text.as_bytes(), "").ends_with(&file.sha256),
        "the receipt is of what is there"
    );
    assert_eq!(case.asked(Place::Delete).len(), 1);
}

#[tokio::test]
async fn the_log_tells_of_attachments_as_bulk_data_client_does() {
    let case = notes(
        2,
        Manner::default(),
        vec![Strike::once(Place::Attachment(1), Fault::Cut(Cut::Head))],
    )
    .await;
    case.pulled().await;
    let of = |event: &str| {
        let told = case.log_of(event).into_iter();
        let told = told.filter(|detail| detail["fileUrl"].as_str().unwrap().contains("/Binary/"));
        told.collect::<Vec<_>>()
    };
    let requests = of("download_request");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["itemType"], "attachment");
    assert_eq!(requests[0]["resourceType"], "DocumentReference");
    assert_eq!(requests[0]["fileUrl"], format!("{}/Binary/0", case.ehr.base()));
    let completed = of("download_complete");
    assert_eq!(completed.len(), 2);
    assert!(completed.iter().all(|detail| detail["resourceCount"].is_null()));
    assert_eq!(completed[0]["fileSize"], note(0).len());
    assert_eq!(of("download_error").len(), 1);
    assert_eq!(case.log_of("export_complete")[0]["attachments"], 2);
}

#[tokio::test]
async fn without_being_asked_for_attachments_stay_at_the_server() {
    let mut case = notes(2, Manner::default(), Vec::new()).await;
    case.settings = PullSettings::default();
    let report = case.whole().await;
    assert_eq!(report.attachments, None);
    assert!(case.asked(Place::Attachment(0)).is_empty());
}

#[tokio::test]
async fn a_url_is_fetched_once_and_a_content_is_there_once() {
    let both = [link("text/plain", "Binary/0"), link("text/plain", "/Binary/1")];
    let lines = document(0, &both) + &document(1, &both);
    let media = "{\"resourceType\":\"Media\",\"id\":\"m\",\"content\":{\"contentType\":\"text/plain\",\"url\":\"Binary/0#x\"}}\n";
    let report =
        "{\"resourceType\":\"DiagnosticReport\",\"id\":\"r\",\"presentedForm\":[{\"url\":\"Binary/2\"}]}\n";
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"p\",\"photo\":[{\"url\":\"Binary/0\"}]}\n";
    let files = vec![
        SourceFile::output("DocumentReference", lines),
        SourceFile::output("Media", media),
        SourceFile::output("DiagnosticReport", report),
        SourceFile::output("Patient", patient),
    ];
    let mut case = Case::of(files, Manner::default(), Vec::new()).await;
    for _ in 0..2 {
        case.ehr.hold(SourceAttachment::new("text/plain", NOTE));
    }
    case.ehr.hold(SourceAttachment::new("application/pdf", "%PDF"));
    case.settings = with_attachments(AttachmentSettings::default());
    let pulled = case.pulled().await;
    let (text, pdf) = (named(NOTE.as_bytes(), ".txt"), named(b"%PDF", ".pdf"));
    assert_eq!(case.attachments(), BTreeSet::from([text.clone(), pdf.clone()]));
    for index in 0..3 {
        assert_eq!(case.given(index), 1, "{index}");
    }
    assert_eq!(pulled.attachments.unwrap().links, 6);
    let link_to = |name: &str| Value::from(format!("./{name}"));
    for line in case.documents() {
        assert_eq!(line["content"][0]["attachment"]["url"], link_to(&text));
        assert_eq!(line["content"][1]["attachment"]["url"], link_to(&text));
    }
    assert!(case.text("1.Media.ndjson").contains(&text));
    assert!(
        case.text("1.DiagnosticReport.ndjson").contains(&pdf),
        "its type is the server's"
    );
    assert_eq!(case.text("1.Patient.ndjson"), patient, "photos are no documents");
}

#[tokio::test]
async fn other_types_data_and_urls_that_cannot_be_fetched_stay_as_they_are() {
    let kept = [
        link("image/png", "Binary/0"),
        "{\"contentType\":\"text/plain\",\"url\":\"Binary/0\",\"data\":\"eA==\"}".to_owned(),
        link("text/plain", "#contained"),
        link("text/plain", "urn:uuid:1"),
        link("text/plain", "data:text/plain,x"),
        "{\"url\":\"Binary/0\"}".to_owned(),
    ];
    let files = vec![SourceFile::output("DocumentReference", document(0, &kept))];
    let mut case = Case::of(files, Manner::default(), Vec::new()).await;
    case.ehr.hold(SourceAttachment::new("text/plain", NOTE));
    case.settings = with_attachments(AttachmentSettings {
        types: vec!["text/".to_owned()],
        ..AttachmentSettings::default()
    });
    case.whole().await;
    assert!(case.asked(Place::Attachment(0)).is_empty());
}

#[tokio::test]
async fn small_ones_are_put_into_their_resources() {
    let large = "x".repeat(100);
    let attachments = [
        link("text/plain", "Binary/0"),
        link("text/plain", "Binary/1"),
        "{\"url\":\"Binary/2\",\"size\":99}".to_owned(),
        link("image/png", "Binary/0"),
    ];
    let files = vec![SourceFile::output("DocumentReference", document(0, &attachments))];
    let mut case = Case::of(files, Manner::default(), Vec::new()).await;
    for (content_type, content) in [
        ("text/plain", "note"),
        ("text/plain", &large),
        ("application/pdf", "%PDF"),
    ] {
        case.ehr
            .hold(SourceAttachment::new(content_type, content.to_owned()));
    }
    case.settings = with_attachments(AttachmentSettings {
        inline_below_bytes: 100,
        ..AttachmentSettings::default()
    });
    let report = case.pulled().await.attachments.unwrap();
    let line = &case.documents()[0];
    let attachment = |at: usize| &line["content"][at]["attachment"];
    assert_eq!(attachment(0)["data"], STANDARD.encode("note"));
    assert_eq!(
        (&attachment(0)["size"], &attachment(0)["url"]),
        (&4.into(), &Value::Null)
    );
    assert_eq!(attachment(0)["title"], "t");
    assert_eq!(
        attachment(1)["url"],
        format!("./{}", named(large.as_bytes(), ".txt"))
    );
    assert_eq!(attachment(2)["contentType"], "application/pdf");
    assert_eq!(
        (&attachment(2)["data"], &attachment(2)["size"]),
        (&STANDARD.encode("%PDF").into(), &4.into())
    );
    // One whose type is not put into resources is a file, also where the same URL is elsewhere.
    assert_eq!(attachment(3)["url"], format!("./{}", named(b"note", ".txt")));
    assert_eq!(
        (report.files, report.links, report.inlined, report.other_size),
        (2, 2, 2, 1)
    );
    let names = [named(large.as_bytes(), ".txt"), named(b"note", ".txt")];
    assert_eq!(case.attachments(), BTreeSet::from(names));
}

#[tokio::test]
async fn a_binary_as_json_is_taken_apart() {
    let attachments = [
        link("text/plain", "Binary/0"),
        "{\"url\":\"Binary/1\"}".to_owned(),
    ];
    let files = vec![SourceFile::output("DocumentReference", document(0, &attachments))];
    let mut case = Case::of(files, Manner::default(), Vec::new()).await;
    case.ehr
        .hold(SourceAttachment::binary("text/plain", &STANDARD.encode(NOTE)));
    let base64 = STANDARD.encode("%PDF-1.7 and more").replace("Zi", "Zi\n");
    case.ehr
        .hold(SourceAttachment::binary("application/pdf", &base64));
    case.settings = with_attachments(AttachmentSettings::default());
    case.pulled().await;
    let names = [
        named(NOTE.as_bytes(), ".txt"),
        named(b"%PDF-1.7 and more", ".pdf"),
    ];
    assert_eq!(case.attachments(), BTreeSet::from(names));
    let accepts: Vec<String> = (0..2)
        .map(|index| {
            case.asked(Place::Attachment(index))[0]
                .header("accept")
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(accepts, ["text/plain", "application/fhir+json"]);
}

#[tokio::test]
async fn cl_10_single_faults_lose_no_attachment() {
    for fault in [
        Fault::answer(503, Words::Html),
        Fault::answer_later(429, RetryAfter::Secs(120), Words::Nothing),
        Fault::answer(404, Words::Nothing),
        Fault::Cut(Cut::Before),
        Fault::Cut(Cut::Body(5)),
        Fault::EndlessChunks,
        Fault::AnnouncesMore(9),
    ] {
        let case = notes(
            2,
            Manner::default(),
            vec![Strike::once(Place::Attachment(1), fault.clone())],
        )
        .await;
        let report = case.pulled().await;
        assert_eq!(report.missing, [], "{fault:?}");
        case.assert_notes(2);
        assert_eq!(case.asked(Place::Attachment(1)).len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn cl_02_a_token_that_ends_is_renewed_and_cl_04_goes_through_no_redirect() {
    for file_host in [FileHost::Own, FileHost::Redirected(307)] {
        let manner = Manner {
            tokens: tokens(),
            file_host,
            ..Manner::default()
        };
        let refused = Strike::once(Place::Attachment(0), Fault::TokenRefused);
        let case = notes(2, manner, vec![refused]).await;
        case.pulled().await;
        case.assert_notes(2);
        let asked = case.asked(Place::Attachment(0));
        assert_eq!(asked[0].status, 401);
        assert!(asked.iter().all(|asked| {
            let bears = asked.header("authorization").is_some();
            bears == (asked.host == fhirhose_client::testing::Host::Fhir)
        }));
    }
}

#[tokio::test]
async fn cl_04_another_origin_sees_no_token() {
    let other = notes(1, Manner::default(), Vec::new()).await;
    let url = format!("{}/Binary/0?sig=secret-1", other.ehr.base());
    let files = vec![SourceFile::output(
        "DocumentReference",
        document(0, &[link("text/plain", &url)]),
    )];
    let manner = Manner {
        tokens: tokens(),
        ..Manner::default()
    };
    let mut case = Case::of(files, manner, Vec::new()).await;
    case.settings = with_attachments(AttachmentSettings::default());
    let report = case.pulled().await;
    assert_eq!((report.missing.len(), case.attachments().len()), (0, 1));
    let asked = other.asked(Place::Attachment(0));
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(asked[0].query("sig"), ["secret-1"]);
    // Neither log nor manifest has the query.
    case.assert_ended();
}

#[tokio::test]
async fn cl_13_what_cannot_be_had_is_missing_and_comes_with_the_next_run() {
    let gone = Strike::times(2, Place::Attachment(1), Fault::answer(404, Words::Nothing));
    let case = notes(3, Manner::default(), vec![gone]).await;
    let report = case.pulled().await;
    let [missing] = &report.missing[..] else {
        panic!("{report:?}");
    };
    assert_eq!(missing.name, "attachment in line 2 of 1.DocumentReference.ndjson");
    assert!(missing.why.contains("404"), "{missing:?}");
    assert_eq!(
        case.text("1.DocumentReference.ndjson").as_bytes(),
        case.ehr.files()[0].text
    );
    assert!(case.asked(Place::Delete).is_empty());
    assert_eq!(case.pulled().await.missing, []);
    case.assert_notes(3);
    assert_eq!([case.given(0), case.given(1), case.given(2)], [1; 3]);
    assert_eq!(case.asked(Place::Delete).len(), 1);
}

#[tokio::test]
async fn errors_that_are_ignored_leave_the_absolute_url() {
    let mut case = notes(
        2,
        Manner::default(),
        vec![Strike::always(
            Place::Attachment(1),
            Fault::answer(410, Words::Nothing),
        )],
    )
    .await;
    assert_eq!(case.pulled().await.missing.len(), 1);
    // The next run may be told so.
    case.settings = with_attachments(AttachmentSettings {
        ignores_errors: true,
        ..AttachmentSettings::default()
    });
    let report = case.pulled().await;
    assert_eq!(report.missing, []);
    let told = report.attachments.unwrap();
    assert_eq!((told.files, told.links, told.ignored), (1, 1, 1));
    let documents = case.documents();
    let url = |at: usize| documents[at]["content"][0]["attachment"]["url"].clone();
    assert_eq!(url(0), format!("./{}", named(note(0).as_bytes(), ".txt")));
    assert_eq!(url(1), format!("{}/Binary/1", case.ehr.base()));
    assert_eq!(case.log_of("download_error").len(), 4, "two tries a run");
    assert_eq!(case.asked(Place::Delete).len(), 1);
}

#[tokio::test]
async fn a_hash_that_lies_is_an_error_and_a_size_that_lies_is_told() {
    let sha1 = "C+7Hteo/D9vJXQ3UfzxbwnXaijM="; // of "foo"
    let attachments = [
        format!("{{\"contentType\":\"text/plain\",\"url\":\"Binary/0\",\"size\":3,\"hash\":\"{sha1}\"}}"),
        "{\"contentType\":\"text/plain\",\"url\":\"Binary/1\",\"size\":99}".to_owned(),
    ];
    let files = vec![SourceFile::output("DocumentReference", document(0, &attachments))];
    let mut case = Case::of(files, Manner::default(), Vec::new()).await;
    case.ehr.hold(SourceAttachment::new("text/plain", "foo"));
    case.ehr.hold(SourceAttachment::new("text/plain", "other"));
    case.settings = with_attachments(AttachmentSettings::default());
    case.settings.file_attempts_max = 2;
    for _ in 0..2 {
        case.ehr
            .strike(Strike::once(Place::Attachment(0), Fault::ShortBody(1)));
    }
    let report = case.pulled().await;
    assert!(report.missing[0].why.contains("`hash`"), "{report:?}");
    let report = case.pulled().await;
    assert_eq!(
        (report.missing.len(), report.attachments.unwrap().other_size),
        (0, 1)
    );
}

#[tokio::test]
async fn limits_hold_what_a_server_can_make_grow() {
    let mut case = notes(3, Manner::default(), Vec::new()).await;
    case.settings = with_attachments(AttachmentSettings {
        attachments_max: 2,
        ..AttachmentSettings::default()
    });
    let error = case.run(&Quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("more than 2 attachments"), "{error}");
    case.settings = with_attachments(AttachmentSettings {
        attachment_bytes_max: 10,
        ..AttachmentSettings::default()
    });
    let report = case.pulled().await;
    assert!(
        report.missing[0].why.contains("longer than 10 bytes"),
        "{report:?}"
    );
    assert_eq!(report.missing.len(), 3);
    let mut case = notes(0, Manner::default(), Vec::new()).await;
    case.settings = with_attachments(AttachmentSettings::default());
    assert_eq!(case.pulled().await.attachments, Some(AttachmentReport::default()));
}

#[tokio::test]
async fn a_pull_that_wants_its_attachments_otherwise_is_another_pull() {
    let mut case = notes(1, Manner::default(), Vec::new()).await;
    case.pulled().await;
    case.settings = PullSettings::default();
    let error = case.run(&Quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OtherFolder);
    assert!(error.to_string().contains("attachments"), "{error}");
}

#[tokio::test]
async fn two_pulls_of_the_same_are_the_same() {
    let mut texts = Vec::new();
    for parallel in [1, 5] {
        let mut case = notes(12, Manner::default(), Vec::new()).await;
        case.settings.parallel_downloads = parallel;
        case.pulled().await;
        texts.push((
            case.text("1.DocumentReference.ndjson"),
            case.attachments(),
            data_files(&case.folder()),
        ));
    }
    assert_eq!(texts[0], texts[1]);
}

#[tokio::test]
async fn an_export_that_is_lost_takes_its_attachments_along() {
    let mut case = notes(2, Manner::default(), Vec::new()).await;
    case.settings.file_attempts_max = 1;
    case.ehr.strike(Strike::always(Place::File(1), Fault::Expired));
    case.ehr
        .strike(Strike::once(Place::Status, Fault::answer(404, Words::Nothing)).after(1));
    let report = case.pulled().await;
    assert!(report.missing[0].why.contains("the export is gone"), "{report:?}");
    assert_eq!(case.attachments().len(), 2);
    let error = case.run(&Quiet).await;
    assert_eq!(case.asked(Place::KickOff).len(), 2, "{error:?}");
    assert_eq!(
        [case.given(0), case.given(1)],
        [2, 2],
        "of the export that was lost nothing is kept"
    );
}
