//! What one round does, and in which order.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::sync::{
    Daemon, Guide, Hook, Leavers, Point, Schedule, StateFolder, Unguided, render_metrics,
};
use fhirhose_fhir::instant::Instant;

use super::fixture::{CrashAt, Ground};

/// Writes down the cursor at each point.
struct Cursors<'a>(&'a Ground, Mutex<Vec<(Point, Option<String>)>>);

impl Guide for Cursors<'_> {
    fn reached(&self, point: Point) -> fhirhose_bulk::Result<()> {
        let state = StateFolder::look(&self.0.folder.path().join("state"))?;
        self.1.lock().unwrap().push((point, state.cursor));
        Ok(())
    }
}

#[tokio::test]
async fn output_comes_before_deletions_and_the_cursor_moves_last_cl_11_cl_12() {
    let ground = Ground::new();
    ground.ehr.put("Patient/a", "");
    let first = ground.round().await.transaction_time;
    ground.memory.done();
    ground.ehr.put("Patient/b", "");
    ground.ehr.delete("Patient/a");
    let cursors = Cursors(&ground, Mutex::default());
    let report = ground.sync().run_round(&cursors).await.unwrap();
    assert_eq!(ground.memory.done(), ["put Patient/b", "delete Patient/a"]);
    let seen = cursors.1.into_inner().unwrap();
    for (point, cursor) in &seen {
        let expected = if *point == Point::Committed {
            &report.transaction_time
        } else {
            &first
        };
        assert_eq!(cursor, expected, "{point:?}");
    }
    assert_eq!(seen.len(), 6);
}

#[tokio::test]
async fn a_fault_between_the_steps_repeats_the_step_and_keeps_the_cursor() {
    // After the resources are put, and after the deletions are applied.
    for (point, repeated) in [(3, vec!["delete Patient/a"]), (4, vec!["delete Patient/a"])] {
        let ground = Ground::new();
        ground.ehr.put("Patient/a", "");
        let cursor = ground.round().await.transaction_time;
        ground.ehr.put("Patient/b", "");
        ground.ehr.delete("Patient/a");
        let crashed = ground.sync().run_round(&CrashAt(Mutex::new(point))).await;
        assert!(crashed.is_err());
        ground.memory.done();
        assert_eq!(ground.sync().state().unwrap().cursor, cursor);
        ground.round().await;
        assert_eq!(ground.memory.done(), repeated);
        ground.check_equal("after the fault");
    }
}

#[tokio::test]
async fn a_pull_that_lacks_a_file_moves_nothing_and_says_so() {
    let ground = Ground::new();
    ground.ehr.put("Patient/a", "");
    ground.ehr.0.lock().unwrap().misses = 1;
    let report = ground.round().await;
    assert_eq!(report.missing[0].0, "deleted/1.Bundle.ndjson");
    assert!(ground.memory.hashes().is_empty());
    assert_eq!(ground.sync().state().unwrap().cursor, None);
    assert!(ground.round().await.is_clean());
    ground.check_equal("after the file came");
}

#[tokio::test]
async fn only_what_changed_is_sent_to_the_target_of_a_source_without_since() {
    let ground = Ground::new();
    ground.ehr.0.lock().unwrap().no_since = true;
    for n in 0..30 {
        ground.ehr.put(&format!("Patient/p{n}"), "");
    }
    ground.round().await;
    ground.memory.done();
    ground.ehr.put("Patient/p3", r#""active":true"#);
    // Another version of the same content.
    ground.ehr.put("Patient/p4", "");
    ground.ehr.delete("Patient/p5");
    let report = ground.round().await;
    assert_eq!(ground.memory.done(), ["put Patient/p3", "delete Patient/p5"]);
    assert_eq!(
        (report.counts.updated, report.counts.deleted, report.counts.same),
        (1, 1, 28)
    );
    assert!(report.is_whole);
}

#[tokio::test]
async fn a_whole_pull_that_lost_most_of_everything_is_held() {
    let ground = Ground::new();
    ground.ehr.0.lock().unwrap().no_since = true;
    for n in 0..30 {
        ground.ehr.put(&format!("Patient/p{n}"), "");
    }
    ground.round().await;
    for n in 0..20 {
        ground.ehr.delete(&format!("Patient/p{n}"));
    }
    let held = ground.sync().run_round(&Unguided).await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::TooManyDeletions);
    assert_eq!(ground.memory.hashes().len(), 30);
    let mut ground = ground;
    ground.settings.deletions_share_max = 1.0;
    ground.round().await;
    ground.check_equal("after it was allowed");
}

