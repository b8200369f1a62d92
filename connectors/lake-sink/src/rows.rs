//! Rows of the tables, as Arrow columns.

pub mod decimal;
pub mod facts;
pub mod raw;
pub mod rejected;

use std::slice;

use arrow_array::builder::{
    ArrayBuilder, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rows::decimal::{PRECISION, SCALE, unscaled};
use crate::schema::{Definition, Kind};

/// The partition that rows come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
}

impl Source {
    fn number(&self) -> i32 {
        i32::try_from(self.partition).unwrap_or(i32::MAX)
    }
}

/// Collects the rows of a table, column by column.
#[derive(Debug)]
pub struct RowBuilder {
    columns: Vec<Builder>,
    rows: usize,
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Number(Decimal128Builder),
    Whole(Decimal128Builder),
    Time(TimestampMicrosecondBuilder),
}

/// A row that is being filled, in the order of the columns. A value goes to the next column.
#[derive(Debug)]
pub struct Row<'b>(slice::IterMut<'b, Builder>);

impl RowBuilder {
    /// No rows of the table.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let kinds = definition.columns.iter().map(|column| column.kind);
        Self {
            columns: kinds.map(Builder::new).collect(),
            rows: 0,
        }
    }

    /// Begins a row.
    pub fn row(&mut self) -> Row<'_> {
        self.rows += 1;
        Row(self.columns.iter_mut())
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns of all rows. The builder is empty then.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.iter_mut().map(Builder::finish).collect()
    }
}

impl Builder {
    fn new(kind: Kind) -> Self {
        let decimal = |scale: usize| {
            Decimal128Builder::new().with_data_type(DataType::Decimal128(
                PRECISION as u8,
                i8::try_from(scale).unwrap_or_default(),
            ))
        };
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Number => Self::Number(decimal(SCALE)),
            Kind::Whole => Self::Whole(decimal(0)),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_data_type(
                DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            )),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::Long(builder) => ArrayBuilder::finish(builder),
            Self::Number(builder) | Self::Whole(builder) => ArrayBuilder::finish(builder),
            Self::Time(builder) => ArrayBuilder::finish(builder),
        }
    }
}

impl Row<'_> {
    fn text(&mut self, value: Option<&str>) {
        if let Some(Builder::Text(builder)) = self.0.next() {
            builder.append_option(value);
        }
    }

    fn int(&mut self, value: Option<i32>) {
        if let Some(Builder::Int(builder)) = self.0.next() {
            builder.append_option(value);
        }
    }

    fn long(&mut self, value: i64) {
        if let Some(Builder::Long(builder)) = self.0.next() {
            builder.append_value(value);
        }
    }

    /// Microseconds since the Unix epoch.
    fn time(&mut self, micros: Option<i64>) {
        if let Some(Builder::Time(builder)) = self.0.next() {
            builder.append_option(micros);
        }
    }

    fn whole(&mut self, value: Option<u128>) {
        if let Some(Builder::Whole(builder)) = self.0.next() {
            let fits = |value: &i128| unscaled(&value.to_string(), 0).is_some();
            let value = value.and_then(|value| i128::try_from(value).ok());
            builder.append_option(value.filter(fits));
        }
    }

    /// Adds the value of a canonical decimal. Returns false if the column can't hold it exactly,
    /// and is null.
    fn number(&mut self, text: Option<&str>) -> bool {
        let value = text.and_then(|text| unscaled(text, SCALE));
        if let Some(Builder::Number(builder)) = self.0.next() {
            builder.append_option(value);
        }
        text.is_some() == value.is_some()
    }

    /// Adds bytes as text and, in the next column, `base64` if they are not text.
    fn bytes(&mut self, value: Option<&[u8]>) {
        match value.map(std::str::from_utf8) {
            None => {
                self.text(None);
                self.text(None);
            }
            Some(Ok(text)) => {
                self.text(Some(text));
                self.text(None);
            }
            Some(Err(_)) => {
                self.text(Some(&STANDARD.encode(value.unwrap_or_default())));
                self.text(Some("base64"));
            }
        }
    }

    /// Adds the topic, the partition and the offset.
    fn source(&mut self, source: &Source, offset: i64) {
        self.text(Some(&source.topic));
        self.int(Some(source.number()));
        self.long(offset);
    }
}

/// The memory of columns.
#[must_use]
pub fn memory(columns: &[ArrayRef]) -> usize {
    let sizes = columns.iter().map(|column| column.get_array_memory_size());
    sizes.sum()
}

/// The columns of the rows from `first` on.
#[must_use]
pub fn rows_from(columns: &[ArrayRef], first: usize) -> Vec<ArrayRef> {
    let slice = |column: &ArrayRef| {
        let first = first.min(column.len());
        column.slice(first, column.len() - first)
    };
    columns.iter().map(slice).collect()
}
