//! Timestamps and clocks.

use std::{sync::Arc, time::Duration};

use fhirhose_jobs::{Clock, SystemClock, Timestamp, testing::ManualClock};

#[test]
fn timestamps_stay_at_their_ends_instead_of_wrapping() {
    let last = Timestamp::from_micros(i64::MAX);
    assert_eq!(last.plus(Duration::from_secs(1)), last);
    assert_eq!(Timestamp::default().plus(Duration::MAX), last);
    let first = Timestamp::from_micros(i64::MIN);
    assert_eq!(first.since(last), Duration::ZERO);
    assert_eq!(last.since(first), Duration::from_micros(i64::MAX.unsigned_abs()));
    assert_eq!(
        Timestamp::from_micros(5).since(Timestamp::from_micros(3)),
        Duration::from_micros(2)
    );
}

#[tokio::test]
async fn sleeper_wakes_when_the_manual_clock_reaches_its_time_and_not_before() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let sleeper = clock.clone();
    let task = tokio::spawn(async move { sleeper.sleep_until(Timestamp::from_micros(2_000_000)).await });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_micros(1_999_999));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!task.is_finished());
    clock.advance(Duration::from_micros(1));
    task.await.unwrap();
}

#[tokio::test]
async fn system_clock_is_past_the_year_2020_and_does_not_wait_for_the_past() {
    let now = SystemClock.now();
    assert!(now > Timestamp::from_micros(1_577_836_800_000_000));
    SystemClock.sleep_until(now).await;
}
