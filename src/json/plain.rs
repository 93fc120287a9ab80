//! The run of a text that stands for itself in a JSON string.
//!
//! Pure.

/// How many bytes at the beginning of `text` need no escape in a JSON string, and are no end of one: those before the
/// first quote, backslash or control character.
pub fn plain_length(text: &[u8]) -> usize {
    let (blocks, _) = text.as_chunks();
    let mut at = BLOCK * blocks.iter().take_while(|block| !has_special(block)).count();
    let (words, tail) = text.get(at..).unwrap_or_default().as_chunks();
    for word in words {
        if let Some(first) = first_special(*word) {
            return at + first;
        }
        at += WORD;
    }
    match text.last_chunk() {
        // Begins among those that were looked at: one step for up to seven bytes.
        Some(last) => first_special(*last).map_or(text.len(), |first| text.len() - WORD + first),
        None => {
            at + tail
                .iter()
                .position(|byte| is_special(*byte))
                .unwrap_or(tail.len())
        }
    }
}

/// Looked at together: what the vector instructions of every processor hold.
const BLOCK: usize = 16;
const WORD: usize = 8;

/// Without an end at the first one, so that it compiles to vector instructions.
#[inline(always)]
fn has_special(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |any, byte| any | is_special(*byte))
}

/// Where the first one of eight bytes is, without a look at each: a byte's highest bit is set where the subtraction
/// borrows, and the lowest such bit is never a borrow of another byte.
#[inline(always)]
fn first_special(word: [u8; WORD]) -> Option<usize> {
    let all = |byte| u64::from_le_bytes([byte; WORD]);
    let word = u64::from_le_bytes(word);
    let below = |word: u64, least| word.wrapping_sub(all(least)) & !word;
    let special = below(word, 0x20) | below(word ^ all(b'"'), 1) | below(word ^ all(b'\\'), 1);
    let bits = special & all(0x80);
    (bits != 0).then(|| bits.trailing_zeros() as usize / 8)
}

fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_to_escape_is_found_at_every_place_of_any_length() {
        for length in 0..70 {
            let text = vec![b'x'; length];
            assert_eq!(plain_length(&text), length);
            for at in 0..length {
                for special in *b"\"\\\0\n\x1f" {
                    let mut text = text.clone();
                    text[at] = special;
                    assert_eq!(plain_length(&text), at, "of {length}");
                    text[length - 1] = special;
                    assert_eq!(plain_length(&text), at, "another behind it");
                }
                for other in [b' ', b'!', b'\'', b'/', 0x7f, 0x80, 0xff] {
                    let mut text = text.clone();
                    text[at] = other;
                    assert_eq!(plain_length(&text), length);
                }
            }
        }
    }
}
