//! `Retry-After`: seconds or a date, bounded on both sides so that a server can neither stop us nor be hammered by us.

use fhirhose_fhir::instant::Instant;
use std::time::Duration;

/// Reads the header; `now` decides how far away a date is. `None` when there is none or it cannot be read.
pub(crate) fn parse(value: Option<&str>, now: Instant, wait_max: Duration) -> Option<Duration> {
    let value = value?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = Instant::parse_http_date(value).ok()?;
            date.since(now)
        }
    };
    Some(wait.min(wait_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_capped() {
        let now = Instant::parse("2026-11-21T10:00:00Z").expect("an instant");
        let wait_max = Duration::from_secs(300);
        let parse = |value| super::parse(value, now, wait_max);
        assert_eq!(parse(Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(parse(Some("18000")), Some(wait_max));
        assert_eq!(
            parse(Some("Sat, 21 Nov 2026 10:00:30 GMT")),
            Some(Duration::from_secs(30))
        );
        assert_eq!(parse(Some("Sat, 21 Nov 2026 09:00:00 GMT")), Some(Duration::ZERO));
        assert_eq!(parse(Some("soon")), None);
        assert_eq!(parse(None), None);
    }
}
