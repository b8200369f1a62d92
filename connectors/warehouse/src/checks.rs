//! Invariants of what is copied into the tables, shared by tests and fuzz targets.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a violated invariant panics"
)]

use bytes::{Buf, Bytes};
use fact_model::Decimal;

use crate::batch::Batch;
use crate::rows::{RowEnds, Stored};
use crate::source::Record;

/// Decodes a record with this value, and checks the rows of its COPY. A value that is not an
/// envelope is one rejected event.
///
/// # Panics
/// If an invariant is violated.
pub fn check_envelope(value: &[u8]) {
    let record = Record {
        offset: 7,
        key: None,
        value: Bytes::copy_from_slice(value),
    };
    let batch = Batch::of(7, [record]).finish();
    assert_eq!((batch.record_count(), batch.next_offset()), (1, 8));
    assert_eq!(copied_rows(&batch), batch.rows.len());
    if batch.is_unreadable() {
        assert_eq!((batch.rows.len(), batch.row_count()), (0, 1));
    }
}

/// Counts the rows of a batch's COPY. Each has to have as many whole fields as it announces.
pub(crate) fn copied_rows(batch: &Batch) -> usize {
    let (stored, ends) = (Stored::default(), RowEnds::new(&[], &[], "topic", 0));
    let chunks: Vec<Bytes> = batch.rows.copy_data(&stored, &ends).collect();
    let mut data = Bytes::from(chunks.concat());
    assert!(data.starts_with(b"PGCOPY\n\xff\r\n\0"));
    data.advance(19);
    let mut rows = 0;
    loop {
        let fields = data.get_i16();
        if fields == -1 {
            break;
        }
        for _ in 0..fields {
            let length = data.get_i32();
            assert!(length >= -1);
            data.advance(usize::try_from(length).unwrap_or(0));
        }
        rows += 1;
    }
    assert!(data.is_empty());
    rows
}

/// Checks that a text which is a number of facts is the same number as `numeric`.
///
/// # Panics
/// If it is not.
pub fn check_number(text: &str) {
    if let Some(decimal) = Decimal::parse(text) {
        let text = decimal.as_str();
        assert_eq!(read_numeric(&crate::rows::numeric(text)), text);
    }
}

/// Reads a `numeric` as the server's `numeric_recv` does: groups of four digits, the first of
/// which counts ten thousand to the power of the weight.
pub(crate) fn read_numeric(field: &[u8]) -> String {
    let words = field[4..].chunks_exact(2);
    let words: Vec<i16> = words
        .map(|word| i16::from_be_bytes([word[0], word[1]]))
        .collect();
    let [count, weight, sign, scale, groups @ ..] = &words[..] else {
        panic!("{words:?}");
    };
    assert_eq!(groups.len(), usize::try_from(*count).unwrap());
    assert!(groups.iter().all(|group| (0..10_000).contains(group)));
    let digits: String = groups.iter().map(|group| format!("{group:04}")).collect();
    let integers = 4 * (usize::try_from(*weight).unwrap() + 1);
    let (integer, fraction) = digits.split_at(integers);
    let (fraction, rest) = fraction.split_at(usize::try_from(*scale).unwrap());
    assert_eq!(rest.trim_matches('0'), "");
    let integer = match integer.trim_start_matches('0') {
        "" => "0",
        integer => integer,
    };
    let sign = if *sign == 0 { "" } else { "-" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{integer}{point}{fraction}")
}
