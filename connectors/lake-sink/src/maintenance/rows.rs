//! Reads columns of a table, and their values.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, Days, NaiveDate};
use iceberg::expr::{Predicate, Reference};
use iceberg::scan::ArrowRecordBatchStream;
use iceberg::spec::Datum;
use iceberg::table::Table;

use crate::error::Error;

/// The files that are read at once.
const FILES: usize = 4;

/// Streams columns of the rows that fit the predicate.
pub async fn read(
    table: &Table,
    columns: &[&str],
    predicate: Option<Predicate>,
) -> Result<ArrowRecordBatchStream, Error> {
    let mut scan = table
        .scan()
        .select(columns.iter().copied())
        .with_data_file_concurrency_limit(FILES);
    if let Some(predicate) = predicate {
        scan = scan.with_filter(predicate);
    }
    Ok(scan.build()?.to_arrow().await?)
}

/// The rows whose time is in the day (UTC).
pub fn of_day(time: &str, day: NaiveDate) -> Predicate {
    let micros = |day: NaiveDate| {
        day.and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_micros()
    };
    let from =
        Reference::new(time).greater_than_or_equal_to(Datum::timestamptz_micros(micros(day)));
    match day.checked_add_days(Days::new(1)) {
        Some(next) => {
            from.and(Reference::new(time).less_than(Datum::timestamptz_micros(micros(next))))
        }
        None => from,
    }
}

/// The day of a time in microseconds; `None` outside of the calendar.
pub fn day_of(micros: i64) -> Option<NaiveDate> {
    Some(DateTime::from_timestamp_micros(micros)?.date_naive())
}

/// The columns of a batch by name, as the sink writes them.
pub struct Columns<'b> {
    /// The table, for messages.
    pub table: &'b Table,
    /// The rows.
    pub batch: &'b RecordBatch,
}

impl<'b> Columns<'b> {
    fn column(&self, name: &str) -> Result<&'b ArrayRef, Error> {
        let column = self.batch.column_by_name(name);
        column.ok_or_else(|| self.problem(format!("it has no column {name}")))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Row {
            table: self.table.identifier().to_string(),
            problem,
        }
    }

    fn mistyped(&self, name: &str) -> Error {
        self.problem(format!("its column {name} has another type"))
    }

    /// A column of text.
    pub fn texts(&self, name: &str) -> Result<&'b StringArray, Error> {
        let column = self.column(name)?.as_string_opt::<i32>();
        column.ok_or_else(|| self.mistyped(name))
    }

    /// A column of times.
    pub fn times(&self, name: &str) -> Result<&'b TimestampMicrosecondArray, Error> {
        let column = self
            .column(name)?
            .as_primitive_opt::<TimestampMicrosecondType>();
        column.ok_or_else(|| self.mistyped(name))
    }

    /// A column of whole numbers of up to 38 digits.
    pub fn wholes(&self, name: &str) -> Result<&'b Decimal128Array, Error> {
        let column = self.column(name)?.as_primitive_opt::<Decimal128Type>();
        column.ok_or_else(|| self.mistyped(name))
    }

    /// The partitions of the records.
    pub fn partitions(&self) -> Result<&'b Int32Array, Error> {
        let name = "source_partition";
        let column = self.column(name)?.as_primitive_opt::<Int32Type>();
        column.ok_or_else(|| self.mistyped(name))
    }

    /// The offsets of the records.
    pub fn offsets(&self) -> Result<&'b Int64Array, Error> {
        let name = "source_offset";
        let column = self.column(name)?.as_primitive_opt::<Int64Type>();
        column.ok_or_else(|| self.mistyped(name))
    }
}
