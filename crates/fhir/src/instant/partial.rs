//! Partial dates: which stretch of time a FHIR `date`, `dateTime` or `instant` covers.

use super::{
    Date, FRACTION_DIGITS, Instant, InstantError, MICROS_PER_SECOND, SECONDS_PER_DAY, Text, days_in_month,
    zone,
};

/// A stretch of time in microseconds since 1970-01-01T00:00:00Z: from `start` on, up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Span {
    /// All of time.
    pub(crate) const ALL: Self = Self {
        start: i64::MIN,
        end: i64::MAX,
    };

    /// The microsecond of an instant.
    pub(crate) const fn of(instant: Instant) -> Self {
        Self {
            start: instant.micros(),
            end: instant.micros() + 1,
        }
    }

    /// Reads `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, or a day with a time down to the minute, the second or a fraction of it.
    ///
    /// The end is that of what was written: of the year, the month, the day, the minute, the second, the last digit. Without a zone
    /// it is UTC. Second 60 is the one that follows.
    ///
    /// # Errors
    /// The first part that is wrong.
    ///
    /// Spec: FHIR R4, search, 3.1.1.4.7.
    pub(crate) fn parse(text: &str) -> Result<Self, InstantError> {
        let mut text = Text(text.as_bytes());
        let year = text.number(4).ok_or(InstantError::Form)?;
        if year == 0 {
            return Err(InstantError::Date);
        }
        let first = |year, month, day| Date { year, month, day }.to_days();
        if text.end().is_some() {
            return Ok(days(first(year, 1, 1), first(year + 1, 1, 1)));
        }
        let month = part(&mut text, b"-")?;
        if days_in_month(year, month) == 0 {
            return Err(InstantError::Date);
        }
        if text.end().is_some() {
            let from = first(year, month, 1);
            return Ok(days(from, from + days_in_month(year, month)));
        }
        let day = part(&mut text, b"-")?;
        if !(1..=days_in_month(year, month)).contains(&day) {
            return Err(InstantError::Date);
        }
        let day = first(year, month, day);
        if text.end().is_some() {
            return Ok(days(day, day + 1));
        }
        time(&mut text, day * SECONDS_PER_DAY)
    }
}

fn days(from: i64, to: i64) -> Span {
    Span {
        start: from * SECONDS_PER_DAY * MICROS_PER_SECOND,
        end: to * SECONDS_PER_DAY * MICROS_PER_SECOND,
    }
}

fn part(text: &mut Text<'_>, before: &[u8]) -> Result<i64, InstantError> {
    text.literal(before)
        .and_then(|()| text.number(2))
        .ok_or(InstantError::Form)
}

/// The time behind a day that begins at a second.
fn time(text: &mut Text<'_>, midnight: i64) -> Result<Span, InstantError> {
    let hour = part(text, b"T")?;
    let minute = part(text, b":")?;
    let mut seconds = midnight + hour * 3_600 + minute * 60;
    let mut length = 60 * MICROS_PER_SECOND;
    let mut micros = 0;
    if text.0.first() == Some(&b':') {
        let second = part(text, b":")?;
        if second > 60 {
            return Err(InstantError::Time);
        }
        seconds += second;
        length = MICROS_PER_SECOND;
        if text.literal(b".").is_some() {
            (micros, length) = fraction(text.digits())?;
        }
    }
    if hour > 23 || minute > 59 {
        return Err(InstantError::Time);
    }
    let offset_minutes = if text.end().is_some() { 0 } else { zone(text)? };
    text.end().ok_or(InstantError::Zone)?;
    let start = (seconds - offset_minutes * 60) * MICROS_PER_SECOND + micros;
    Ok(Span {
        start,
        end: start + length,
    })
}

/// Microseconds of the digits behind the point, and how long the last digit lasts.
fn fraction(digits: &[u8]) -> Result<(i64, i64), InstantError> {
    if digits.is_empty() {
        return Err(InstantError::Form);
    }
    let (mut micros, mut length) = (0, MICROS_PER_SECOND);
    for digit in digits.iter().take(FRACTION_DIGITS) {
        length /= 10;
        micros += i64::from(digit - b'0') * length;
    }
    Ok((micros, length))
}

#[cfg(test)]
mod tests {
    use super::{Instant, Span};

    fn check(text: &str, start: &str, end: &str) {
        let micros = |text: &str| Instant::parse(text).expect("an instant").micros();
        let expected = Span {
            start: micros(start),
            end: micros(end),
        };
        assert_eq!(Span::parse(text), Ok(expected), "{text}");
    }

    #[test]
    fn a_date_covers_what_it_does_not_say() {
        check("2020", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
        check("2020-02", "2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z");
        check("2020-12", "2020-12-01T00:00:00Z", "2021-01-01T00:00:00Z");
        check("2020-02-29", "2020-02-29T00:00:00Z", "2020-03-01T00:00:00Z");
        check("2020-02-03T04:05", "2020-02-03T04:05:00Z", "2020-02-03T04:06:00Z");
        check(
            "2020-02-03T04:05:06",
            "2020-02-03T04:05:06Z",
            "2020-02-03T04:05:07Z",
        );
        check(
            "2020-02-03T04:05:06.25Z",
            "2020-02-03T04:05:06.25Z",
            "2020-02-03T04:05:06.26Z",
        );
        check(
            "2020-02-03T04:05+01:00",
            "2020-02-03T03:05:00Z",
            "2020-02-03T03:06:00Z",
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "20",
            "0000",
            "2020-",
            "2020-13",
            "2020-1",
            "2020-02-30",
            "2020-02-03T",
            "2020-02-03T04",
            "2020-02-03T24:00",
            "2020-02-03T04:60",
            "2020-02-03T04:05:61",
            "2020-02-03T04:05:06.",
            "2020-02-03T04:05:06X",
            "2020-02-03T04:05+15:00",
            "2020-02-03T04:05Z ",
            "2020-02-03 04:05",
        ] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }
}
