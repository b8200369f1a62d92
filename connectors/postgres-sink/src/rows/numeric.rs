//! Decimals in the binary format of `numeric`, as `numeric_recv` of the server reads it: groups of four digits, so that
//! the server need not read a text.

use bytes::BufMut;

const NEGATIVE: u16 = 0x4000;
const GROUP: usize = 4;

/// Appends the field, its length first: a number as plain text, perhaps `-`, digits, then perhaps `.` and digits.
pub(super) fn put(row: &mut Vec<u8>, text: &str) {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (NEGATIVE, unsigned),
        None => (0, text),
    };
    let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (first, groups) = integer.as_bytes().split_at(integer.len() % GROUP);
    // A fact's decimal has at most 28 digits, and a batch's sum not many more: no count is out of the range of its type.
    let before = (integer.len().div_ceil(GROUP)) as i16;
    let behind = (fraction.len().div_ceil(GROUP)) as i16;
    row.put_i32(8 + 2 * (i32::from(before) + i32::from(behind)));
    row.put_i16(before + behind);
    row.put_i16(before - 1);
    row.put_u16(sign);
    row.put_i16(fraction.len() as i16);
    if !first.is_empty() {
        row.put_i16(number(first));
    }
    for group in groups.chunks(GROUP) {
        row.put_i16(number(group));
    }
    for group in fraction.as_bytes().chunks(GROUP) {
        row.put_i16((group.len()..GROUP).fold(number(group), |value, _| value * 10));
    }
}

/// The number that up to four ASCII digits are.
fn number(digits: &[u8]) -> i16 {
    digits
        .iter()
        .fold(0, |value, digit| value * 10 + i16::from(digit & 0x0f))
}
