//! Pulls that are cut off at their n-th event, for each n, and run again: they go on where they were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fhirhose_client::pull::{PullEvent, Watch};
use fhirhose_client::testing::{Cut, Fault, FileCoding, Manner, Place, RetryAfter, SlowBodies, Strike};
use tokio::sync::Notify;

use super::{Case, LARGEST, data_files, names};
use crate::case::cut_at;

/// Everything that shows under its name is whole.
fn assert_true_so_far(case: &Case) {
    let names = names(case.ehr.files());
    for name in data_files(&case.folder()) {
        let index = names
            .iter()
            .position(|own| *own == name)
            .unwrap_or_else(|| panic!("{name}"));
        let bytes = std::fs::read(case.folder().join(&name)).unwrap();
        assert!(bytes == case.ehr.files()[index].text, "{name} is not whole");
    }
}

/// Cuts one case off at its n-th event for each n until it ends by itself.
async fn crash_everywhere(manner: &Manner, script: &[Strike]) {
    for at in 1.. {
        assert!(at < 500, "a pull has fewer events");
        let case = Case::new(manner.clone(), script.to_vec()).await;
        let ended = cut_at(&case, at).await.is_some();
        assert_true_so_far(&case);
        let whole = data_files(&case.folder());
        let before = case.ehr.asked().len();
        case.whole().await;
        // What was accepted is noted before any event.
        assert_eq!(case.asked(Place::KickOff).len(), 1, "cut at event {at}");
        let names = names(case.ehr.files());
        for asked in &case.ehr.asked()[before..] {
            let name = asked.file().map(|index| &names[index]);
            // One that was whole under way to its name may have come to it since.
            assert!(
                name.is_none_or(|name| !whole.contains(name)),
                "cut at event {at}: {name:?} was fetched again"
            );
        }
        if ended {
            return;
        }
    }
}

#[tokio::test]
async fn cl_10_a_pull_cut_off_at_any_event_goes_on_where_it_was() {
    crash_everywhere(&Manner::default(), &[]).await;
}

#[tokio::test]
async fn cl_10_a_pull_through_faults_cut_off_at_any_event_goes_on_where_it_was() {
    let manner = Manner {
        takes: Duration::from_hours(2),
        retry_after: RetryAfter::Secs(300),
        coding: FileCoding::ZstdFrames,
        ..Manner::default()
    };
    let script = [
        Strike::once(Place::File(LARGEST), Fault::Cut(Cut::Body(500))),
        Strike::once(Place::File(0), Fault::ShortBody(30)),
    ];
    crash_everywhere(&manner, &script).await;
}

/// Ends a pull when a thousand bytes of a file are there.
struct Within {
    name: String,
    bytes: AtomicU64,
    cut: Notify,
}

impl Watch for Within {
    fn hear(&self, event: &PullEvent<'_>) {
        if let PullEvent::FileBytes { name, bytes } = event
            && *name == self.name
            && self.bytes.fetch_add(*bytes, Ordering::Relaxed) + bytes >= 1_000
        {
            self.cut.notify_one();
        }
    }
}

#[tokio::test]
async fn cl_10_a_file_under_way_goes_on_by_range_after_a_crash() {
    let manner = Manner {
        slow_bodies: Some(SlowBodies {
            bytes: 500,
            pause: Duration::from_millis(10),
        }),
        ..Manner::default()
    };
    let silence = Fault::Cut(Cut::Silence(4_000));
    let mut case = Case::new(manner, vec![Strike::once(Place::File(LARGEST), silence)]).await;
    case.settings.parallel_downloads = 1;
    let cutter = Within {
        name: names(case.ehr.files()).swap_remove(LARGEST),
        bytes: AtomicU64::new(0),
        cut: Notify::new(),
    };
    tokio::select! {
        biased;
        () = cutter.cut.notified() => {}
        report = case.run(&cutter) => panic!("it ended without a word of {}: {report:?}", cutter.name),
    }
    case.whole().await;
    let fetches = case.fetches(LARGEST);
    let (status, from) = *fetches.last().unwrap();
    assert_eq!(status, 206, "{fetches:?}");
    assert!((1..=4_000).contains(&from.unwrap()), "{fetches:?}");
    assert_eq!(case.asked(Place::KickOff).len(), 1);
    assert_eq!(
        case.asked(Place::File(0)).len(),
        1,
        "what was whole is not fetched again"
    );
}

#[tokio::test]
async fn cl_10_one_export_id_through_all_runs() {
    let case = Case::new(Manner::default(), Vec::new()).await;
    cut_at(&case, 4).await;
    case.whole().await;
    let ids: Vec<_> = case.log().iter().map(|line| line["exportId"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.is_string()), "{ids:?}");
    assert_eq!(case.log_of("kickoff").len(), 1);
    assert_eq!(case.log_of("export_complete").len(), 1);
}

#[tokio::test]
async fn a_whole_pull_run_again_asks_the_server_nothing() {
    let case = Case::new(Manner::default(), Vec::new()).await;
    let first = case.whole().await;
    let asked = case.ehr.asked().len();
    let again = case.whole().await;
    assert_eq!(case.ehr.asked().len(), asked);
    assert!(again.already_whole && !first.already_whole);
    assert_eq!(again.files, first.files);
}
