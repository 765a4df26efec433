//! Decimal numbers, compared exactly: 5.40 is 5.4, and the range that "5.40" stands for ends at 5.405 and not near it.

use std::cmp::Ordering;

/// Digits that count; those behind them are cut off.
const DIGITS_MAX: u32 = 30;
/// Exponents beyond this are not read; a double ends at 308.
const EXPONENT_MAX: i32 = 1_000;

/// A number, `mantissa` · 10^`exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    mantissa: i128,
    exponent: i32,
}

impl Decimal {
    /// Reads a decimal number with or without a sign, a fraction and an exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        if whole.is_empty() {
            return None;
        }
        let mut decimal = Self {
            mantissa: 0,
            exponent,
        };
        let mut digits = 0;
        for (byte, in_fraction) in whole
            .bytes()
            .map(|byte| (byte, false))
            .chain(fraction.bytes().map(|byte| (byte, true)))
        {
            let digit = i128::from(char::from(byte).to_digit(10)?);
            if digits == DIGITS_MAX {
                decimal.exponent += i32::from(!in_fraction);
                continue;
            }
            digits += u32::from(digits > 0 || digit > 0);
            decimal.mantissa = decimal.mantissa * 10 + digit;
            decimal.exponent -= i32::from(in_fraction);
        }
        decimal.mantissa *= if negative { -1 } else { 1 };
        (decimal.exponent.abs() <= EXPONENT_MAX).then_some(decimal)
    }

    /// The numbers that round to this one as it is written: half of its last digit to each side, the lower end included.
    ///
    /// Spec: FHIR R4, search, 3.1.1.4.6.
    pub(super) fn precision(self) -> (Self, Self) {
        self.around(5)
    }

    /// A tenth to each side: what counts as approximately the same.
    pub(super) fn approximation(self) -> (Self, Self) {
        self.around(self.mantissa.abs())
    }

    /// So many tenths of the last digit to each side.
    fn around(self, tenths: i128) -> (Self, Self) {
        let at = |mantissa| Self {
            mantissa,
            exponent: self.exponent - 1,
        };
        (at(self.mantissa * 10 - tenths), at(self.mantissa * 10 + tenths))
    }

    /// The power of ten above the first digit, of a number that is not 0.
    fn magnitude(self) -> i64 {
        let digits = self.mantissa.unsigned_abs().checked_ilog10().unwrap_or(0);
        i64::from(digits) + i64::from(self.exponent)
    }
}

fn parse_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i32 = digits.parse().ok().filter(|_| plain)?;
    Some(if text.starts_with('-') { -number } else { number })
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.mantissa.signum().cmp(&other.mantissa.signum());
        if signs != Ordering::Equal || self.mantissa == 0 {
            return signs;
        }
        let (magnitude, others) = (self.magnitude(), other.magnitude());
        if magnitude != others {
            let sizes = magnitude.cmp(&others);
            return if self.mantissa < 0 { sizes.reverse() } else { sizes };
        }
        // Of the same magnitude, the exponents differ by fewer digits than a mantissa has, so that nothing overflows.
        let difference = self.exponent.abs_diff(other.exponent);
        let scale = 10i128.saturating_pow(difference);
        if self.exponent > other.exponent {
            self.mantissa.saturating_mul(scale).cmp(&other.mantissa)
        } else {
            self.mantissa.cmp(&other.mantissa.saturating_mul(scale))
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::Decimal;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        for [a, b] in [
            ["5.40", "5.4"],
            ["1e2", "100"],
            ["0.0", "-0"],
            ["1.5E-3", "0.0015"],
            ["-2", "-2.000"],
        ] {
            assert_eq!(decimal(a), decimal(b));
        }
        assert!(decimal("0.1") < decimal("0.10000000000000000001"));
        assert!(decimal("-3") < decimal("-2.9"));
        assert!(decimal("9e300") > decimal("1e299"));
        assert!(decimal("-1e300") < decimal("1e-300"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", ".5", "5.", "1e", "1e+", "e5", "0x1", "1,5", "+1", "1e99999", "NaN", "1.2.3",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn precision_is_half_of_the_last_digit() {
        for (text, low, high) in [
            ("100", "99.5", "100.5"),
            ("100.00", "99.995", "100.005"),
            ("5.4", "5.35", "5.45"),
            ("-5.4", "-5.45", "-5.35"),
            ("0", "-0.5", "0.5"),
            ("1e2", "50", "150"),
        ] {
            assert_eq!(decimal(text).precision(), (decimal(low), decimal(high)), "{text}");
        }
        assert_eq!(decimal("-50").approximation(), (decimal("-55"), decimal("-45")));
    }

    proptest! {
        #[test]
        fn order_is_that_of_whole_numbers(a in -1_000_000_000_000_000i64..1_000_000_000_000_000, b: i32, scale in 0u32..6, other in 0u32..6) {
            let text = |number: i128, scale: u32| {
                let power = 10i128.pow(scale);
                let sign = if number < 0 { "-" } else { "" };
                let width = scale as usize;
                let fraction = if scale == 0 { String::new() } else { format!(".{:0width$}", number.abs() % power) };
                format!("{sign}{}{fraction}", number.abs() / power)
            };
            let (a, b) = (i128::from(a), i128::from(b));
            let expected = (a * 10i128.pow(other)).cmp(&(b * 10i128.pow(scale)));
            prop_assert_eq!(decimal(&text(a, scale)).cmp(&decimal(&text(b, other))), expected);
        }

        #[test]
        fn reading_never_panics(text in "[-+0-9.eE]{0,60}") {
            if let Some(number) = Decimal::parse(&text) {
                prop_assert_eq!(number.cmp(&number), Ordering::Equal);
                let (low, high) = number.precision();
                prop_assert!(low < number && number < high);
            }
        }
    }
}
