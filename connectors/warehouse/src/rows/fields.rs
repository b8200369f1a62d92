//! Fields in the binary format of COPY, which is also that of array elements: a length of four
//! bytes, −1 for NULL, then the value as the `…_recv` function of its type reads it.
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY>

use bytes::{BufMut, BytesMut};
use fact_model::Decimal;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
const NULL: [u8; 4] = (-1i32).to_be_bytes();
const JSONB_VERSION: u8 = 1;
/// The sign of negative numbers in `numeric`.
const NEGATIVE: u16 = 0x4000;
/// Digits in a group of `numeric`.
const GROUP: usize = 4;

pub(super) fn put_null(row: &mut impl BufMut) {
    row.put_slice(&NULL);
}

pub(super) fn put(row: &mut impl BufMut, value: &[u8]) {
    row.put_i32(length(value.len()));
    row.put_slice(value);
}

pub(super) fn put_text(row: &mut impl BufMut, text: Option<&str>) {
    match text {
        Some(text) => put(row, text.as_bytes()),
        None => put_null(row),
    }
}

pub(super) fn put_i64(row: &mut impl BufMut, value: i64) {
    put(row, &value.to_be_bytes());
}

/// `time` is in microseconds since the Unix epoch.
pub(super) fn put_time(row: &mut impl BufMut, time: i64) {
    put_i64(row, time.saturating_sub(POSTGRES_EPOCH));
}

pub(super) fn put_jsonb(row: &mut impl BufMut, json: &str) {
    row.put_i32(length(json.len() + 1));
    row.put_u8(JSONB_VERSION);
    row.put_slice(json.as_bytes());
}

pub(super) fn put_decimal(row: &mut impl BufMut, decimal: Option<&Decimal<'_>>) {
    match decimal {
        Some(decimal) => put_numeric(row, decimal.as_str()),
        None => put_null(row),
    }
}

/// `text` is a plain number: an optional `-`, digits, then optionally `.` and digits. The binary
/// format has groups of four digits, which the server need not parse.
pub(super) fn put_numeric(row: &mut impl BufMut, text: &str) {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (NEGATIVE, unsigned),
        None => (0, text),
    };
    let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (first, groups) = integer.as_bytes().split_at(integer.len() % GROUP);
    // The decimal of a fact has at most 28 digits, a version 39, so no count exceeds its type.
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

/// The number of up to four ASCII digits.
fn number(digits: &[u8]) -> i16 {
    let digits = digits.iter();
    digits.fold(0, |value, digit| value * 10 + i16::from(digit & 0x0f))
}

/// The cluster limits a record far below this.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// The fields of an encoded row, each with its length. The row begins with the number of columns.
pub(super) fn fields_of_row(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields(row.get(2..).unwrap_or_default())
}

/// The fields in `rest`, each with its length.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        let (field, behind) = rest.split_at_checked(4 + usize::try_from(length).unwrap_or(0))?;
        rest = behind;
        Some(field)
    })
}

/// Returns true if a field with its length is NULL.
pub(super) fn is_null(field: &[u8]) -> bool {
    field.starts_with(&NULL)
}

/// A column of facts as an array, for statements that `unnest` it.
#[derive(Debug, Default)]
pub(crate) struct Array {
    elements: Vec<u8>,
    length: i32,
    has_null: bool,
}

impl Array {
    /// Adds a field with its length.
    pub(super) fn push(&mut self, field: &[u8]) {
        self.has_null |= is_null(field);
        self.elements.extend_from_slice(field);
        self.length += 1;
    }
}

impl ToSql for Array {
    /// One dimension that begins at 1, as the server's `array_recv` reads it.
    fn to_sql(
        &self,
        sql_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Kind::Array(element) = sql_type.kind() else {
            return Err(format!("a column of facts can't be written as {sql_type}").into());
        };
        out.put_i32(1);
        out.put_i32(self.has_null.into());
        out.put_u32(element.oid());
        out.put_i32(self.length);
        out.put_i32(1);
        out.put_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn accepts(sql_type: &Type) -> bool {
        matches!(sql_type.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checks::read_numeric;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_decimal_is_the_same_number_as_numeric(
            text in r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?",
            version in any::<u128>(),
        ) {
            let decimal = Decimal::parse(&text).unwrap();
            for text in [decimal.as_str(), &version.to_string()] {
                let mut field = Vec::new();
                put_numeric(&mut field, text);
                prop_assert_eq!(fields(&field).next(), Some(&field[..]), "its length");
                prop_assert_eq!(read_numeric(&field), text);
            }
        }

        #[test]
        fn fields_are_read_as_they_were_put(texts in any::<Vec<Option<String>>>()) {
            let mut row = vec![0_u8; 2];
            texts.iter().for_each(|text| put_text(&mut row, text.as_deref()));
            let read = fields_of_row(&row).map(|field| field[4..].to_vec());
            let put = texts.iter().map(|text| text.clone().unwrap_or_default().into_bytes());
            prop_assert_eq!(read.collect::<Vec<_>>(), put.collect::<Vec<_>>());
        }

        #[test]
        fn fields_of_any_bytes_lie_within_them(bytes in any::<Vec<u8>>()) {
            let length: usize = fields(&bytes).map(<[u8]>::len).sum();
            prop_assert!(length <= bytes.len());
        }
    }
}
