//! Each record is in the tables once, whatever happens to a commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_common::Stop;
use iceberg::spec::MAIN_BRANCH;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use lake_sink::batch::Content;
use lake_sink::error::Error;
use lake_sink::lake::Lake;
use tokio::sync::Barrier;

use crate::faulty::{Commit, Faulty};
use crate::support::{
    Lab, TOPIC, batches, begin, context, expected, expected_rejected, open, settings, write,
};

/// Asserts that the tables have the records of partition 0 before `end`, each once.
async fn assert_once(lab: &Lab, end: i64) {
    assert_eq!(lab.places("facts").await, expected(0, 0..end));
    let rejected = lab.places("rejected_events").await;
    assert_eq!(rejected, expected_rejected(0, 0..end));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_goes_on_at_the_offset_in_the_table() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    assert_eq!(lake.offsets(), [(0, 0)].into());
    write(&mut lake, batches(0, 0..250)).await.unwrap();
    assert_eq!(lake.offsets(), [(0, 250)].into());
    let mut restarted = lab.lake().await;
    assert_eq!(restarted.offsets(), [(0, 250)].into());
    let last = restarted.last_record("shop-events", 0).unwrap();
    assert_eq!(last.to_string(), "249 message-249 sent=249");
    write(&mut restarted, batches(0, 250..400)).await.unwrap();
    assert_once(&lab, 400).await;
    let snapshot = lab.table("facts").await;
    let snapshot = snapshot.metadata().snapshot_for_ref(MAIN_BRANCH).unwrap();
    let summary = &snapshot.summary().additional_properties;
    assert_eq!(summary["etl.offset.shop-events.0"], "400");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_or_whose_answer_gets_lost_adds_its_rows_once() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let mut end = 0;
    for (table, fates) in [
        ("facts", vec![Commit::Fails, Commit::Fails]),
        ("facts", vec![Commit::LosesAnswer]),
        ("facts", vec![Commit::Fails, Commit::LosesAnswer]),
        ("rejected_events", vec![Commit::Works, Commit::LosesAnswer]),
        ("rejected_events", vec![Commit::Fails]),
    ] {
        let catalog = Faulty::around(lab.catalog().await, table, fates);
        let mut lake = lab.open(catalog, Content::Facts).await.unwrap();
        write(&mut lake, batches(0, end..end + 100)).await.unwrap();
        end += 100;
        assert_once(&lab, end).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_second_sink_adds_nothing() {
    let lab = Lab::new().await;
    let mut first = lab.lake().await;
    begin(&mut first, 1).await;
    let mut late = lab.lake().await;
    write(&mut first, batches(0, 0..200)).await.unwrap();
    let error = write(&mut late, batches(0, 0..300)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    drop(late);
    write(&mut first, batches(0, 200..300)).await.unwrap();
    assert_once(&lab, 300).await;
}

/// The records up to offset 9 have no rejected events. With some, the sinks meet at the table of
/// these, which comes first.
#[tokio::test(flavor = "multi_thread")]
async fn of_twins_that_commit_at_once_one_wins_and_the_other_notifies_nobody() {
    for (table, ends) in [("facts", [7, 9]), ("rejected_events", [40, 30])] {
        let lab = Lab::new().await;
        begin(&mut lab.lake().await, 1).await;
        let both = Arc::new(Barrier::new(2));
        let twin = async |end: i64| {
            let fates = [Commit::Meets(Arc::clone(&both))];
            let catalog = Faulty::around(lab.catalog().await, table, fates);
            let (never, _) = Stop::manual();
            let (context, _sender) = context(never);
            let notifications = context.notifications.clone();
            let settings = settings(Content::Facts);
            let lake = Lake::open(catalog, settings, TOPIC, "cluster-1", context).await;
            let mut lake = lake.unwrap();
            let before = format!("{notifications:?}");
            let written = write(&mut lake, batches(0, 0..end)).await;
            (written, format!("{notifications:?}") != before)
        };
        let [first, second] = ends;
        let (of_first, of_second) = tokio::join!(twin(first), twin(second));
        let mut winners = 0;
        for (end, (written, has_notified)) in [(first, of_first), (second, of_second)] {
            assert_eq!(has_notified, written.is_ok(), "{table}: {written:?}");
            match written {
                Ok(()) => {
                    winners += 1;
                    assert_once(&lab, end).await;
                }
                Err(error) => assert!(matches!(error, Error::Fenced { .. }), "{table}: {error}"),
            }
        }
        assert_eq!(winners, 1, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_of_different_partitions_commit_to_the_same_table() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 3).await;
    let sink = async |partition: u32| {
        let mut lake = lab.lake().await;
        for first in (0..500).step_by(100) {
            let records = batches(partition, first..first + 100);
            write(&mut lake, records).await.unwrap();
        }
    };
    tokio::join!(sink(0), sink(1), sink(2));
    let all = [0, 1, 2]
        .map(|partition| expected(partition, 0..500))
        .concat();
    assert_eq!(lab.places("facts").await, all);
    let all = [0, 1, 2].map(|partition| expected_rejected(partition, 0..500));
    assert_eq!(lab.places("rejected_events").await, all.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_commits_to_both_tables_is_made_up_for() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let catalog = Faulty::around(lab.catalog().await, "facts", [Commit::Hangs]);
    let mut lake = lab.open(catalog, Content::Facts).await.unwrap();
    let writing = write(&mut lake, batches(0, 0..150));
    let killed = tokio::time::timeout(Duration::from_secs(3), writing).await;
    killed.unwrap_err();
    assert_eq!(
        lab.places("rejected_events").await,
        expected_rejected(0, 0..150)
    );
    assert!(lab.places("facts").await.is_empty());
    // The batches after the restart may be other ones.
    let mut lake = lab.lake().await;
    assert_eq!(lake.offsets(), [(0, 0)].into());
    write(&mut lake, batches(0, 0..120)).await.unwrap();
    write(&mut lake, batches(0, 120..230)).await.unwrap();
    assert_once(&lab, 230).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_killed_at_any_moment_adds_each_record_once() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let mut kills = 0;
    // As long as a write takes on this machine.
    let mut taken = Duration::from_millis(400);
    loop {
        let mut lake = lab.lake().await;
        let from = lake.offsets()[&0];
        let end = (from + 150).min(1500);
        if from == end {
            break;
        }
        let writing = write(&mut lake, batches(0, from..end));
        let time = taken.mul_f64(rand::random_range(0.0..1.5));
        let began = Instant::now();
        match tokio::time::timeout(time, writing).await {
            Ok(_) => taken = began.elapsed(),
            Err(_) => kills += 1,
        }
    }
    assert!(kills > 0);
    assert_once(&lab, 1500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_snapshots_and_commits_of_others_keep_the_offsets() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    write(&mut lake, batches(0, 0..100)).await.unwrap();
    write(&mut lake, batches(0, 100..200)).await.unwrap();
    // Another program's commit: a snapshot without our offsets, then all others expire.
    let catalog = lab.catalog().await;
    let table = lab.table("facts").await;
    let transaction = Transaction::new(&table);
    let note = [("by".to_owned(), "another".to_owned())].into();
    let append = transaction.fast_append().set_snapshot_properties(note);
    let transaction = append.apply(transaction).unwrap();
    let table = transaction.commit(catalog.as_ref()).await.unwrap();
    let transaction = Transaction::new(&table);
    let expire = transaction
        .expire_snapshots()
        .retain_last(1)
        .expire_older_than_ms(i64::MAX);
    let transaction = expire.apply(transaction).unwrap();
    let table = transaction.commit(catalog.as_ref()).await.unwrap();
    assert_eq!(table.metadata().snapshots().count(), 1);
    // The sink goes on, and so does one that starts now.
    write(&mut lake, batches(0, 200..300)).await.unwrap();
    let mut restarted = lab.lake().await;
    assert_eq!(restarted.offsets(), [(0, 300)].into());
    write(&mut restarted, batches(0, 300..350)).await.unwrap();
    assert_once(&lab, 350).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_commit_that_goes_on_failing() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let fates = std::iter::repeat_n(Commit::Fails, 100);
    let catalog = Faulty::around(lab.catalog().await, "facts", fates);
    let (stopped, stop) = Stop::manual();
    let mut lake = open(catalog, settings(Content::Facts), stopped)
        .await
        .unwrap();
    stop();
    let error = write(&mut lake, batches(0, 0..10)).await.unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sink_keeps_the_files_of_a_commit_whose_answer_never_came() {
    let lab = Lab::new().await;
    begin(&mut lab.lake().await, 1).await;
    let catalog = Faulty::around(lab.catalog().await, "facts", [Commit::IsTheLast]);
    let (stopped, stop) = Stop::manual();
    let mut lake = open(catalog, settings(Content::Facts), stopped)
        .await
        .unwrap();
    stop();
    let error = write(&mut lake, batches(0, 0..10)).await.unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
    drop(lake);
    assert_once(&lab, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offsets_of_another_cluster_are_refused() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    let catalog = lab.catalog().await;
    let (never, _) = Stop::manual();
    let settings = settings(Content::Facts);
    let other = lake_sink::lake::Lake::open(
        catalog,
        settings,
        "shop-events",
        "cluster-2",
        context(never).0,
    )
    .await;
    let error = other.err().unwrap();
    assert!(matches!(error, Error::OtherCluster { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_that_are_no_envelopes_are_not_written() {
    let lab = Lab::new().await;
    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    let body = || bytes::Bytes::from_static(b"{\"event_name\": \"view_item\"}");
    let few = (0..10).map(|_| body());
    let few = crate::support::batch(Content::Facts, 0, 0, few);
    write(&mut lake, vec![few]).await.unwrap();
    assert_eq!(lab.places("rejected_events").await.len(), 10);
    let many = (0..1001).map(|_| body());
    let many = crate::support::batch(Content::Facts, 0, 10, many);
    let error = write(&mut lake, vec![many]).await.unwrap_err();
    assert!(matches!(error, Error::NotEnvelopes { .. }), "{error}");
    assert_eq!(lab.places("rejected_events").await.len(), 10);
}
