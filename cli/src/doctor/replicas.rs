//! The replicas of the topic's partitions: each follows its leader, or doctor says which does not.

use std::collections::HashMap;
use std::time::Duration;

use connector_common::chain;
use fluvio::Fluvio;
use fluvio::metadata::partition::{PartitionSpec, PartitionStatus, ReplicaStatus};

use super::report::Report;

const TOPIC: &str = "topic";
const CHECK: &str = "replicas";
/// The time between two readings: a follower that works has copied records by then.
const INTERVAL: Duration = Duration::from_secs(3);
const FIX: &str = "start the follower's SPU (fluvio cluster spu list); if it runs, see \"Replicas \
                   differ\" in deploy/RUNBOOK.md";

/// Checks the replicas of `topic`. Reports nothing about a topic without any.
pub async fn check(report: &mut Report, client: &Fluvio, topic: &str) {
    let mut before = None;
    loop {
        let found = match partitions(client, topic).await {
            Ok(found) => found,
            Err(error) => {
                let fix = "see the logs of the cluster's controller (SC)";
                let found = format!(
                    "the cluster does not list its partitions: {}",
                    chain(error.as_ref())
                );
                return report.fail(TOPIC, CHECK, found, fix);
            }
        };
        if found.values().all(|status| status.replicas.is_empty()) {
            return;
        }
        let behind = found.values().any(|status| !is_copied(status));
        if behind && before.is_none() {
            before = Some(found);
            tokio::time::sleep(INTERVAL).await;
            continue;
        }
        return compare(report, &before.unwrap_or_default(), &found);
    }
}

async fn partitions(
    client: &Fluvio,
    topic: &str,
) -> anyhow::Result<HashMap<String, PartitionStatus>> {
    let all = client.admin().await.all::<PartitionSpec>().await?;
    let of_topic = all.into_iter().filter(|found| {
        let number = found.name.strip_prefix(topic);
        let number = number.and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    Ok(of_topic.map(|found| (found.name, found.status)).collect())
}

fn is_copied(status: &PartitionStatus) -> bool {
    let mut replicas = status.replicas.iter();
    replicas.all(|replica| replica.leo == status.leader.leo)
}

/// Reports the followers that can't follow: ahead of their leader, or behind it without having
/// moved since `before`.
fn compare(
    report: &mut Report,
    before: &HashMap<String, PartitionStatus>,
    now: &HashMap<String, PartitionStatus>,
) {
    let mut names: Vec<_> = now.keys().collect();
    names.sort_unstable();
    let mut works = true;
    for name in names {
        let status = &now[name];
        let earlier = |spu| {
            let replicas = before.get(name).map(|status| &status.replicas);
            replicas.and_then(|all| all.iter().find(|replica| replica.spu == spu))
        };
        for replica in &status.replicas {
            if let Some(found) = fault(&status.leader, replica, earlier(replica.spu)) {
                report.fail(TOPIC, CHECK, format!("`{name}`: {found}"), FIX);
                works = false;
            }
        }
    }
    if works {
        report.ok(TOPIC, CHECK, "all followers copy their leaders");
    }
}

fn fault(
    leader: &ReplicaStatus,
    replica: &ReplicaStatus,
    earlier: Option<&ReplicaStatus>,
) -> Option<String> {
    let stands_still = earlier.is_some_and(|earlier| earlier.leo == replica.leo);
    let (spu, has) = (replica.spu, replica.leo.max(0));
    if replica.leo > leader.leo {
        Some(format!(
            "SPU {spu} has {has} records and its leader, SPU {}, only {}: nothing is acknowledged \
             until they are equal",
            leader.spu, leader.leo
        ))
    } else if replica.leo < leader.leo && stands_still {
        Some(format!(
            "SPU {spu} has {has} of {} records and does not copy more: nothing is acknowledged \
             with `isolation: read-committed`, and one failure loses the rest otherwise",
            leader.leo
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(leader: i64, follower: i64) -> HashMap<String, PartitionStatus> {
        let status = PartitionStatus {
            leader: ReplicaStatus::new(5001, follower.min(leader), leader),
            replicas: vec![ReplicaStatus::new(5002, follower, follower)],
            ..PartitionStatus::default()
        };
        HashMap::from([("events-0".to_owned(), status)])
    }

    #[test]
    fn a_follower_that_stands_still_or_is_ahead_is_reported_and_one_that_copies_is_not() {
        let text = |before, now| {
            let mut report = Report::default();
            compare(&mut report, &before, &now);
            report.to_string()
        };
        let (still, copies) = (partition(9, 4), partition(9, 6));
        let found = text(still.clone(), still.clone());
        assert!(found.starts_with("fail  topic replicas: `events-0`: SPU 5002 has 4 of 9"));
        assert!(found.contains("Replicas differ"), "{found}");
        assert!(text(still, copies).starts_with("ok "));
        let ahead = text(HashMap::new(), partition(4, 9));
        assert!(ahead.contains("SPU 5002 has 9 records and its leader, SPU 5001, only 4"));
    }
}
