//! `Retry-After`: seconds or a date, bounded on both sides so that a server can neither stop us nor be hammered by us.

use fhirhose_fhir::instant::Instant;
use std::time::Duration;

/// The longest wait that a server can ask for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Reads the header; `now` decides how far away a date is. `None` when there is none or it cannot be read.
pub(crate) fn parse(value: Option<&str>, now: Instant) -> Option<Duration> {
    let value = value?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = Instant::parse_http_date(value).ok()?;
            Duration::from_micros(u64::try_from(date.micros() - now.micros()).unwrap_or(0))
        }
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_capped() {
        let now = Instant::parse("2026-11-21T10:00:00Z").expect("an instant");
        assert_eq!(parse(Some("7"), now), Some(Duration::from_secs(7)));
        assert_eq!(parse(Some("18000"), now), Some(WAIT_MAX));
        assert_eq!(
            parse(Some("Sat, 21 Nov 2026 10:00:30 GMT"), now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            parse(Some("Sat, 21 Nov 2026 09:00:00 GMT"), now),
            Some(Duration::ZERO)
        );
        assert_eq!(parse(Some("soon"), now), None);
        assert_eq!(parse(None, now), None);
    }
}
