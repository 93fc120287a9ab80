//! gzip, undone within bounds.
//!
//! Pure. Owns the limits: how much comes out, and how many layers lie in each other. Must never trust a
//! size that the data itself tells, and never give back a part of what was there: what can't be inflated to
//! its last byte is an error.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// gzip in gzip in gzip: CloudWatch Logs makes one layer, an agent that packs its own files another.
pub const MAX_LAYERS: usize = 4;

/// Deflate makes at most 258 bytes of two bits (RFC 1951, 3.2.5), so 1032 of a byte.
const LARGEST_RATIO: usize = 1032;

/// Inflated at a time.
const CHUNK: usize = 32 * 1024;

/// Why bytes that begin like gzip could not be inflated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    #[error("gzip breaks off before its end")]
    Truncated,
    #[error("gzip is damaged: {0}")]
    Damaged(String),
    /// A bomb, or a limit that is too low.
    #[error(
        "gzip holds more than {limit} bytes: a higher `inflate_limit` in the settings (`--limit` of `weir decode`) allows more"
    )]
    TooLarge { limit: usize },
    #[error("gzip lies in gzip more than {MAX_LAYERS} times")]
    TooDeep,
    #[error("{0} bytes that are no gzip follow the end of the gzip")]
    Trailing(usize),
}

/// Whether the bytes begin like gzip: its magic number, and deflate, the only method there is (RFC 1952).
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// How much the bytes will be when inflated, at most `limit`. 0 where they don't begin like gzip.
///
/// A hint: gzip ends with its size (modulo 2³²), but of several members only the last one's is there, a
/// nested layer's is inside, and anyone may write anything there. What deflate can't reach is not believed.
pub fn size_hint(bytes: &[u8], limit: usize) -> usize {
    match bytes.last_chunk::<4>() {
        Some(size) if is_gzip(bytes) => usize::try_from(u32::from_le_bytes(*size))
            .unwrap_or(usize::MAX)
            .min(bytes.len().saturating_mul(LARGEST_RATIO))
            .min(limit),
        _ => 0,
    }
}

/// The content, through all members and all layers, which are `limit` bytes together at most.
pub fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, GzipError> {
    let too_large = GzipError::TooLarge { limit };
    let mut content = layer(bytes, limit)?.ok_or(too_large.clone())?;
    let mut left = limit - content.len();
    let mut layers = 1;
    while is_gzip(&content) {
        if layers == MAX_LAYERS {
            return Err(GzipError::TooDeep);
        }
        content = layer(&content, left)?.ok_or(too_large.clone())?;
        left -= content.len();
        layers += 1;
    }
    Ok(content)
}

