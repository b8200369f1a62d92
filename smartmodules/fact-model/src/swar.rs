//! Processes eight bytes of a text at once as one integer (SWAR), the first byte in its lowest
//! bits. It needs no SIMD instructions, which WebAssembly may lack, and is several times as fast as
//! a byte loop.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const BLANKS: u64 = ONES * 0x20;

/// Returns the eight bytes from `at` on, if there are that many.
#[inline]
pub(crate) fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*chunk))
}

/// Pads a byte with seven blanks.
#[inline]
pub(crate) fn one(byte: u8) -> u64 {
    BLANKS - 0x20 + u64::from(byte)
}

/// Marks bytes that need an escape in a JSON string: `"`, `\` and control characters. The result is
/// 0 if there are none. Only the lowest mark is exact; [`first`] returns its position.
#[inline]
pub(crate) fn special(bytes: u64) -> u64 {
    let has_zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGH;
    let below_blank = bytes.wrapping_sub(BLANKS) & !bytes & HIGH;
    below_blank | has_zero(bytes ^ (ONES * 0x22)) | has_zero(bytes ^ (ONES * 0x5c))
}

/// Returns true if a text contains a byte that [`special`] marks.
pub(crate) fn any_special(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (chunks, rest) = bytes.as_chunks();
    let mut marks = 0;
    for chunk in chunks {
        marks |= special(u64::from_le_bytes(*chunk));
    }
    // The last eight bytes, which may overlap the last chunk.
    marks |= match bytes.last_chunk() {
        Some(last) => special(u64::from_le_bytes(*last)),
        None => special(
            rest.iter()
                .fold(BLANKS, |seen, byte| seen << 8 | u64::from(*byte)),
        ),
    };
    marks != 0
}

/// Returns true if a text may contain an escape `\u`. An escaped `\` before a `u` matches too.
pub(crate) fn any_unicode_escape(text: &str) -> bool {
    let has_zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGH;
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    // The mark of a `\` at the end of the previous eight bytes.
    let mut before = 0;
    let mut seen = 0;
    for chunk in chunks {
        let bytes = u64::from_le_bytes(*chunk);
        let backslashes = has_zero(bytes ^ (ONES * 0x5c));
        seen |= (backslashes << 8 | before) & has_zero(bytes ^ (ONES * 0x75));
        before = backslashes >> 56;
    }
    seen != 0
        || before != 0 && rest.first() == Some(&b'u')
        || rest.windows(2).any(|pair| pair == b"\\u")
}

/// Returns the position of the lowest mark.
#[inline]
pub(crate) fn first(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unicode_escape_is_found_anywhere() {
        for length in 0..40 {
            for filler in ["[", "\\n", "u", "\\\"", "t"] {
                let text = filler.repeat(length) + "é";
                assert!(!any_unicode_escape(&text), "{text}");
                for at in (0..=length * filler.len()).step_by(filler.len()) {
                    let (before, after) = text.split_at(at);
                    let text = format!("{before}\\u00e9{after}");
                    assert!(any_unicode_escape(&text), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_first_special_byte_is_found_among_all_others() {
        for ordinary in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
            assert_eq!(special(u64::from_le_bytes([ordinary; 8])), 0);
            for byte in 0..=u8::MAX {
                let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(special(one(byte)) != 0, is_special, "{byte}");
                for at in 0..8 {
                    let mut bytes = [ordinary; 8];
                    bytes[at] = byte;
                    let marks = special(u64::from_le_bytes(bytes));
                    assert_eq!(marks != 0, is_special, "{byte} among {ordinary}");
                    if is_special {
                        assert_eq!(first(marks), at, "{byte} among {ordinary}");
                    }
                }
            }
        }
    }
}
