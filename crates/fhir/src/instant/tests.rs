//! Instants: text to number and back, and what is refused.

use std::time::Duration;

use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};

use super::{INSTANT_BYTES, Instant, InstantError, write_instant};

fn instants() -> impl Strategy<Value = Instant> {
    (Instant::MIN.micros()..=Instant::MAX.micros()).prop_map(Instant::from_micros)
}

fn check(text: &str, same_as: &str) {
    assert_eq!(Instant::parse(text).expect(text).to_string(), same_as, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn parsing_a_text_gives_back_its_instant(instant in instants()) {
        let text = instant.to_string();
        prop_assert_eq!(text.len(), INSTANT_BYTES);
        prop_assert_eq!(Instant::parse(&text), Ok(instant));
    }

    #[test]
    fn texts_order_like_instants(a in instants(), b in instants()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn offsets_shift_the_wall_clock(
        second in -60_000_000_000_i64..250_000_000_000,
        minutes in -14 * 60..=14 * 60_i64,
    ) {
        let wall_clock = Instant::from_micros((second + minutes * 60) * 1_000_000).to_string();
        let sign = if minutes < 0 { '-' } else { '+' };
        let zone = format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
        let text = wall_clock.replace(".000000Z", &zone);
        prop_assert_eq!(Instant::parse(&text), Ok(Instant::from_micros(second * 1_000_000)));
    }

    #[test]
    fn no_text_panics(text in "[0-9TZ:.+\\-]{0,40}|\\PC{0,40}") {
        if let Ok(instant) = Instant::parse(&text) {
            prop_assert!((Instant::MIN..=Instant::MAX).contains(&instant));
        }
        prop_assert!(Instant::parse_http_date(&text).is_err());
    }
}

#[test]
fn known_instants_have_their_numbers() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-02-29T12:00:00Z", 951_825_600_000_000),
        ("2026-11-21T04:12:33.123456Z", 1_795_234_353_123_456),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ] {
        assert_eq!(Instant::parse(text).map(Instant::micros), Ok(micros), "{text}");
    }
}

#[test]
fn zones_are_turned_into_utc() {
    check("2015-02-07T13:28:17.239+02:00", "2015-02-07T11:28:17.239000Z");
    check("2015-02-07T13:28:17-05:30", "2015-02-07T18:58:17.000000Z");
    check("2024-01-01T00:30:00+14:00", "2023-12-31T10:30:00.000000Z");
    check("2024-02-28T23:30:00-00:30", "2024-02-29T00:00:00.000000Z");
    check("2024-02-28T23:30:00-00:00", "2024-02-28T23:30:00.000000Z");
}

#[test]
fn fractions_are_cut_to_microseconds() {
    check("2024-05-06T07:08:09.5Z", "2024-05-06T07:08:09.500000Z");
    check("2024-05-06T07:08:09.1234569999Z", "2024-05-06T07:08:09.123456Z");
    check("1960-05-06T07:08:09.9999999Z", "1960-05-06T07:08:09.999999Z");
}

#[test]
fn a_leap_second_is_the_next_second() {
    check("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z");
    check("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250000Z");
}

#[test]
fn what_is_not_an_instant_is_refused() {
    use InstantError::{Date, Form, Range, Time, Zone};
    for (text, error) in [
        ("", Form),
        ("2024", Form),
        ("2024-05", Form),
        ("2024-05-06", Form),
        ("2024-05-06T07:08Z", Form),
        ("2024-05-06T07:08:9Z", Form),
        ("2024-05-06 07:08:09Z", Form),
        ("2024-05-06t07:08:09Z", Form),
        ("20240506T070809Z", Form),
        ("+024-05-06T07:08:09Z", Form),
        (" 2024-05-06T07:08:09Z", Form),
        ("2024-05-06T07:08:09.Z", Form),
        ("2024-05-06T07:08:09,5Z", Zone),
        ("2024-05-06T07:08:09", Zone),
        ("2024-05-06T07:08:09z", Zone),
        ("2024-05-06T07:08:09 02:00", Zone),
        ("2024-05-06T07:08:09+02", Zone),
        ("2024-05-06T07:08:09+0200", Zone),
        ("2024-05-06T07:08:09+14:01", Zone),
        ("2024-05-06T07:08:09+02:60", Zone),
        ("2024-05-06T07:08:09Z ", Zone),
        ("2024-05-06T07:08:09ZZ", Zone),
        ("0000-60-01T30:70:80+05:00", Date),
        ("0000-01-01T00:00:00Z", Date),
        ("2024-13-01T00:00:00Z", Date),
        ("2024-00-01T00:00:00Z", Date),
        ("2024-04-31T00:00:00Z", Date),
        ("2024-04-00T00:00:00Z", Date),
        ("2023-02-29T00:00:00Z", Date),
        ("1900-02-29T00:00:00Z", Date),
        ("2024-05-06T24:00:00Z", Time),
        ("2024-05-06T30:00:00Z", Time),
        ("2024-05-06T07:60:09Z", Time),
        ("2024-05-06T07:08:61Z", Time),
        ("0001-01-01T00:00:00+00:01", Range),
        ("9999-12-31T23:59:59-00:01", Range),
        ("9999-12-31T23:59:60Z", Range),
    ] {
        assert_eq!(Instant::parse(text), Err(error), "{text}");
    }
}

#[test]
fn numbers_without_a_text_become_the_nearest_instant() {
    assert_eq!(Instant::from_micros(i64::MIN), Instant::MIN);
    assert_eq!(Instant::from_micros(i64::MAX), Instant::MAX);
}

#[test]
fn writing_appends() {
    let mut out = b"x".to_vec();
    write_instant(Instant::from_micros(0), &mut out);
    assert_eq!(out, b"x1970-01-01T00:00:00.000000Z");
}

#[test]
fn serde_uses_the_text() {
    let instant = Instant::from_micros(1);
    let text = serde_json::to_string(&instant).expect("serializes");
    assert_eq!(text, "\"1970-01-01T00:00:00.000001Z\"");
    assert_eq!(
        serde_json::from_str::<Instant>(&text).expect("an instant"),
        instant
    );
    assert!(serde_json::from_str::<Instant>("\"1970-01-01\"").is_err());
}

#[test]
fn instants_and_durations_add_up_within_the_years_that_there_are() {
    let now = Instant::parse("2026-11-21T10:00:00Z").expect("an instant");
    let later = now.after(Duration::from_millis(90_500));
    assert_eq!(later.to_string(), "2026-11-21T10:01:30.500000Z");
    assert_eq!(later.since(now), Duration::from_millis(90_500));
    assert_eq!(now.since(later), Duration::ZERO, "a clock that was set back");
    assert_eq!(now.after(Duration::MAX), Instant::MAX);
    assert_eq!(Instant::MAX.since(Instant::MIN).as_secs(), 315_537_897_599);
}
