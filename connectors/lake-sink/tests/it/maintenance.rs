//! Maintenance between the commits of a sink.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use iceberg::TableIdent;
use iceberg::spec::MAIN_BRANCH;
use lake_sink::Config;
use lake_sink::batch::Content;
use lake_sink::maintenance::Lake;
use lake_sink::maintenance::contents::Contents;
use lake_sink::maintenance::expire::{expire, plan};
use lake_sink::maintenance::orphans::Orphans;
use lake_sink::maintenance::person::{self, Person};
use lake_sink::maintenance::positions::Positions;
use serde_json::json;

use crate::faulty::{Commit, Faulty};
use crate::support::{Lab, TOPIC, batch, batches, begin, expected, fact, program, write};

impl Lab {
    fn config(&self) -> Config {
        let config = json!({"warehouse": self.warehouse(), "catalog-url": self.server.url()});
        serde_json::from_value(config).unwrap()
    }

    async fn maintenance(&self) -> Lake {
        Lake::new(self.catalog().await, &self.config()).unwrap()
    }

    /// Runs a Python program with the table of facts in `table`.
    fn python(&self, program_text: &str) {
        let url = self.server.url();
        let (_, rest) = url.split_once("://").unwrap();
        let open = format!(
            "from pyiceberg.catalog.sql import SqlCatalog\n\
             table = SqlCatalog('lake', uri='postgresql+psycopg://{rest}', warehouse='{}')\
             .load_table('shop.facts')\n",
            self.warehouse()
        );
        let output = Command::new(program("python3"))
            .arg("-c")
            .arg(open + program_text)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }

    async fn orphans(&self) -> Orphans {
        let lake = self.maintenance().await;
        Orphans::find(&lake, &facts(), &self.config(), TimeDelta::hours(2))
            .await
            .unwrap()
    }
}

fn facts() -> TableIdent {
    TableIdent::from_strs(["shop", "facts"]).unwrap()
}

