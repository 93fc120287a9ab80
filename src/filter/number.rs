//! A number of JSON, compared digit by digit.
//!
//! Pure. A DynamoDB number has up to 38 digits and a float 17: neither equality nor order goes through one.

use std::cmp::Ordering;

/// A number by its value: `1`, `1.0` and `10e-1` are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    /// The place of the decimal point, counted from the first of the digits: 0.`digits` · 10^`point`. Beyond what
    /// it holds, the least or the greatest stands for all that are more extreme.
    point: i64,
    /// Without zeros at either end; of zero there are none.
    digits: Vec<u8>,
}

impl Number {
    /// Reads JSON's spelling. What is none gives `None`, or some number.
    pub fn read(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, saturating(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        if all().next().is_none() || !all().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut digits: Vec<u8> = all().skip_while(|b| *b == b'0').collect();
        let leading = whole.len() + fraction.len() - digits.len();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                point: 0,
                digits,
            });
        }
        let signed = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        Some(Self {
            negative,
            point: exponent.saturating_add(signed(whole.len()) - signed(leading)),
            digits,
        })
    }

    /// How many digits it takes to tell it.
    pub fn significant(&self) -> usize {
        self.digits.len()
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

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An exponent, or the nearest that there is room for.
fn saturating(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Half the room, so that the digits before and after the point change nothing.
    const MOST: i64 = i64::MAX / 2;
    let size = digits.parse().unwrap_or(MOST).min(MOST);
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Number {
        Number::read(text).unwrap()
    }

    #[test]
    fn spellings_of_one_number_are_equal() {
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
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "1x", "0x1", "NaN", "--1", "1e1.5",
        ] {
            assert_eq!(Number::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_compare_as_whole_numbers_and_as_floats_do(a: i64, b: i64, c: i32, d: i32) {
            prop_assert_eq!(read(&a.to_string()).cmp(&read(&b.to_string())), a.cmp(&b));
            // Both are exact as floats, and so is their spelling.
            let (c, d) = (f64::from(c) / 1024.0, f64::from(d) / 1024.0);
            prop_assert_eq!(Some(read(&c.to_string()).cmp(&read(&format!("{d:e}")))), c.partial_cmp(&d));
        }
    }
}
