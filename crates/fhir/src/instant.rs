//! Instants: points in time to the microsecond, as FHIR's `instant` writes them.
//!
//! [`Instant`] is a number; its text is always UTC with six digits of fraction, so that text and number order alike.
//! There is no clock here and there are no partial dates: a text without day, second or zone is no instant.

mod calendar;
mod http_date;
mod partial;
mod text;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::partial::Span;
use self::{
    calendar::{Date, days_in_month},
    text::Text,
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const FRACTION_DIGITS: usize = 6;
/// How many bytes the text of an instant has.
pub const INSTANT_BYTES: usize = "0001-01-01T00:00:00.000000Z".len();

/// A point in time: microseconds since 1970-01-01T00:00:00Z, in the years 0001 to 9999 of UTC.
///
/// Display and serde give the text, always of the form `2026-11-21T04:12:33.123456Z`. Leap seconds are not counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "String")]
pub struct Instant(i64);

impl Instant {
    /// 0001-01-01T00:00:00Z
    pub const MIN: Self = Self(
        Date {
            year: 1,
            month: 1,
            day: 1,
        }
        .to_days()
            * SECONDS_PER_DAY
            * MICROS_PER_SECOND,
    );
    /// 9999-12-31T23:59:59.999999Z
    pub const MAX: Self = Self(
        Date {
            year: 10_000,
            month: 1,
            day: 1,
        }
        .to_days()
            * SECONDS_PER_DAY
            * MICROS_PER_SECOND
            - 1,
    );

    /// The instant so many microseconds after 1970-01-01T00:00:00Z; numbers beyond [`Instant::MIN`] and
    /// [`Instant::MAX`], which have no text, become those.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant so long after this one, [`Instant::MAX`] at most.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// How long it is from an earlier instant to this one; nothing if that one is later, as when a clock was set back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads a FHIR `instant`: a whole date, a time with seconds, a zone (`Z` or `±hh:mm` up to 14:00).
    ///
    /// Fractions finer than a microsecond are cut off (towards the past). Second 60 means the second that follows.
    ///
    /// # Errors
    /// The first part that is wrong; see [`InstantError`].
    ///
    /// Spec: FHIR R4, Data Types, `instant`.
    pub fn parse(text: &str) -> Result<Self, InstantError> {
        let mut text = Text(text.as_bytes());
        let days = date(&mut text)?.to_days();
        text.literal(b"T").ok_or(InstantError::Form)?;
        let micros = time_of_day(&mut text)?;
        let offset_minutes = zone(&mut text)?;
        text.end().ok_or(InstantError::Zone)?;
        Self::in_range((days * SECONDS_PER_DAY - offset_minutes * 60) * MICROS_PER_SECOND + micros)
    }

    /// Takes a number of microseconds that came from outside.
    fn in_range(micros: i64) -> Result<Self, InstantError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(InstantError::Range)
        }
    }

    /// The instant's text.
    fn text(self) -> [u8; INSTANT_BYTES] {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let Date { year, month, day } = Date::from_days(seconds.div_euclid(SECONDS_PER_DAY));
        let second = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
        let micros = self.0.rem_euclid(MICROS_PER_SECOND) as u32;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut pair = |at: usize, number: u32| {
            text[at] = b'0' + (number / 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        };
        pair(0, year as u32 / 100);
        pair(2, year as u32 % 100);
        pair(5, month as u32);
        pair(8, day as u32);
        pair(11, second / 3_600);
        pair(14, second / 60 % 60);
        pair(17, second % 60);
        pair(20, micros / 10_000);
        pair(22, micros / 100 % 100);
        pair(24, micros % 100);
        text
    }
}

/// Appends the text of an instant, [`INSTANT_BYTES`] long.
pub fn write_instant(instant: Instant, out: &mut Vec<u8>) {
    out.extend_from_slice(&instant.text());
}

impl fmt::Display for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(std::str::from_utf8(&self.text()).expect("digits and punctuation are ASCII"))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::str::FromStr for Instant {
    type Err = InstantError;

    fn from_str(text: &str) -> Result<Self, InstantError> {
        Self::parse(text)
    }
}

impl TryFrom<Box<str>> for Instant {
    type Error = InstantError;

    fn try_from(text: Box<str>) -> Result<Self, InstantError> {
        Self::parse(&text)
    }
}

impl From<Instant> for String {
    fn from(instant: Instant) -> Self {
        instant.to_string()
    }
}

/// Why a text is not an instant. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstantError {
    /// It does not look like date, `T`, time and zone (or like an HTTP date).
    Form,
    /// There is no such day.
    Date,
    /// There is no such time of day.
    Time,
    /// The zone is missing or is none, or something follows it.
    Zone,
    /// In UTC it falls before the year 0001 or after 9999.
    Range,
}

impl fmt::Display for InstantError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Form => {
                "an instant is a full date and a time with seconds and zone, like 2026-11-21T04:12:33Z"
            }
            Self::Date => "no such day in the calendar",
            Self::Time => "no such time of day",
            Self::Zone => "the time zone must be Z or an offset like +01:00, and the last part",
            Self::Range => "the instant is outside the years 0001 to 9999 in UTC",
        })
    }
}

impl std::error::Error for InstantError {}

fn date(text: &mut Text<'_>) -> Result<Date, InstantError> {
    let mut parts = || {
        let year = text.number(4)?;
        text.literal(b"-")?;
        let month = text.number(2)?;
        text.literal(b"-")?;
        let day = text.number(2)?;
        Some(Date { year, month, day })
    };
    let date = parts().ok_or(InstantError::Form)?;
    if date.year == 0 || !(1..=days_in_month(date.year, date.month)).contains(&date.day) {
        return Err(InstantError::Date);
    }
    Ok(date)
}

/// Microseconds since midnight.
fn time_of_day(text: &mut Text<'_>) -> Result<i64, InstantError> {
    let mut parts = || {
        let hour = text.number(2)?;
        text.literal(b":")?;
        let minute = text.number(2)?;
        text.literal(b":")?;
        Some((hour, minute, text.number(2)?))
    };
    let (hour, minute, second) = parts().ok_or(InstantError::Form)?;
    if hour > 23 || minute > 59 || second > 60 {
        return Err(InstantError::Time);
    }
    let fraction = if text.literal(b".").is_some() {
        fraction(text)?
    } else {
        0
    };
    Ok((hour * 3_600 + minute * 60 + second) * MICROS_PER_SECOND + fraction)
}

/// Microseconds of the digits behind the point.
fn fraction(text: &mut Text<'_>) -> Result<i64, InstantError> {
    let digits = text.digits();
    if digits.is_empty() {
        return Err(InstantError::Form);
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
    Ok(padded
        .take(FRACTION_DIGITS)
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// Minutes by which the zone is ahead of UTC.
fn zone(text: &mut Text<'_>) -> Result<i64, InstantError> {
    let mut parts = || match text.one_of(&["Z", "+", "-"])? {
        0 => Some((0, 0, 0)),
        sign => {
            let hours = text.number(2)?;
            text.literal(b":")?;
            Some((if sign == 1 { 1 } else { -1 }, hours, text.number(2)?))
        }
    };
    match parts() {
        Some((sign, hours, minutes)) if minutes < 60 && hours * 60 + minutes <= 14 * 60 => {
            Ok(sign * (hours * 60 + minutes))
        }
        _ => Err(InstantError::Zone),
    }
}

#[cfg(test)]
mod tests;
