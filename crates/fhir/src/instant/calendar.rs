//! Days of the proleptic Gregorian calendar, counted from 1970-01-01.
//!
//! Years are shifted to begin on 1 March, so that the leap day is the last of its year and the lengths of the months
//! before it follow one straight line.

const DAYS_PER_ERA: i64 = 146_097;
const YEARS_PER_ERA: i64 = 400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// A day as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    /// The year, 1 to 9999 for those that can be written.
    pub(super) year: i64,
    /// The month, 1 to 12.
    pub(super) month: i64,
    /// The day of the month, from 1 on.
    pub(super) day: i64,
}

impl Date {
    /// The number of days from 1970-01-01 to this one.
    pub(super) const fn to_days(self) -> i64 {
        let march_year = if self.month <= 2 { self.year - 1 } else { self.year };
        let march_month = (self.month + 9) % 12;
        let era = march_year.div_euclid(YEARS_PER_ERA);
        let year_of_era = march_year.rem_euclid(YEARS_PER_ERA);
        let day_of_year = (153 * march_month + 2) / 5 + self.day - 1;
        era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - EPOCH_DAYS
    }

    /// The day that lies this many days after 1970-01-01.
    pub(super) const fn from_days(days: i64) -> Self {
        let era = (days + EPOCH_DAYS).div_euclid(DAYS_PER_ERA);
        let day_of_era = (days + EPOCH_DAYS).rem_euclid(DAYS_PER_ERA);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        Self {
            year: era * YEARS_PER_ERA + year_of_era + (month <= 2) as i64,
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
        }
    }
}

/// The number of days of a month; 0 if there is no such month.
pub(super) const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// The day of the week, 0 for Sunday.
pub(super) const fn weekday(days: i64) -> usize {
    // 1970-01-01 was a Thursday.
    (days + 4).rem_euclid(7) as usize
}

#[cfg(test)]
mod tests {
    use super::{Date, days_in_month, weekday};

    #[test]
    fn each_day_of_ten_thousand_years_follows_the_one_before() {
        let mut expected = Date {
            year: 0,
            month: 1,
            day: 1,
        };
        for days in expected.to_days()..=(Date {
            year: 9999,
            month: 12,
            day: 31,
        })
        .to_days()
        {
            assert_eq!(Date::from_days(days), expected);
            assert_eq!(expected.to_days(), days);
            expected.day += 1;
            if expected.day > days_in_month(expected.year, expected.month) {
                expected = Date {
                    month: expected.month + 1,
                    day: 1,
                    ..expected
                };
            }
            if expected.month > 12 {
                expected = Date {
                    year: expected.year + 1,
                    month: 1,
                    day: 1,
                };
            }
        }
        assert_eq!(
            expected,
            Date {
                year: 10_000,
                month: 1,
                day: 1
            }
        );
    }

    #[test]
    fn known_days_have_their_numbers() {
        let number = |year, month, day| Date { year, month, day }.to_days();
        assert_eq!(number(1970, 1, 1), 0);
        assert_eq!(number(2000, 3, 1), 11_017);
        assert_eq!(number(1969, 12, 31), -1);
        assert_eq!(weekday(number(1994, 11, 6)), 0);
        assert_eq!(weekday(number(1969, 12, 31)), 3);
    }

    #[test]
    fn leap_years_have_29_february() {
        assert_eq!(
            [1900, 2000, 2023, 2024, 2100].map(|year| days_in_month(year, 2)),
            [28, 29, 28, 29, 28]
        );
        assert_eq!((1..=12).map(|month| days_in_month(2023, month)).sum::<i64>(), 365);
        assert_eq!([days_in_month(2024, 0), days_in_month(2024, 13)], [0, 0]);
    }
}