#[tokio::test]
async fn what_the_filter_no_longer_lets_through_is_deleted_at_the_target_cl_14() {
    let mut ground = Ground::new();
    ground.types = vec!["Patient".to_owned()];
    ground.type_filters = vec!["Patient?active=true".to_owned()];
    ground.ehr.put("Patient/a", r#""active":true"#);
    ground.ehr.put("Patient/b", r#""active":false"#);
    ground.ehr.put("Organization/o", "");
    let report = ground.round().await;
    assert_eq!(ground.memory.done(), ["put Patient/a"]);
    assert_eq!(report.counts.filtered, 2);
    ground.ehr.put("Patient/a", r#""active":false"#);
    ground.ehr.put("Patient/b", r#""active":true"#);
    let report = ground.round().await;
    assert_eq!(ground.memory.done(), ["put Patient/b", "delete Patient/a"]);
    assert_eq!(report.counts.withdrawn, 1);
    // Another filter: everything is looked at again.
    ground.type_filters.clear();
    let report = ground.round().await;
    assert!(report.is_whole);
    assert_eq!(ground.memory.hashes().len(), 2);
}

#[tokio::test]
async fn lines_go_through_the_command_and_so_do_deletions() {
    let mut ground = Ground::new();
    let command = r#"sed -e "s/Meier/$FHIRHOSE_SYNC_KIND/" -e /secret/d -e s,/a,/a-x,"#;
    ground.hook = Some(Hook {
        command: command.to_owned(),
    });
    ground.ehr.put("Patient/a", r#""name":[{"family":"Meier"}]"#);
    ground.ehr.put("Patient/b", r#""name":[{"family":"secret"}]"#);
    let report = ground.round().await;
    assert_eq!(report.dropped, 1);
    let text = ground.memory.0.lock().unwrap().texts["Patient/a"].clone();
    assert!(text.contains("output") && !text.contains("Meier"));
    ground.ehr.delete("Patient/a");
    ground.memory.done();
    ground.round().await;
    assert_eq!(ground.memory.done(), ["delete Patient/a-x"]);
    ground.hook = Some(Hook {
        command: "exit 7".to_owned(),
    });
    ground.ehr.put("Patient/c", "");
    let failed = ground.sync().run_round(&Unguided).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_the_target_refuses_is_reported_kept_and_tried_again() {
    let ground = Ground::new();
    ground.ehr.put("Patient/a", "");
    ground.ehr.put("Patient/b", "");
    ground
        .memory
        .0
        .lock()
        .unwrap()
        .refuses
        .insert("Patient/b".to_owned());
    let report = ground.round().await;
    assert_eq!((report.refused_by_target, report.is_clean()), (1, false));
    let refused = ground.folder.path().join("state/reports/1/put.refused.ndjson");
    assert!(std::fs::read_to_string(refused).unwrap().contains(r#""id":"b""#));
    assert_eq!(ground.round().await.refused_by_target, 1);
    assert_eq!(ground.sync().state().unwrap().pending, 1);
    ground.memory.0.lock().unwrap().refuses.clear();
    assert!(ground.round().await.is_clean());
    ground.check_equal("after the target takes it");
    assert_eq!(ground.sync().state().unwrap().pending, 0);
}

fn members(names: &[&str]) -> Option<BTreeSet<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn of_patient(patient: &str) -> String {
    format!(r#""status":"final","subject":{{"reference":"Patient/{patient}"}}"#)
}

#[tokio::test]
async fn joiners_of_a_group_bring_their_past_and_leavers_follow_the_policy_g_03_g_05() {
    for (leavers, left) in [(Leavers::Keep, 4), (Leavers::Remove, 2)] {
        let mut ground = Ground::new();
        ground.settings.leavers = leavers;
        for patient in ["a", "b"] {
            ground.ehr.put(&format!("Patient/{patient}"), "");
            ground
                .ehr
                .put(&format!("Observation/of-{patient}"), &of_patient(patient));
        }
        ground.ehr.0.lock().unwrap().members = members(&["a"]);
        ground.round().await;
        assert_eq!(ground.memory.hashes().len(), 2);
        // `b` comes with everything, though nothing of it has changed.
        ground.ehr.0.lock().unwrap().members = members(&["a", "b"]);
        let report = ground.round().await;
        assert_eq!((report.joiners, report.leavers), (1, 0));
        ground.check_equal("with the joiner");
        ground.ehr.0.lock().unwrap().members = members(&["b"]);
        let report = ground.round().await;
        assert_eq!((report.joiners, report.leavers), (0, 1));
        assert_eq!(ground.memory.hashes().len(), left, "{leavers:?}");
        let told = ground.folder.path().join("state/reports/3/leavers.ndjson");
        assert!(
            std::fs::read_to_string(told)
                .unwrap()
                .contains("Patient/a is no member")
        );
        // Whoever comes back brings the present state; what was deleted meanwhile goes.
        ground.ehr.delete("Observation/of-a");
        ground.round().await;
        ground.ehr.0.lock().unwrap().members = members(&["a", "b"]);
        ground.round().await;
        ground.check_equal("after the return");
    }
}

#[tokio::test]
async fn lines_that_cannot_be_taken_are_reported_and_the_rest_goes_on() {
    let ground = Ground::new();
    ground.ehr.put("Patient/a", "");
    ground.ehr.put("Patient/b", r#""x":1,"x":2"#);
    let report = ground.round().await;
    assert_eq!((report.refused, report.counts.created), (1, 1));
    let refused = ground.folder.path().join("state/reports/1/source.refused.ndjson");
    assert!(std::fs::read_to_string(refused).unwrap().contains(r#""id":"b""#));
}

#[tokio::test]
async fn a_month_of_nights_goes_by_in_a_moment() {
    let ground = Ground::new();
    for n in 0..50 {
        ground.ehr.put(&format!("Patient/p{n}"), "");
    }
    let sync = ground.sync();
    let schedule = Schedule::cron("0 2 * * *", jiff::tz::TimeZone::UTC).unwrap();
    let daemon = Daemon {
        sync: &sync,
        schedule: schedule.with_jitter(Duration::from_secs(900)),
    };
    let nights = Arc::new(Mutex::new(0_u64));
    let (ehr, seen) = (ground.ehr.clone(), Arc::clone(&nights));
    let heard = move |ended: &fhirhose_bulk::Result<Vec<_>>, _| {
        ended.as_ref().unwrap();
        let mut nights = seen.lock().unwrap();
        *nights += 1;
        ehr.put(&format!("Patient/p{nights}"), r#""active":true"#);
        ehr.delete(&format!("Patient/p{}", *nights + 10));
    };
    daemon.run(31, &Unguided, &heard).await.unwrap();
    let state = sync.state().unwrap();
    assert_eq!((*nights.lock().unwrap(), state.round), (31, 31));
    let days = (fhirhose_client::Clock::now(&ground.clock).micros()
        - Instant::parse("2026-11-01T02:00:00Z").unwrap().micros())
        / 86_400_000_000;
    assert_eq!(days, 30);
    drop(sync);
    ground.round().await;
    ground.check_equal("after a month");
}

#[tokio::test]
async fn a_failed_round_is_tried_again_before_the_next_night() {
    let ground = Ground::new();
    ground.ehr.put("Patient/a", "");
    ground.ehr.0.lock().unwrap().misses = 2;
    let sync = ground.sync();
    let daemon = Daemon {
        sync: &sync,
        schedule: Schedule::cron("0 2 * * *", jiff::tz::TimeZone::UTC).unwrap(),
    };
    daemon.run(3, &Unguided, &|_, _| ()).await.unwrap();
    let state = sync.state().unwrap();
    assert_eq!(
        (state.round, state.totals.failures, state.failures_in_row),
        (1, 2, 0)
    );
    let metrics = render_metrics(&state, fhirhose_client::Clock::now(&ground.clock));
    assert!(metrics.contains("fhirhose_sync_rounds_total 1\n"));
    assert!(metrics.contains("fhirhose_sync_failures_total 2\n"));
    let applied = Instant::parse(state.cursor.as_deref().unwrap()).unwrap();
    let now = fhirhose_client::Clock::now(&ground.clock);
    let lag = (now.micros() - applied.micros()) / 1_000_000;
    assert!(lag > 30 * 86_400, "the source is of the month before: {lag}");
    assert!(
        metrics.contains(&format!("fhirhose_sync_lag_seconds {lag}\n")),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_state_folder_has_one_process_and_one_sync() {
    let ground = Ground::new();
    let sync = ground.sync();
    let second = StateFolder::open(&ground.folder.path().join("state")).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::InUse);
    sync.run_round(&Unguided).await.unwrap();
    drop(sync);
    let state = ground.folder.path().join("state/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replace("\"memory\"", "\"another\"")).unwrap();
    let other = ground.sync().run_round(&Unguided).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Invalid);
    assert!(other.to_string().contains("another"));
}
