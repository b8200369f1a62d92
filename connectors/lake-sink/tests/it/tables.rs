//! Tables that exist already, and the columns and files of those that the sink makes.

use bytes::Bytes;
use iceberg::TableIdent;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Transform, Type};
use iceberg::transaction::{AddColumn, ApplyTransactionAction, Transaction};
use lake_sink::batch::Content;
use lake_sink::error::Error;
use lake_sink::maintenance::contents::Contents;
use lake_sink::offsets;
use lake_sink::schema::{FACTS, namespace};
use serde_json::json;

use crate::support::{
    Lab, TOPIC, batch, batches, begin, envelope, expected, expected_rejected, fact, settings, write,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_table_is_partitioned_by_day_and_sorted_and_its_ids_are_the_order_of_columns() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let table = lab.table("facts").await;
    let schema = table.metadata().current_schema();
    for (id, column) in (1..).zip(FACTS.columns) {
        let field = schema.field_by_name(column.name).unwrap();
        assert_eq!(
            (field.id, field.required),
            (id, column.is_required),
            "{}",
            column.name
        );
    }
    let partitions = table.metadata().default_partition_spec();
    assert_eq!(partitions.fields()[0].transform, Transform::Day);
    let order = &table.metadata().default_sort_order().fields;
    let sorted: Vec<i32> = order.iter().map(|field| field.source_id).collect();
    assert_eq!(sorted, [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_table_gets_the_missing_columns_and_keeps_its_rows() {
    let lab = Lab::new().await;
    let catalog = lab.catalog().await;
    let shop = namespace("shop").unwrap();
    catalog.create_namespace(&shop, [].into()).await.unwrap();
    let creation = FACTS.creation("facts", [].into()).unwrap();
    catalog.create_table(&shop, creation).await.unwrap();
    let table = lab.table("facts").await;
    // Another program adds a column of its own and removes one of ours.
    let transaction = Transaction::new(&table);
    let note = AddColumn::optional("note", Type::Primitive(PrimitiveType::String));
    let update = transaction
        .update_schema()
        .add_column(note)
        .delete_column("extra");
    let transaction = update.apply(transaction).unwrap();
    transaction.commit(catalog.as_ref()).await.unwrap();
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    write(&mut lake, batches(0, 0..50)).await.unwrap();
    assert_eq!(lab.places("facts").await, expected(0, 0..50));
    let schema = lab.table("facts").await.metadata().current_schema().clone();
    let extra = schema.field_by_name("extra").unwrap();
    assert!(
        extra.id > 53,
        "a new id, since the removed column's is used: {}",
        extra.id
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_sink_cannot_write_is_refused_with_each_reason() {
    let lab = Lab::new().await;
    let catalog = lab.catalog().await;
    let shop = namespace("shop").unwrap();
    catalog.create_namespace(&shop, [].into()).await.unwrap();
    let text = || Type::Primitive(PrimitiveType::String);
    let fields = [
        NestedField::required(1, "event_time", text()).into(),
        NestedField::required(2, "event_name", text()).into(),
        NestedField::required(3, "note", text()).into(),
    ];
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let creation = iceberg::TableCreation::builder()
        .name("facts".to_owned())
        .schema(schema)
        .build();
    catalog.create_table(&shop, creation).await.unwrap();
    let error = lab.open(catalog, Content::Facts).await.err().unwrap();
    assert!(matches!(error, Error::Incompatible { .. }) && error.is_fatal());
    let error = error.to_string();
    for reason in [
        "event_time is string and must be timestamptz",
        "the required column fact_hash is missing",
        "note is required and the sink does not fill it",
    ] {
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_good_for_a_table_that_gets_a_column_meanwhile() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    let catalog = lab.catalog().await;
    let transaction = Transaction::new(&lab.table("facts").await);
    let note = AddColumn::optional("note", Type::Primitive(PrimitiveType::String));
    let update = transaction.update_schema().add_column(note);
    let transaction = update.apply(transaction).unwrap();
    transaction.commit(catalog.as_ref()).await.unwrap();
    // Files of the older columns are good ones; they lack the new column.
    write(&mut lake, batches(0, 0..20)).await.unwrap();
    assert_eq!(lab.places("facts").await, expected(0, 0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_dropped_meanwhile_is_added_by_the_next_round() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    write(&mut lake, batches(0, 0..50)).await.unwrap();
    lab.drop_column("extra").await;
    let error = write(&mut lake, batches(0, 50..90)).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }) && !error.is_fatal());
    assert_eq!(lab.places("facts").await, expected(0, 0..50));
    let mut lake = lab.lake().await;
    assert_eq!(lake.offsets(), [(0, 50)].into());
    write(&mut lake, batches(0, 50..90)).await.unwrap();
    assert_eq!(lab.places("facts").await, expected(0, 0..90));
    let rejected = lab.places("rejected_events").await;
    assert_eq!(rejected, expected_rejected(0, 0..90));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_column_that_is_dropped_meanwhile_ends_the_sink_with_the_reason() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    write(&mut lake, batches(0, 0..50)).await.unwrap();
    lab.drop_column("fact_hash").await;
    let error = write(&mut lake, batches(0, 50..90)).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    let error = lab.open(lab.catalog().await, Content::Facts).await.err();
    let error = error.unwrap();
    assert!(matches!(error, Error::Incompatible { .. }) && error.is_fatal());
    let reason = "the required column fact_hash is missing";
    assert!(error.to_string().contains(reason), "{error}");
    let table = lab.table("facts").await;
    assert_eq!(offsets::committed(&table, TOPIC), [(0, 50)].into());
    assert_eq!(Contents::read(&table, 0).await.unwrap().sum().rows, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_days_and_a_small_buffer_make_sorted_files_of_one_day_each() {
    let lab = Lab::new().await;
    let small = lake_sink::lake::Settings {
        max_buffer: 20_000,
        ..settings(Content::Facts)
    };
    let (never, _) = connector_common::Stop::manual();
    let mut lake = crate::support::open(lab.catalog().await, small, never)
        .await
        .unwrap();
    begin(&mut lake, 1).await;
    let day = |number: u128| {
        format!(
            "2026-{:02}-{:02}T12:00:00Z",
            1 + number % 6,
            1 + number % 20
        )
    };
    let values = (0..600_u128).map(|number| {
        let facts = [fact(number, &day(number), json!({}))];
        Bytes::from(json!({ "facts": facts }).to_string())
    });
    write(&mut lake, vec![batch(Content::Facts, 0, 0, values)])
        .await
        .unwrap();
    assert_eq!(lab.places("facts").await.len(), 600);
    let folders: std::collections::BTreeSet<String> = lab
        .files("facts")
        .iter()
        .map(|file| file.split("event_time_day=").nth(1).unwrap()[..10].to_owned())
        .collect();
    assert_eq!(folders.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_records_are_as_they_are_in_the_topic() {
    let lab = Lab::new().await;
    let mut lake = lab.open(lab.catalog().await, Content::Raw).await.unwrap();
    begin(&mut lake, 1).await;
    let values = [envelope(0, 1), Bytes::from_static(b"\xff\0"), Bytes::new()];
    write(&mut lake, vec![batch(Content::Raw, 0, 0, values)])
        .await
        .unwrap();
    assert_eq!(lake.offsets(), [(0, 3)].into());
    let files = lab.files("raw_records");
    assert_eq!(files.len(), 1, "{files:?}");
    let catalog = lab.catalog().await;
    let rejected = TableIdent::from_strs(["shop", "rejected_events"]).unwrap();
    assert!(!catalog.table_exists(&rejected).await.unwrap());
}
