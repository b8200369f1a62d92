//! The files of a table's current snapshot, by the day of their rows.
//!
//! Everything comes from the manifests; no file with rows is opened.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{
    Literal, ManifestContentType, ManifestFile, PrimitiveLiteral, Struct, Transform,
};
use iceberg::table::Table;

use crate::error::Error;

/// The manifests that are read at once.
const MANIFESTS: usize = 8;

/// Some files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Their number.
    pub files: u64,
    /// Their rows, with those that delete files remove.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of those that are small.
    pub small: u64,
}

impl Files {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.small += other.small;
    }
}

/// The files of a table.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Those with rows, by the day (UTC) of the table's time.
    pub days: BTreeMap<NaiveDate, Files>,
    /// Those of other partitions than days.
    pub undated: Files,
    /// Those that delete rows of others.
    pub deletes: Files,
}

impl Contents {
    /// Reads the manifests of the current snapshot. A file is small if it has fewer bytes than
    /// `small`.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn read(table: &Table, small: u64) -> Result<Self, Error> {
        let Some(snapshot) = table.metadata().current_snapshot() else {
            return Ok(Self::default());
        };
        let list = table.manifest_list_reader(snapshot).load().await?;
        let mut parts = stream::iter(list.entries())
            .map(|manifest| Self::of_manifest(table, manifest, small))
            .buffer_unordered(MANIFESTS);
        let mut contents = Self::default();
        while let Some(part) = parts.try_next().await? {
            for (day, files) in part.days {
                contents.days.entry(day).or_default().add(files);
            }
            contents.undated.add(part.undated);
            contents.deletes.add(part.deletes);
        }
        Ok(contents)
    }

    async fn of_manifest(table: &Table, file: &ManifestFile, small: u64) -> Result<Self, Error> {
        let spec = table
            .metadata()
            .partition_spec_by_id(file.partition_spec_id);
        let is_by_day = spec.is_some_and(|spec| {
            let fields = spec.fields();
            matches!(fields, [field] if field.transform == Transform::Day)
        });
        let manifest = file.load_manifest(table.file_io()).await?;
        let mut contents = Self::default();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let bytes = entry.file_size_in_bytes();
            let files = Files {
                files: 1,
                rows: entry.record_count(),
                bytes,
                small: u64::from(bytes < small),
            };
            let day = day(entry.data_file().partition()).filter(|_| is_by_day);
            match (file.content, day) {
                (ManifestContentType::Deletes, _) => contents.deletes.add(files),
                (ManifestContentType::Data, Some(day)) => {
                    contents.days.entry(day).or_default().add(files);
                }
                (ManifestContentType::Data, None) => contents.undated.add(files),
            }
        }
        Ok(contents)
    }

    /// The sum over all days.
    #[must_use]
    pub fn sum(&self) -> Files {
        let mut sum = self.undated;
        for files in self.days.values() {
            sum.add(*files);
        }
        sum
    }

    /// Checks that each file belongs to a day.
    ///
    /// # Errors
    /// [`Error::Undated`]
    pub fn check_dated(&self, table: &Table) -> Result<(), Error> {
        if self.undated.files == 0 {
            return Ok(());
        }
        Err(Error::Undated {
            table: table.identifier().to_string(),
            files: self.undated.files,
        })
    }
}

/// Calls `found` with the location of each file of these manifests.
pub(super) async fn each_file(
    table: &Table,
    manifests: impl IntoIterator<Item = ManifestFile>,
    mut found: impl FnMut(&str),
) -> Result<(), Error> {
    let mut manifests = stream::iter(manifests)
        .map(async |manifest| manifest.load_manifest(table.file_io()).await)
        .buffer_unordered(MANIFESTS);
    while let Some(manifest) = manifests.try_next().await? {
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            found(entry.file_path());
        }
    }
    Ok(())
}

fn day(partition: &Struct) -> Option<NaiveDate> {
    match partition.fields() {
        [Some(Literal::Primitive(PrimitiveLiteral::Int(days)))] => DateTime::UNIX_EPOCH
            .date_naive()
            .checked_add_signed(TimeDelta::days(i64::from(*days))),
        _ => None,
    }
}
