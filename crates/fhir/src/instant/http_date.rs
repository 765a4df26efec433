//! Dates as HTTP headers write them (RFC 9110, section 5.6.7), to the second.
//!
//! We write IMF-fixdate only and read the two older forms too, as every recipient must.

use super::{
    Instant, InstantError,
    calendar::{Date, days_in_month, weekday},
    text::Text,
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Instant {
    /// The instant as an HTTP date, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`; parts of a second are cut off.
    pub fn http_date(self) -> String {
        let seconds = self.micros().div_euclid(MICROS_PER_SECOND);
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let second = seconds.rem_euclid(SECONDS_PER_DAY);
        let Date { year, month, day } = Date::from_days(days);
        let (weekday, month) = (DAYS[weekday(days)], MONTHS[month as usize - 1]);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// Reads an HTTP date in any of its three forms; the day of the week must be the right one.
    ///
    /// The form of RFC 850 has two digits for the year: 70 to 99 are taken for 1970 to 1999, the others for 2000 to
    /// 2069, for there is no clock here to tell which century is nearest.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn parse_http_date(text: &str) -> Result<Self, InstantError> {
        let text = Text(text.as_bytes());
        let (day_of_week, date, second) = imf_fixdate(text)
            .or_else(|| rfc850_date(text))
            .or_else(|| asctime_date(text))
            .ok_or(InstantError::Form)?;
        let in_calendar = (1..=days_in_month(date.year, date.month)).contains(&date.day);
        if date.year == 0 || !in_calendar || weekday(date.to_days()) != day_of_week {
            return Err(InstantError::Date);
        }
        let second = second.ok_or(InstantError::Time)?;
        Self::in_range((date.to_days() * SECONDS_PER_DAY + second) * MICROS_PER_SECOND)
    }
}

/// Weekday, date, and the second of the day if the time is one.
type Parts = (usize, Date, Option<i64>);

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(mut text: Text<'_>) -> Option<Parts> {
    let weekday = text.one_of(&DAYS)?;
    text.literal(b", ")?;
    let day = text.number(2)?;
    text.literal(b" ")?;
    let month = month(&mut text)?;
    text.literal(b" ")?;
    let year = text.number(4)?;
    text.literal(b" ")?;
    let second = time_of_day(&mut text)?;
    text.literal(b" GMT")?;
    text.end()?;
    Some((weekday, Date { year, month, day }, second))
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(mut text: Text<'_>) -> Option<Parts> {
    let weekday = text.one_of(&LONG_DAYS)?;
    text.literal(b", ")?;
    let day = text.number(2)?;
    text.literal(b"-")?;
    let month = month(&mut text)?;
    text.literal(b"-")?;
    let year = match text.number(2)? {
        late @ 70.. => 1900 + late,
        early => 2000 + early,
    };
    text.literal(b" ")?;
    let second = time_of_day(&mut text)?;
    text.literal(b" GMT")?;
    text.end()?;
    Some((weekday, Date { year, month, day }, second))
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(mut text: Text<'_>) -> Option<Parts> {
    let weekday = text.one_of(&DAYS)?;
    text.literal(b" ")?;
    let month = month(&mut text)?;
    text.literal(b" ")?;
    let day = if text.literal(b" ").is_some() {
        text.number(1)?
    } else {
        text.number(2)?
    };
    text.literal(b" ")?;
    let second = time_of_day(&mut text)?;
    text.literal(b" ")?;
    let year = text.number(4)?;
    text.end()?;
    Some((weekday, Date { year, month, day }, second))
}

fn month(text: &mut Text<'_>) -> Option<i64> {
    Some(text.one_of(&MONTHS)? as i64 + 1)
}

/// `08:49:37`; `Some(None)` if it has the form of a time without being one. A leap second is the next one.
fn time_of_day(text: &mut Text<'_>) -> Option<Option<i64>> {
    let hour = text.number(2)?;
    text.literal(b":")?;
    let minute = text.number(2)?;
    text.literal(b":")?;
    let second = text.number(2)?;
    Some((hour < 24 && minute < 60 && second <= 60).then_some(hour * 3_600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::{Instant, InstantError};

    /// The example of RFC 9110, section 5.6.7.
    const MICROS: i64 = 784_111_777_000_000;

    #[test]
    fn all_three_forms_mean_the_same() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                Instant::parse_http_date(text),
                Ok(Instant::from_micros(MICROS)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_preferred_form_is_written_to_the_second() {
        assert_eq!(
            Instant::from_micros(MICROS + 999_999).http_date(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            Instant::from_micros(-1).http_date(),
            "Wed, 31 Dec 1969 23:59:59 GMT"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for step in 0..20_000 {
            // A prime number of seconds, so that all times of day and dates come by, from 1900 to 2033.
            let instant = Instant::from_micros((-2_208_988_800 + step * 211_009) * 1_000_000);
            assert_eq!(Instant::parse_http_date(&instant.http_date()), Ok(instant));
        }
    }

    #[test]
    fn wrong_dates_are_refused() {
        for (text, error) in [
            ("", InstantError::Form),
            ("Sun, 06 Nov 1994 08:49:37", InstantError::Form),
            ("Sun, 06 Nov 1994 08:49:37 UTC", InstantError::Form),
            ("Sun, 6 Nov 1994 08:49:37 GMT", InstantError::Form),
            ("Sun, 06 nov 1994 08:49:37 GMT", InstantError::Form),
            ("Sun, 06 Nov 1994 08:49:37 GMT ", InstantError::Form),
            ("Mon, 06 Nov 1994 08:49:37 GMT", InstantError::Date),
            ("Sun, 31 Nov 1994 08:49:37 GMT", InstantError::Date),
            ("Sun, 00 Nov 1994 08:49:37 GMT", InstantError::Date),
            ("Sun, 06 Nov 1994 24:00:00 GMT", InstantError::Time),
            ("Sun, 06 Nov 1994 08:60:37 GMT", InstantError::Time),
        ] {
            assert_eq!(Instant::parse_http_date(text), Err(error), "{text}");
        }
    }
}