/// One layer, which may be several members, one after the other. `None` if it is larger than `limit`.
fn layer(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, GzipError> {
    match member(bytes, limit) {
        Some(content) => Ok(Some(content)),
        None => members(bytes, limit),
    }
}

/// The content of a single member without a file's name or the like, in one step and without a copy: what services
/// and libraries send. `None` for anything else: whether that is whole, too large or damaged, [`members`] tells.
fn member(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (head, rest) = bytes.split_first_chunk::<10>()?;
    let (rest, told) = rest.split_last_chunk::<4>()?;
    let (deflated, crc) = rest.split_last_chunk::<4>()?;
    let size = size_hint(bytes, limit);
    // Deflate, and no flags; and a size that can be true.
    if !head.starts_with(&[0x1f, 0x8b, 8, 0]) || Ok(size) != usize::try_from(u32::from_le_bytes(*told)) {
        return None;
    }
    let mut out = Vec::with_capacity(size);
    let mut inflater = Decompress::new(false);
    let end = inflater.decompress_vec(deflated, &mut out, FlushDecompress::Finish);
    let is_whole = end.is_ok_and(|status| status == Status::StreamEnd)
        && Ok(deflated.len()) == usize::try_from(inflater.total_in())
        && out.len() == size;
    if !is_whole {
        return None;
    }
    let mut sum = Crc::new();
    sum.update(&out);
    (sum.sum() == u32::from_le_bytes(*crc)).then_some(out)
}

/// Any layer. `None` as above.
fn members(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, GzipError> {
    let mut out = Vec::with_capacity(size_hint(bytes, limit));
    let mut chunk = vec![0; CHUNK];
    let mut rest = bytes;
    loop {
        let mut member = GzDecoder::new(rest);
        loop {
            let read = member.read(&mut chunk).map_err(reason)?;
            let room = limit - out.len();
            if read > room {
                return Ok(None);
            }
            if read == 0 {
                break;
            }
            if out.capacity() - out.len() < read {
                // Doubles, but never past the limit, which `Vec` alone would do.
                out.reserve_exact(out.capacity().max(read).min(room));
            }
            out.extend_from_slice(&chunk[..read]);
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(Some(out));
        }
        if !is_gzip(rest) {
            return Err(GzipError::Trailing(rest.len()));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn reason(error: io::Error) -> GzipError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => GzipError::Truncated,
        _ => GzipError::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzBuilder::new()
            .filename("a file")
            .write(Vec::new(), Compression::new(6));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// With nothing in its head, as CloudWatch Logs packs.
    fn bare(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(6));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn nested(content: &[u8], layers: usize) -> Vec<u8> {
        (0..layers).fold(content.to_vec(), |inner, _| gzip(&inner))
    }

    #[test]
    fn members_and_layers_come_out_whole() {
        let two = [gzip(b"one, "), gzip(b"two")].concat();
        for (name, bytes, content) in [
            ("one member", gzip(b"text"), "text"),
            ("a bare one", bare(b"text"), "text"),
            ("a bare one of nothing", bare(b""), ""),
            (
                "two bare ones",
                [bare(b"one, "), bare(b"two")].concat(),
                "one, two",
            ),
            ("bare ones in each other", bare(&bare(b"deep")), "deep"),
            ("nothing inside", gzip(b""), ""),
            ("two members", two.clone(), "one, two"),
            ("two members in a layer", gzip(&two), "one, two"),
            ("as deep as may be", nested(b"deep", MAX_LAYERS), "deep"),
        ] {
            assert_eq!(inflate(&bytes, MIB).as_deref(), Ok(content.as_bytes()), "{name}");
        }
        assert_eq!(
            inflate(&nested(b"deep", MAX_LAYERS + 1), MIB),
            Err(GzipError::TooDeep)
        );
    }

    #[test]
    fn what_breaks_off_or_is_damaged_is_an_error_and_says_which() {
        let content = "a statement, a statement, and another".repeat(20);
        for whole in [gzip(content.as_bytes()), bare(content.as_bytes())] {
            what_breaks_off_or_is_damaged(&whole);
        }
    }

    fn what_breaks_off_or_is_damaged(whole: &[u8]) {
        for length in 0..whole.len() {
            assert_eq!(
                inflate(&whole[..length], MIB),
                Err(GzipError::Truncated),
                "at {length}"
            );
        }
        let two = [whole, whole].concat();
        for length in whole.len() + 1..two.len() {
            let error = inflate(&two[..length], MIB).unwrap_err();
            let short = matches!(error, GzipError::Trailing(n) if n < 3);
            assert!(short || error == GzipError::Truncated, "at {length}: {error}");
        }
        let mut flipped = whole.to_vec();
        flipped[whole.len() - 6] ^= 1;
        let says = "gzip is damaged: corrupt gzip stream does not have a matching checksum";
        assert_eq!(inflate(&flipped, MIB).unwrap_err().to_string(), says);
        for rest in [&b"\0"[..], b"more", &[0x1f, 0x8b]] {
            let bytes = [whole, rest].concat();
            assert_eq!(inflate(&bytes, MIB), Err(GzipError::Trailing(rest.len())));
        }
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let zeros = gzip(&vec![0; 10 * MIB]);
        assert!(zeros.len() < 11_000);
        for (name, bytes) in [
            ("a bomb", zeros.clone()),
            ("a bare one", bare(&vec![0; 10 * MIB])),
            ("a bomb in a layer", gzip(&zeros)),
            (
                "two halves",
                [gzip(&vec![0; MIB / 2]), gzip(&vec![0; MIB / 2 + 1])].concat(),
            ),
        ] {
            assert_eq!(
                inflate(&bytes, MIB),
                Err(GzipError::TooLarge { limit: MIB }),
                "{name}"
            );
        }
        assert_eq!(
            inflate(&zeros, 10 * MIB).map(|c| c.len()),
            Ok(10 * MIB),
            "the limit itself fits"
        );
    }

    #[test]
    fn the_limit_holds_for_all_layers_together_and_for_what_is_allocated() {
        // Does not compress, so that the two layers are about as large as each other.
        let mut rng = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..))
            .take(MIB / 2 + 100)
            .collect();
        let two = nested(&noise, 2);
        assert_eq!(inflate(&two, MIB), Err(GzipError::TooLarge { limit: MIB }));
        assert_eq!(inflate(&two, 2 * MIB).as_deref(), Ok(&noise[..]));
        let mut lying = gzip(&noise);
        let at = lying.len() - 4;
        lying[at..].copy_from_slice(&1u32.to_le_bytes());
        assert!(inflate(&lying, MIB).is_err(), "a wrong size is damage");
        let mut lying = bare(&noise);
        let at = lying.len() - 4;
        for size in [1, noise.len() + 1, 2 * noise.len(), 1 << 30] {
            lying[at..].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
            assert!(inflate(&lying, MIB).is_err(), "{size} is a wrong size");
        }
        let three = [gzip(&noise), gzip(&noise[..MIB / 4]), gzip(b"")].concat();
        let out = inflate(&three, MIB).unwrap();
        assert!(out.capacity() <= MIB, "{}", out.capacity());
    }

    #[test]
    fn the_hint_is_what_the_trailer_says_within_reason() {
        assert_eq!(size_hint(&gzip(&[7; 5000]), MIB), 5000);
        assert_eq!(size_hint(&gzip(&[7; 5000]), 4000), 4000, "the limit");
        assert_eq!(size_hint(b"plain text", MIB), 0, "no gzip");
        assert_eq!(size_hint(&[0x1f, 0x8b, 8], MIB), 0, "no trailer");
        let mut lying = gzip(b"x");
        let at = lying.len() - 4;
        lying[at..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(size_hint(&lying, usize::MAX), lying.len() * 1032);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(content in proptest::collection::vec(any::<u8>(), 0..2000), layers in 1usize..=MAX_LAYERS) {
            prop_assume!(!is_gzip(&content));
            let inflated = inflate(&nested(&content, layers), MIB);
            prop_assert_eq!(inflated.as_deref(), Ok(&content[..]));
            let bare = bare(&content);
            prop_assert_eq!(member(&bare, MIB), Some(content));
            prop_assert_eq!(members(&bare, MIB), layer(&bare, MIB));
        }

        #[test]
        fn no_bytes_are_too_much(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), limit in 0usize..5000) {
            let magic = [0x1f, 0x8b, 8, 0];
            bytes.splice(..0, magic);
            prop_assert!(inflate(&bytes, limit).map_or(0, |out| out.capacity()) <= limit);
            prop_assert!(size_hint(&bytes, limit) <= limit);
            if let Some(content) = member(&bytes, limit) {
                prop_assert_eq!(members(&bytes, limit), Ok(Some(content)));
            }
        }

        #[test]
        fn one_member_that_is_changed_anywhere_is_read_in_one_step_only_if_it_is_read_at_all(
            content in proptest::collection::vec(0u8..4, 1..300),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            limit in 0usize..400,
        ) {
            let mut bytes = bare(&content);
            for (place, byte) in changes {
                let at = place.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(content) = member(&bytes, limit) {
                prop_assert_eq!(members(&bytes, limit), Ok(Some(content)));
            }
        }
    }
}
