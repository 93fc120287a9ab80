//! A number as JSON and DynamoDB spell it, without a float in between.
//!
//! Pure. A DynamoDB number has up to 38 digits and a float 17: neither equality nor order nor a spelling goes
//! through one. Called by `filter`, `redact` and `shape`.

use std::cmp::Ordering;
use std::fmt;

/// The furthest that an exponent moves the point: half of what there is room for, so that the digits before and
/// after the point change nothing.
const FURTHEST: i64 = i64::MAX / 2;

/// Below, the point is surely where it was spelt, whatever digits stand before and after it.
const EXACT: i64 = FURTHEST / 2;

/// Integers of at most so many digits are written without an exponent. DynamoDB's numbers have 38.
const PLAIN_DIGITS: usize = 40;

/// A number by its value: `1`, `1.0` and `10e-1` are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    is_negative: bool,
    /// The value is 0.`digits` · 10^`point`. For all that is more extreme stands the furthest.
    point: i64,
    /// Without zeros at either end; of zero there are none.
    digits: String,
}

impl Decimal {
    /// `None` unless `text` is a number as JSON spells it.
    pub fn of_json(text: &str) -> Option<Self> {
        Parts::of(text).filter(Parts::is_json).map(|parts| parts.value())
    }

    /// As [`Self::of_json`], and `+1`, `007`, `.5` and `5.` are numbers too.
    pub fn lenient(text: &str) -> Option<Self> {
        Parts::of(text).map(|parts| parts.value())
    }

    /// Whether this is the value as it was spelt, and not the nearest that there is room for.
    pub fn is_exact(&self) -> bool {
        self.point.abs() < EXACT
    }

    /// How many digits it takes to tell it.
    pub fn significant(&self) -> usize {
        self.digits.len()
    }

    /// The seconds and nanoseconds that it counts from 1970 on, if it is so exact and not before.
    pub fn seconds(&self) -> Option<(i64, i32)> {
        if self.is_negative {
            return None;
        }
        let whole = usize::try_from(self.point.max(0)).ok()?;
        // The largest time there is has 12 digits.
        if whole > 12 || self.point < -9 {
            return None;
        }
        let lacking = usize::try_from(self.point.min(0).unsigned_abs()).ok()?;
        let digits = format!("{}{}", "0".repeat(lacking), self.digits);
        let (seconds, fraction) = digits.split_at_checked(whole).unwrap_or((&digits, ""));
        let nanos = match fraction.len() {
            0..=9 => format!("{fraction:0<9}").parse().ok()?,
            _ => return None,
        };
        let seconds = match whole {
            0 => 0,
            _ => format!("{seconds:0<whole$}").parse().ok()?,
        };
        Some((seconds, nanos))
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self
                .point
                .cmp(&other.point)
                .then_with(|| self.digits.cmp(&other.digits)),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The one spelling of its value, which hashes depend on: an integer of up to 40 digits as it is, any other as
/// its digits without zeros at either end, and the power of ten (1.50 is `15e-1`).
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digits, .. } = self;
        if digits.is_empty() {
            return f.write_str("0");
        }
        if self.is_negative {
            f.write_str("-")?;
        }
        match usize::try_from(self.point) {
            Ok(whole) if (digits.len()..=PLAIN_DIGITS).contains(&whole) => write!(f, "{digits:0<whole$}"),
            _ => {
                let length = i64::try_from(digits.len()).unwrap_or(FURTHEST);
                write!(f, "{digits}e{}", self.point.saturating_sub(length))
            }
        }
    }
}

/// Whether it is a number as JSON spells it, and [exact](Decimal::is_exact).
pub fn is_json(text: &str) -> bool {
    Parts::of(text).is_some_and(|parts| parts.is_json() && parts.exponent.abs() < EXACT)
}

