//! Writes rows of a table into Parquet files, sorted, one for each day.
//!
//! Rows are kept in memory up to a limit, sorted, and appended to the file of their day. So each
//! file is made of sorted runs: of one in most commits. A file is in no table until it is
//! committed.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef, Int32Array, RecordBatch, new_null_array};
use arrow_ord::sort::{SortColumn, lexsort_to_indices};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::interleave::interleave_record_batch;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, DataFileFormat, Literal, PartitionKey, Struct};
use iceberg::table::Table;
use iceberg::writer::base_writer::data_file_writer::{DataFileWriter, DataFileWriterBuilder};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{
    DefaultFileNameGenerator, DefaultLocationGenerator,
};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{CurrentFileStatus as _, IcebergWriter as _, IcebergWriterBuilder as _};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::error::Error;
use crate::rows;
use crate::schema::Definition;

const DAY: i64 = 24 * 3600 * 1_000_000;
/// The rows that are written at once.
const ROWS: usize = 8192;
/// The rows of a row group. A writer has an encoded row group in memory.
const ROW_GROUP: usize = 256 << 10;
/// The files that are open at once. Late events are of many days.
const MAX_OPEN: usize = 48;

type Builder =
    DataFileWriterBuilder<ParquetWriterBuilder, DefaultLocationGenerator, DefaultFileNameGenerator>;
type Writer =
    DataFileWriter<ParquetWriterBuilder, DefaultLocationGenerator, DefaultFileNameGenerator>;

/// The files of a table's next commit.
pub struct Files {
    table: Table,
    definition: &'static Definition,
    schema: SchemaRef,
    builder: Builder,
    target_size: usize,
    max_buffer: usize,
    buffer: Vec<RecordBatch>,
    buffered: usize,
    open: BTreeMap<i32, Writer>,
    closed: Vec<DataFile>,
    rows: usize,
}

impl Files {
    /// No files. Files are closed at `target_size`, and `max_buffer` bytes of rows are kept in
    /// memory.
    ///
    /// # Errors
    /// None of a table that was opened.
    pub fn new(
        table: &Table,
        definition: &'static Definition,
        target_size: usize,
        max_buffer: usize,
    ) -> Result<Self, Error> {
        let schema = table.metadata().current_schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // No two facts have the same.
            .set_column_dictionary_enabled(ColumnPath::from("fact_hash"), false)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        // No two files have the same name, whoever writes them.
        let names = DefaultFileNameGenerator::new(
            Uuid::new_v4().to_string(),
            None,
            DataFileFormat::Parquet,
        );
        let rolling = RollingFileWriterBuilder::new(
            ParquetWriterBuilder::new(properties, Arc::clone(schema)),
            target_size,
            table.file_io().clone(),
            DefaultLocationGenerator::new(table.metadata())?,
            names,
        );
        Ok(Self {
            schema: Arc::new(schema_to_arrow_schema(schema)?),
            builder: DataFileWriterBuilder::new(rolling),
            table: table.clone(),
            definition,
            target_size,
            max_buffer,
            buffer: Vec::new(),
            buffered: 0,
            open: BTreeMap::new(),
            closed: Vec::new(),
            rows: 0,
        })
    }

    /// The number of rows that were added.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns true if a file has the target size.
    #[must_use]
    pub fn are_full(&self) -> bool {
        let mut open = self.open.values();
        self.closed.len() >= MAX_OPEN
            || open.any(|file| file.current_written_size() >= self.target_size)
    }

