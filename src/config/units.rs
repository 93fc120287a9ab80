//! Durations and sizes, always with a unit.
//!
//! Pure. A bare number is refused: whoever reads `15` can't know of what.

use std::time::Duration;

use crate::suggest;

/// From small to large.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// The binary units first, from small to large.
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// `500ms`, `15s`, `5m`, `1h`. The error says what is wrong and the way out.
pub fn duration(text: &str) -> Result<Duration, String> {
    quantity(text, &DURATIONS, "s").map(Duration::from_millis)
}

/// `512KiB`, `64MiB`, `1GiB`, `100MB`, in bytes. The error says what is wrong and the way out.
pub fn size(text: &str) -> Result<usize, String> {
    let bytes = quantity(text, &SIZES, "MiB")?;
    usize::try_from(bytes).map_err(|_| "is more than this machine can address: use less".to_owned())
}

fn quantity(text: &str, units: &[(&str, u64)], usual: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() || unit.starts_with(['.', ',']) {
        return Err(format!(
            "is not a whole number and a unit: write it like `15{usual}`"
        ));
    }
    if unit.is_empty() {
        return Err(format!("has no unit: add one, as in `{number}{usual}`"));
    }
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!(
            "has an unknown unit `{unit}`: {}",
            suggest::one_of(unit, &names)
        ));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*factor))
        .ok_or_else(|| "is too large: use less".to_owned())
}

/// A duration as the file spells it, in the largest unit that leaves no rest.
pub fn show_duration(d: Duration) -> String {
    let ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let largest = DURATIONS
        .iter()
        .rev()
        .find(|(_, factor)| ms.is_multiple_of(*factor) && ms >= *factor);
    match largest {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None => "0s".to_owned(),
    }
}

/// A size as the file spells it, in the largest binary unit that leaves no rest.
pub fn show_size(bytes: usize) -> String {
    let bytes = bytes as u64;
    let largest = SIZES[..3]
        .iter()
        .rev()
        .find(|(_, factor)| bytes.is_multiple_of(*factor) && bytes >= *factor);
    match largest {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("15s", 15_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2 s", 2_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, bytes) in [
            ("512KiB", 524_288),
            ("64MiB", 67_108_864),
            ("1GiB", 1_073_741_824),
            ("100MB", 100_000_000),
            ("1kB", 1_000),
            ("1KB", 1_000),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_wrong_quantity_is_refused_with_the_way_out() {
        for (text, says) in [
            ("15", "has no unit: add one, as in `15s`"),
            ("", "write it like `15s`"),
            ("-1s", "write it like `15s`"),
            ("1.5s", "write it like `15s`"),
            ("soon", "write it like `15s`"),
            ("15sec", "unknown unit `sec`: use one of ms, s, m, h"),
            ("15S", "did you mean `s`?"),
            ("99999999999999999999h", "too large"),
            ("9999999999999999h", "too large"),
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (text, says) in [
            ("256", "has no unit: add one, as in `256MiB`"),
            ("256Mi", "did you mean `MiB`?"),
            ("256mib", "did you mean `MiB`?"),
            ("1TiB", "unknown unit `TiB`"),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(ms in 0u64..10_000_000_000, kib in 1usize..100_000_000) {
            let d = Duration::from_millis(ms);
            prop_assert_eq!(duration(&show_duration(d)), Ok(d));
            prop_assert_eq!(size(&show_size(kib * 1024)), Ok(kib * 1024));
        }
    }
}