/// Makes every file below the folder old.
fn age(folder: &Path) {
    let then = SystemTime::now() - Duration::from_secs(5 * 3600);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_snapshots_and_orphans_go_and_tags_and_rows_stay() {
    let lab = Lab::new().await;
    let mut sink = lab.lake().await;
    begin(&mut sink, 1).await;
    for first in [0, 100, 200] {
        write(&mut sink, batches(0, first..first + 100))
            .await
            .unwrap();
    }
    let tagged = lab
        .table("facts")
        .await
        .metadata()
        .current_snapshot_id()
        .unwrap();
    lab.python(&format!(
        "table.manage_snapshots().create_tag({tagged}, 'audit').commit()"
    ));
    // Another engine replaces the files. The tag needs them.
    lab.python("table.overwrite(table.scan().to_arrow())");
    write(&mut sink, batches(0, 300..400)).await.unwrap();

    let folder = lab.folder.path().join("shop/facts");
    std::fs::write(folder.join("data/orphan.parquet"), "rows").unwrap();
    age(&folder);
    std::fs::write(folder.join("data/young.parquet"), "rows").unwrap();
    let found = lab.orphans().await;
    let names: Vec<&str> = found
        .files
        .iter()
        .map(|file| file.location.as_str())
        .collect();
    assert!(
        matches!(names.as_slice(), [one] if one.ends_with("data/orphan.parquet")),
        "{names:?}"
    );
    assert_eq!(found.young, 1);

    let maintenance = lab.maintenance().await;
    let table = maintenance.rows().await.unwrap();
    let all = table.metadata().snapshots().len();
    let (none, _) = expire(
        maintenance.catalog(),
        &table,
        Utc::now() - TimeDelta::hours(1),
        1,
    )
    .await
    .unwrap();
    assert_eq!(none, 0);
    let (none, _) = expire(maintenance.catalog(), &table, Utc::now(), all)
        .await
        .unwrap();
    assert_eq!(none, 0);
    let planned = plan(maintenance.catalog(), &table, Utc::now(), 1)
        .await
        .unwrap();
    let table = maintenance.rows().await.unwrap();
    assert_eq!(
        table.metadata().snapshots().len(),
        all,
        "a plan changes nothing"
    );
    let (removed, table) = expire(maintenance.catalog(), &table, Utc::now(), 1)
        .await
        .unwrap();
    assert_eq!(removed, all - 2);
    assert_eq!(planned.len(), removed);
    let is_left = |id: i64| table.metadata().snapshot_by_id(id).is_some();
    assert!(!planned.iter().any(|one| is_left(one.snapshot_id())));
    let mut left: Vec<i64> = table
        .metadata()
        .snapshots()
        .map(|one| one.snapshot_id())
        .collect();
    left.sort_unstable();
    let current = table
        .metadata()
        .snapshot_for_ref(MAIN_BRANCH)
        .unwrap()
        .snapshot_id();
    let mut kept = vec![tagged, current];
    kept.sort_unstable();
    assert_eq!(left, kept);

    let found = lab.orphans().await;
    assert!(!found.files.is_empty());
    found.delete(|| {}).await.unwrap();
    assert!(lab.orphans().await.files.is_empty());
    assert!(folder.join("data/young.parquet").exists());
    assert_eq!(lab.places("facts").await, expected(0, 0..400));
    let tag = table
        .scan()
        .snapshot_id(tagged)
        .select(["fact_hash"])
        .build()
        .unwrap();
    let rows: Vec<_> = futures_util::TryStreamExt::try_collect(tag.to_arrow().await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        rows.iter()
            .map(arrow_array::RecordBatch::num_rows)
            .sum::<usize>(),
        600
    );
    lab.python("assert table.scan().to_arrow().num_rows == 800");

    // The sink has the table as it was before all that.
    write(&mut sink, batches(0, 400..500)).await.unwrap();
    assert_eq!(lab.places("facts").await, expected(0, 0..500));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_commit_under_way_are_no_orphans() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let catalog = Faulty::around(lab.catalog().await, "facts", [Commit::Hangs]);
    let mut sink = lab.open(catalog, Content::Facts).await.unwrap();
    let writing = write(&mut sink, batches(0, 0..50));
    let hangs = tokio::time::timeout(Duration::from_secs(3), writing).await;
    hangs.unwrap_err();
    let files = lab.files("facts");
    assert!(!files.is_empty());
    let found = lab.orphans().await;
    assert!(found.files.is_empty());
    assert!(found.young >= files.len());
    found.delete(|| {}).await.unwrap();
    assert_eq!(lab.files("facts").len(), files.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_renamed_table_are_no_orphans() {
    let lab = Lab::new().await;
    let mut sink = lab.lake().await;
    begin(&mut sink, 1).await;
    write(&mut sink, batches(0, 0..50)).await.unwrap();
    let archive = TableIdent::from_strs(["shop", "archive"]).unwrap();
    let catalog = lab.catalog().await;
    catalog.rename_table(&facts(), &archive).await.unwrap();
    // A new table is made in the folder of the renamed one.
    let mut sink = lab.lake().await;
    begin(&mut sink, 1).await;
    write(&mut sink, batches(0, 0..50)).await.unwrap();
    let lake = lab.maintenance().await;
    for (table, other) in [(facts(), "shop.archive"), (archive, "shop.facts")] {
        let found = Orphans::find(&lake, &table, &lab.config(), TimeDelta::hours(2)).await;
        let error = found.unwrap_err().to_string();
        assert!(
            error.contains(&format!("the table {other} is in")),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_expire_though_the_version_hint_fails() {
    let lab = Lab::new().await;
    let mut sink = lab.lake().await;
    begin(&mut sink, 1).await;
    for first in [0, 10] {
        write(&mut sink, batches(0, first..first + 10))
            .await
            .unwrap();
    }
    let hint = lab
        .folder
        .path()
        .join("shop/facts/metadata/version-hint.text");
    std::fs::remove_file(&hint).unwrap();
    std::fs::create_dir(&hint).unwrap();
    let lake = lab.maintenance().await;
    let table = lake.rows().await.unwrap();
    let (removed, _) = expire(lake.catalog(), &table, Utc::now(), 1).await.unwrap();
    // The commit of the first offset is one of them.
    assert_eq!(removed, 2);
    let left = lab.table("facts").await;
    assert_eq!(left.metadata().snapshots().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_days_records_and_people_are_counted() {
    let lab = Lab::new().await;
    let mut sink = lab.lake().await;
    begin(&mut sink, 1).await;
    write(&mut sink, batches(0, 0..100)).await.unwrap();
    let of = |hash: u128, user: Option<&str>, device: &str| {
        let more = json!({"user_id": user, "user_pseudo_id": device});
        fact(hash, "2026-11-25T12:00:00Z", more)
    };
    let facts = [
        of(1 << 100, Some("ana"), "phone"),
        of(2 << 100, None, "phone"),
        of(3 << 100, Some("ben"), "phone"),
        of(4 << 100, None, "tablet"),
    ];
    let value = Bytes::from(json!({ "facts": facts }).to_string());
    let last = batch(Content::Facts, 0, 100, [value]);
    write(&mut sink, vec![last]).await.unwrap();
    let table = lab.table("facts").await;
    let contents = Contents::read(&table, u64::MAX).await.unwrap();
    let rows: Vec<(String, u64)> = contents
        .days
        .iter()
        .map(|(day, files)| (day.to_string(), files.rows))
        .collect();
    let expected = [
        ("2026-11-20", 68),
        ("2026-11-21", 66),
        ("2026-11-22", 66),
        ("2026-11-25", 4),
    ];
    assert_eq!(rows, expected.map(|(day, rows)| (day.to_owned(), rows)));
    let sum = contents.sum();
    assert_eq!((sum.files, sum.small, contents.deletes.files), (4, 4, 0));

    let devices = person::devices(&table, &["ana".to_owned()]).await.unwrap();
    assert_eq!(devices, [("phone".to_owned(), 1)].into());
    let ids = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    for (users, devices, linked, expected) in [
        (&["ana"][..], &[][..], &[][..], 1),
        (&["ana"], &[], &["phone"], 2),
        (&[], &["phone"], &[], 3),
        (&["carl"], &[], &[], 0),
    ] {
        let person = Person {
            users: ids(users),
            devices: ids(devices),
            linked: ids(linked),
        };
        let days = person.count(&table).await.unwrap();
        assert_eq!(
            days.values().sum::<u64>(),
            expected,
            "{users:?} {devices:?}"
        );
    }

    let mut sink = lab.open(lab.catalog().await, Content::Raw).await.unwrap();
    begin(&mut sink, 2).await;
    for (partition, offsets) in [(0, 0..40), (1, 0..7)] {
        let values = offsets.map(|offset| Bytes::from(format!("body {offset}")));
        let records = batch(Content::Raw, partition, 0, values);
        write(&mut sink, vec![records]).await.unwrap();
    }
    let table = lab.table("raw_records").await;
    let found = Positions::read(&table, TOPIC).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[&0].rows, found[&1].rows), (40, 7));
    assert!(found[&0].gaps(40).is_empty());
    assert_eq!(found[&1].gaps(9).first(), Some(&(7..9)));
    let wanted = person::records(&table, &["key", "body"], |text| text == "body 5").await;
    let place = |partition| (TOPIC.to_owned(), partition, 5);
    assert_eq!(wanted.unwrap(), [place(0), place(1)].into());
}