    /// Adds rows, whose columns are in the order of the definition.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn add(&mut self, columns: Vec<ArrayRef>) -> Result<(), Error> {
        let rows = columns.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(());
        }
        self.rows += rows;
        self.buffered += rows::memory(&columns);
        self.buffer.push(self.arranged(&columns, rows)?);
        if self.buffered >= self.max_buffer {
            self.flush().await?;
        }
        Ok(())
    }

    /// The columns in the order of the table, which may have others. These are null.
    fn arranged(&self, columns: &[ArrayRef], rows: usize) -> Result<RecordBatch, ArrowError> {
        let fields = self.schema.fields().iter();
        let arranged = fields.map(|field| {
            let names = self.definition.columns.iter().map(|column| column.name);
            let ours = names.zip(columns).find(|(name, _)| name == field.name());
            match ours {
                Some((_, column)) => Arc::clone(column),
                None => new_null_array(field.data_type(), rows),
            }
        });
        RecordBatch::try_new(Arc::clone(&self.schema), arranged.collect())
    }

    /// Sorts the rows in memory and appends them to the files of their days.
    async fn flush(&mut self) -> Result<(), Error> {
        let batches = mem::take(&mut self.buffer);
        self.buffered = 0;
        if batches.is_empty() {
            return Ok(());
        }
        let days = self.days(&batches)?;
        let order = self.order(&batches, &days)?;
        let places = places(&batches);
        // Most columns have no value in most commits, and to arrange theirs takes as long as values.
        let batches = filled(&batches)?;
        let all: Vec<&RecordBatch> = batches.iter().collect();
        for run in order.chunk_by(|one, next| days.values().get(*one) == days.values().get(*next)) {
            let day = run.first().and_then(|first| days.values().get(*first));
            let day = day.copied().unwrap_or_default();
            for chunk in run.chunks(ROWS) {
                let chosen = chunk.iter().filter_map(|row| places.get(*row).copied());
                let chosen: Vec<(usize, usize)> = chosen.collect();
                let rows = interleave_record_batch(&all, &chosen)?;
                let rows = self.complete(&rows)?;
                self.writer(day).await?.write(rows).await?;
            }
        }
        Ok(())
    }

    /// Adds the columns that are null in every row.
    fn complete(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.schema.fields().iter().map(|field| {
            let filled = rows.column_by_name(field.name());
            filled.map_or_else(
                || new_null_array(field.data_type(), rows.num_rows()),
                Arc::clone,
            )
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())
    }

    /// The day of each row, in days since the Unix epoch.
    fn days(&self, batches: &[RecordBatch]) -> Result<Int32Array, ArrowError> {
        let time = self.concatenated(batches, self.definition.time)?;
        let times = time.as_primitive::<TimestampMicrosecondType>();
        let day = |micros: i64| i32::try_from(micros.div_euclid(DAY)).unwrap_or_default();
        Ok(Int32Array::from_iter_values(
            times.values().iter().map(|micros| day(*micros)),
        ))
    }

    /// The rows in order of their days, then by the columns that the table is sorted by.
    fn order(&self, batches: &[RecordBatch], days: &Int32Array) -> Result<Vec<usize>, ArrowError> {
        let ascending = |values| SortColumn {
            values,
            options: None,
        };
        let mut keys = vec![ascending(Arc::new(days.clone()) as ArrayRef)];
        for name in self.definition.sorted_by {
            keys.push(ascending(self.concatenated(batches, name)?));
        }
        let order = lexsort_to_indices(&keys, None)?;
        Ok(order.values().iter().map(|row| *row as usize).collect())
    }

    fn concatenated(&self, batches: &[RecordBatch], name: &str) -> Result<ArrayRef, ArrowError> {
        let columns: Vec<&dyn arrow_array::Array> = batches
            .iter()
            .filter_map(|batch| Some(batch.column_by_name(name)?.as_ref()))
            .collect();
        concat(&columns)
    }

    /// The file of a day.
    async fn writer(&mut self, day: i32) -> Result<&mut Writer, Error> {
        if !self.open.contains_key(&day) {
            if self.open.len() >= MAX_OPEN {
                self.close_open().await?;
            }
            let metadata = self.table.metadata();
            let key = PartitionKey::new(
                metadata.default_partition_spec().as_ref().clone(),
                Arc::clone(metadata.current_schema()),
                Struct::from_iter([Some(Literal::date(day))]),
            );
            let writer = self.builder.build(Some(key)).await?;
            self.open.insert(day, writer);
        }
        let writer = self.open.get_mut(&day);
        Ok(writer.ok_or_else(|| ArrowError::ComputeError("no file is open".to_owned()))?)
    }

    async fn close_open(&mut self) -> Result<(), Error> {
        for (_, mut writer) in mem::take(&mut self.open) {
            self.closed.extend(writer.close().await?);
        }
        Ok(())
    }

    /// Writes all rows and closes the files. They stay here until [`Files::committed`].
    ///
    /// # Errors
    /// The storage failed.
    pub async fn close(&mut self) -> Result<&[DataFile], Error> {
        self.flush().await?;
        self.close_open().await?;
        Ok(&self.closed)
    }

    /// Begins the files of the next commit.
    pub fn committed(&mut self) {
        self.closed.clear();
        self.rows = 0;
    }
}

/// The columns that have a value in any of the batches.
fn filled(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, ArrowError> {
    let columns = batches.first().map_or(0, RecordBatch::num_columns);
    let has_value = |column: &usize| {
        let mut columns = batches.iter().map(|batch| batch.column(*column));
        columns.any(|column| column.null_count() < column.len())
    };
    let filled: Vec<usize> = (0..columns).filter(has_value).collect();
    batches.iter().map(|batch| batch.project(&filled)).collect()
}

/// The batch and the index in it of each row.
fn places(batches: &[RecordBatch]) -> Vec<(usize, usize)> {
    let each = batches.iter().enumerate();
    let each = each.flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)));
    each.collect()
}
