//! A topic of which one partition does not work.

use std::collections::HashSet;
use std::time::Duration;

use sqs_source::pipeline::Settings;

use crate::support::{Bench, Mood, StandIn, bodies, until};

const TIMEOUT: Duration = Duration::from_secs(1);

fn settings(bench: &Bench) -> Settings {
    Settings {
        acknowledgement_timeout: TIMEOUT,
        ..bench.settings(60)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_without_a_group_is_produced_while_a_partition_is_dead() {
    for (mood, reason) in [
        (Mood::Silent, "no acknowledgement within 1s"),
        (Mood::Unreachable, "the topic is unreachable"),
    ] {
        let bench = Bench::new().await;
        bench.send_all(bodies(300)).await;
        let topic = StandIn::with_partitions(&[mood, Mood::Acknowledge, Mood::Acknowledge]);
        let source = bench.start(&topic, settings(&bench)).await;
        until("all deleted", || bench.queue().undeleted() == 0).await;
        let expected: HashSet<String> = bodies(300).into_iter().collect();
        assert_eq!(topic.values(), expected);
        let of_dead = topic.values_of(0).len();
        assert!(of_dead < 10, "{mood:?}: {of_dead} records are duplicates");
        until("its report", || {
            let ready = source.health.ready();
            ready.is_err_and(|why| {
                let why = why.to_string();
                why.starts_with("partition stand-in-0: cannot produce: ") && why.contains(reason)
            })
        })
        .await;

        topic.set_partition(0, Mood::Acknowledge);
        let mut number = 0;
        while source.health.ready().is_err() || topic.values_of(0).len() <= of_dead {
            number += 1;
            assert!(number < 600, "the partition is not used again");
            bench.send_all([format!("later {number}")]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        until("all deleted", || bench.queue().undeleted() == 0).await;
        source.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_group_are_spread_over_all_partitions() {
    let bench = Bench::new().await;
    bench.send_all(bodies(300)).await;
    let topic = StandIn::with_partitions(&[Mood::Acknowledge; 3]);
    let source = bench.start(&topic, settings(&bench)).await;
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
    for partition in 0..3 {
        let records = topic.values_of(partition).len();
        assert!(records >= 50, "{records} records in partition {partition}");
    }
    assert_eq!(topic.records().len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_while_all_partitions_are_dead() {
    let bench = Bench::new().await;
    bench.send_all(bodies(50)).await;
    let topic = StandIn::with_partitions(&[Mood::Unreachable; 2]);
    let source = bench.start(&topic, settings(&bench)).await;
    until("all received", || bench.queue().in_flight() == 50).await;
    tokio::time::sleep(TIMEOUT * 2).await;
    assert_eq!(bench.queue().undeleted(), 50);
    topic.set_partition(1, Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(topic.records().len(), 50);
    source.stop().await;
}