/// A number's spelling, taken apart.
struct Parts<'a> {
    sign: Option<char>,
    whole: &'a str,
    /// What follows the point.
    fraction: Option<&'a str>,
    exponent: i64,
}

impl<'a> Parts<'a> {
    /// `[-+]?[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?`, with a digit before the exponent.
    fn of(text: &'a str) -> Option<Self> {
        let (sign, unsigned) = signed(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let mut digits = whole
            .bytes()
            .chain(fraction.unwrap_or_default().bytes())
            .peekable();
        (digits.peek().is_some() && digits.all(|b| b.is_ascii_digit())).then_some(Self {
            sign,
            whole,
            fraction,
            exponent,
        })
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?` (RFC 8259, 6).
    fn is_json(&self) -> bool {
        let whole = self.whole == "0" || !(self.whole.is_empty() || self.whole.starts_with('0'));
        whole && self.sign != Some('+') && self.fraction != Some("")
    }

    fn value(&self) -> Decimal {
        let all = format!("{}{}", self.whole, self.fraction.unwrap_or_default());
        let led = all.trim_start_matches('0');
        let digits = led.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Decimal {
                is_negative: false,
                point: 0,
                digits,
            };
        }
        let length = |length: usize| i64::try_from(length).unwrap_or(FURTHEST);
        let leading = length(all.len() - led.len());
        Decimal {
            is_negative: self.sign == Some('-'),
            point: self.exponent.saturating_add(length(self.whole.len()) - leading),
            digits,
        }
    }
}

fn signed(text: &str) -> (Option<char>, &str) {
    let sign = text.chars().next().filter(|c| matches!(c, '-' | '+'));
    (sign, text.strip_prefix(['-', '+']).unwrap_or(text))
}

/// An exponent, or the nearest that there is room for.
fn exponent_of(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(FURTHEST).min(FURTHEST);
    Some(if sign == Some('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Decimal {
        Decimal::of_json(text).unwrap()
    }

    #[test]
    fn a_number_is_one_as_json_spells_it() {
        for number in [
            "0",
            "-0",
            "10",
            "1.50",
            "1E+2",
            "1e-130",
            "-1.5E5",
            "12345678901234567890123456789012345678",
            "9.9999999999999999999999999999999999999E+125",
        ] {
            assert!(is_json(number) && Decimal::of_json(number).is_some(), "{number}");
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(number).is_ok());
        }
        for other in [
            "", "-", ".", "e5", "+1", "01", ".5", "5.", "1e", "1e+", "1e+-5", "NaN", "Infinity", "0x1", "1x",
            "1 ", "1_0", "--1", "+-1", "1e5.0", "١",
        ] {
            assert!(!is_json(other) && Decimal::of_json(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_lenient_reader_takes_more_spellings_and_no_other_texts() {
        for (spelling, as_json) in [
            ("+1", "1"),
            ("007", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-00.50e1", "-5"),
        ] {
            assert_eq!(Decimal::lenient(spelling), Some(read(as_json)), "{spelling}");
        }
        for other in [
            "", "-", ".", "-.", "e5", "1e", "1e+-5", "0x1", "--1", "+-1", "1e1.5", "١",
        ] {
            assert_eq!(Decimal::lenient(other), None, "{other}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_spelt() {
        for same in [
            &["0", "-0", "0.000", "0e5", "-0.0e-3"] as &[&str],
            &["1", "1.0", "10e-1", "0.1E1", "1e0", "1E+0"],
            &["100", "1e2", "100.00", "0.001e5"],
            &["-0.5", "-5e-1", "-0.50"],
            &[
                "12345678901234567890123456789012345678",
                "1.2345678901234567890123456789012345678e37",
            ],
        ] {
            for (a, b) in same.iter().flat_map(|a| same.iter().map(move |b| (a, b))) {
                assert_eq!(read(a), read(b), "{a} {b}");
                assert_eq!(read(a).cmp(&read(b)), Ordering::Equal, "{a} {b}");
                assert_eq!(read(a).to_string(), read(b).to_string(), "{a} {b}");
            }
        }
    }

    #[test]
    fn the_order_is_that_of_the_values() {
        let rising = [
            "-1e999999999999999999999",
            "-1e400",
            "-100",
            "-99.9",
            "-1",
            "-0.01",
            "-1e-400",
            "0",
            "1e-999999999999999999999",
            "1e-400",
            "0.1",
            "0.10000000000000000000000000000000001",
            "0.2",
            "1",
            "9",
            "10",
            "12345678901234567890123456789012345678",
            "12345678901234567890123456789012345679",
            "1e400",
            "1e999999999999999999999",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(read(a).cmp(&read(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_not_exact() {
        for (text, exact) in [
            ("1", true),
            ("1e2000000000000000000", true),
            ("1e-2000000000000000000", true),
            ("1e99999999999999999999", false),
            ("1e-99999999999999999999", false),
        ] {
            assert_eq!(read(text).is_exact(), exact, "{text}");
            assert_eq!(is_json(text), exact, "{text}");
        }
    }

    #[test]
    fn a_value_is_written_in_one_spelling() {
        for (text, one) in [
            ("1.00", "1"),
            ("-0.0e7", "0"),
            ("-1.50", "-15e-1"),
            ("1.00e2", "100"),
            (
                "12345678901234567890123456789012345678",
                "12345678901234567890123456789012345678",
            ),
            ("0.1e40", "1000000000000000000000000000000000000000"),
            ("1e40", "1e40"),
            ("10E124", "1e125"),
            ("-1e-130", "-1e-130"),
        ] {
            assert_eq!(read(text).to_string(), one, "{text}");
        }
    }

    #[test]
    fn seconds_are_told_exactly_or_not_at_all() {
        for (text, expected) in [
            ("1731150824", Some((1_731_150_824, 0))),
            ("1.731150824E9", Some((1_731_150_824, 0))),
            ("1731150824.123456789", Some((1_731_150_824, 123_456_789))),
            ("1731150824.5", Some((1_731_150_824, 500_000_000))),
            ("0.05", Some((0, 50_000_000))),
            ("0.000000001", Some((0, 1))),
            ("0", Some((0, 0))),
            ("1e3", Some((1000, 0))),
            ("1731150824.1234567891", None),
            ("0.0000000001", None),
            ("-1", None),
            ("1e13", None),
        ] {
            assert_eq!(read(text).seconds(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn shifting_the_point_and_the_exponent_is_no_change(digits in "[1-9][0-9]{0,37}", zeros in 0usize..20, shift in -50i64..50) {
            let plain = read(&format!("{digits}e{shift}"));
            let padded = read(&format!("{digits}{}e{}", "0".repeat(zeros), shift - zeros as i64));
            let pointed = read(&format!("{digits}.{}e{shift}", "0".repeat(zeros + 1)));
            prop_assert_eq!(&plain, &padded);
            prop_assert_eq!(&plain, &pointed);
            prop_assert_eq!(&plain, &read(&plain.to_string()));
        }

        #[test]
        fn any_text_is_read_or_refused_as_json_reads_it(text in "[-+.eE0-9]{0,8}") {
            let json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(is_json(&text), json);
            prop_assert_eq!(Decimal::of_json(&text).is_some(), json);
        }

        #[test]
        fn numbers_compare_as_whole_numbers_and_as_floats_do(a: i64, b: i64, c: i32, d: i32) {
            prop_assert_eq!(read(&a.to_string()).cmp(&read(&b.to_string())), a.cmp(&b));
            // Both are exact as floats, and so is their spelling.
            let (c, d) = (f64::from(c) / 1024.0, f64::from(d) / 1024.0);
            prop_assert_eq!(Some(read(&c.to_string()).cmp(&read(&format!("{d:e}")))), c.partial_cmp(&d));
        }
    }
}
