//! Numbers as DynamoDB and JSON spell them, without a float in between.
//!
//! Pure.

/// A decimal by its value: equal numbers are equal, however they are spelt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    is_negative: bool,
    /// Without zeros at either end; empty for 0.
    digits: String,
    /// The value is 0.DIGITS · 10^exponent.
    exponent: i64,
}

impl Decimal {
    /// `None` unless `text` is a number as JSON spells it.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = Parts::of(text)?;
        let all = format!("{}{}", parts.whole, parts.fraction);
        let led = all.trim_start_matches('0');
        let digits = led.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self {
                is_negative: false,
                digits,
                exponent: 0,
            });
        }
        let leading = i64::try_from(all.len() - led.len()).ok()?;
        let whole = i64::try_from(parts.whole.len()).ok()?;
        Some(Self {
            is_negative: parts.is_negative,
            digits,
            exponent: parts.exponent.checked_add(whole)?.checked_sub(leading)?,
        })
    }

    /// The seconds and nanoseconds that it counts from 1970 on, if it is so exact and not before.
    pub fn seconds(&self) -> Option<(i64, i32)> {
        if self.is_negative {
            return None;
        }
        let whole = usize::try_from(self.exponent.max(0)).ok()?;
        // The largest time there is has 12 digits.
        if whole > 12 || self.exponent < -9 {
            return None;
        }
        let lacking = usize::try_from(self.exponent.min(0).unsigned_abs()).ok()?;
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
}

/// Whether it is a number as JSON spells it.
pub fn is_json(text: &str) -> bool {
    Parts::of(text).is_some()
}

struct Parts<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Parts<'a> {
    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?` (RFC 8259, 6). An exponent beyond 64 bits is none.
    fn of(text: &'a str) -> Option<Self> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                let exponent = digits(unsigned).then(|| exponent.parse().ok())??;
                (mantissa, exponent)
            }
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let fits = digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits);
        fits.then_some(Self {
            is_negative,
            whole,
            fraction: fraction.unwrap_or_default(),
            exponent,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            assert!(is_json(number), "{number}");
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(number).is_ok());
        }
        for other in [
            "", "-", "+1", "01", ".5", "5.", "1e", "1e+", "NaN", "Infinity", "0x1", "1 ", "1_0", "--1",
            "1e5.0", "١",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_spelt() {
        for (a, b, same) in [
            ("1", "1.0", true),
            ("100", "1E+2", true),
            ("0.001", "1e-3", true),
            ("0", "-0.0e7", true),
            ("-1", "1", false),
            ("10", "1", false),
            ("0.1", "0.01", false),
            (
                "12345678901234567890123456789012345678",
                "12345678901234567890123456789012345679",
                false,
            ),
            ("1e9223372036854775807", "1", false),
        ] {
            let (a, b) = (Decimal::parse(a), Decimal::parse(b));
            assert_eq!(a == b, same, "{a:?} {b:?}");
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
            let decimal = Decimal::parse(text).unwrap();
            assert_eq!(decimal.seconds(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn shifting_the_point_and_the_exponent_is_no_change(digits in "[1-9][0-9]{0,37}", zeros in 0usize..20, shift in -50i64..50) {
            let plain = Decimal::parse(&format!("{digits}e{shift}"));
            let padded = Decimal::parse(&format!("{digits}{}e{}", "0".repeat(zeros), shift - zeros as i64));
            let pointed = Decimal::parse(&format!("{digits}.{}e{shift}", "0".repeat(zeros + 1)));
            prop_assert!(plain.is_some());
            prop_assert_eq!(&plain, &padded);
            prop_assert_eq!(&plain, &pointed);
        }

        #[test]
        fn any_text_is_read_or_refused_as_json_reads_it(text in "[-+.eE0-9]{0,8}") {
            let json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(is_json(&text), json);
        }
    }
}
