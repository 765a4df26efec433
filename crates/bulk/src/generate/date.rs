//! Calendar days and moments of the synthetic world, and their FHIR text.
//!
//! Main types: [`Day`] and [`Moment`]. Nothing here reads a clock: the world ends on [`TODAY`], so that a population is
//! the same whenever it is made. The zone is that of Massachusetts, with summer time taken by whole months.

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub(super) i32);

/// The last day on which anything happens: 2025-06-30.
pub(super) const TODAY: Day = Day(20_269);

/// The mean length of a year in days, times 100.
const YEAR_DAYS_CENTI: i32 = 36_525;

impl Day {
    /// Counts the whole years from `self` to `later`, as an age.
    pub(super) fn years_until(self, later: Day) -> i32 {
        (later.0 - self.0) * 100 / YEAR_DAYS_CENTI
    }

    /// Counts the whole months from `self` to `later`.
    pub(super) fn months_until(self, later: Day) -> i32 {
        (later.0 - self.0) * 1200 / YEAR_DAYS_CENTI
    }

    /// Moves by a number of days.
    pub(super) fn plus(self, days: i32) -> Day {
        Day(self.0 + days)
    }

    /// Moves back by a number of mean years.
    pub(super) fn minus_years(self, years: i32) -> Day {
        Day(self.0 - years * YEAR_DAYS_CENTI / 100)
    }

    /// The FHIR `date`.
    pub(super) fn text(self) -> [u8; 10] {
        let (year, month, day) = self.civil();
        let mut text = *b"0000-00-00";
        put(&mut text[0..4], year as u32);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        text
    }

    /// Year, month and day of the proleptic Gregorian calendar, by counting eras of 400 years that begin in March.
    fn civil(self) -> (i32, u32, u32) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        (year, month as u32, day as u32)
    }
}

/// A local date and time, to the second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) day: Day,
    pub(super) second: u32,
}

impl Moment {
    /// Moves on by minutes, over midnight if need be.
    pub(super) fn plus_minutes(self, minutes: u32) -> Moment {
        let second = self.second + minutes * 60;
        Moment {
            day: self.day.plus((second / 86_400) as i32),
            second: second % 86_400,
        }
    }

    /// The FHIR `dateTime`, as in `2015-01-14T16:30:49-05:00`.
    pub(super) fn text(self) -> [u8; 25] {
        let mut text = *b"0000-00-00T00:00:00-05:00";
        text[..10].copy_from_slice(&self.day.text());
        put(&mut text[11..13], self.second / 3600);
        put(&mut text[14..16], self.second / 60 % 60);
        put(&mut text[17..19], self.second % 60);
        if (4..=10).contains(&self.day.civil().1) {
            text[21] = b'4';
        }
        text
    }

    /// The FHIR `instant` with milliseconds, as in `2015-01-14T16:30:49.825-05:00`.
    pub(super) fn instant_text(self, millis: u32) -> [u8; 29] {
        let whole = self.text();
        let mut text = [b'.'; 29];
        text[..19].copy_from_slice(&whole[..19]);
        put(&mut text[20..23], millis);
        text[23..].copy_from_slice(&whole[19..]);
        text
    }
}

/// Writes a number with leading zeros, as wide as `place`.
fn put(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, Moment, TODAY};

    #[test]
    fn days_are_written_by_the_gregorian_calendar() {
        assert_eq!(&Day(0).text(), b"1970-01-01");
        assert_eq!(&Day(-1).text(), b"1969-12-31");
        assert_eq!(&Day(11_016).text(), b"2000-02-29");
        assert_eq!(&TODAY.text(), b"2025-06-30");
    }

    #[test]
    fn moments_carry_the_zone_of_their_month_and_pass_midnight() {
        let late = Moment {
            day: TODAY,
            second: 23 * 3600 + 50 * 60 + 7,
        };
        assert_eq!(&late.text(), b"2025-06-30T23:50:07-04:00");
        assert_eq!(
            &late.plus_minutes(15).instant_text(25),
            b"2025-07-01T00:05:07.025-04:00"
        );
        let winter = Moment {
            day: Day(0),
            second: 0,
        };
        assert_eq!(&winter.text(), b"1970-01-01T00:00:00-05:00");
    }
}
