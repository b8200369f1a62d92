//! Facts as one array for each column, for statements that `unnest` them: a COPY can't look anything up, nor replace.

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};

/// A column. Elements are written as COPY writes fields: length and value, −1 for NULL.
#[derive(Debug, Default)]
pub(crate) struct Array {
    elements: Vec<u8>,
    length: i32,
    has_null: bool,
}

impl Array {
    /// Adds an element with its length before it.
    pub(super) fn push(&mut self, element: &[u8]) {
        self.has_null |= element.starts_with(&super::NULL);
        self.elements.extend_from_slice(element);
        self.length += 1;
    }
}

impl ToSql for Array {
    /// One dimension that begins at 1, as `array_recv` of the server reads it.
    fn to_sql(
        &self,
        sql_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Kind::Array(element) = sql_type.kind() else {
            return Err(format!("a column of facts is no {sql_type}").into());
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

/// The fields of an encoded row, each with its length before it.
pub(super) fn fields_of_row(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields(row.get(2..).unwrap_or_default())
}

/// The same without the number of columns in front.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        let (field, behind) = rest.split_at_checked(4 + usize::try_from(length).unwrap_or(0))?;
        rest = behind;
        Some(field)
    })
}
