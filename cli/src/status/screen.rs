//! A reading as a screen of text, with the most important partitions, reasons and months.

use super::database::Tables;
#[cfg(feature = "lake")]
use super::lake::LakeState;
use super::reading::{Connector, Kind, Part, Queue, Reading};
use super::sinks::{PartitionState, Sink, TopicState};
use crate::display::{self, Table, age, counted, size};

/// Partitions shown of a sink, those with the largest lag.
const MAX_PARTITIONS: usize = 12;
/// Reasons of rejections shown, the most frequent ones.
const MAX_REASONS: usize = 5;
/// Months shown, the newest ones.
const MAX_MONTHS: usize = 4;
/// Aggregates may be this far behind: a sink refreshes them every ten seconds.
const STALE_SECONDS: u64 = 60;

/// The screen, without a line end after it.
pub fn draw(reading: &Reading) -> String {
    let mut blocks = vec![
        format!("{}", reading.at.format("%Y-%m-%d %H:%M:%S UTC")),
        summary(reading).to_string(),
    ];
    if !reading.sinks.is_empty() {
        blocks.push(sinks(&reading.sinks).to_string());
    }
    #[cfg(feature = "lake")]
    if let Some(Part::Reached(lake)) = &reading.lake
        && !lake.partitions.is_empty()
    {
        blocks.push(lake_partitions(lake).to_string());
    }
    if let Some(tables) = reading.tables.reached() {
        if !tables.rejected.is_empty() {
            blocks.push(rejected(tables).to_string());
        }
        blocks.push(months(tables).to_string());
    }
    blocks.join("\n")
}

fn summary(reading: &Reading) -> Table {
    let mut table = display::table();
    table.add_row(["queue".to_owned(), part(&reading.queue, queue)]);
    for one in &reading.connectors {
        table.add_row([name(one.kind).to_owned(), connector(one)]);
    }
    table.add_row(["topic".to_owned(), part(&reading.topic, topic)]);
    table.add_row([
        "tables".to_owned(),
        part(&reading.tables, |tables| contents(tables, &reading.sinks)),
    ]);
    if reading.topic.reached().is_some() && reading.tables.reached().is_some() {
        table.add_row(["lag".to_owned(), lag(&reading.sinks)]);
    }
    #[cfg(feature = "lake")]
    if let Some(lake) = &reading.lake {
        table.add_row(["lake".to_owned(), part(lake, lake_contents)]);
    }
    table
}

fn part<T>(part: &Part<T>, shown: impl FnOnce(&T) -> String) -> String {
    match part {
        Part::Reached(part) => shown(part),
        Part::Unreachable { error } => error.clone(),
    }
}

fn queue(queue: &Queue) -> String {
    let number =
        |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    format!(
        "{} waiting, {} in flight, {} delayed",
        number(queue.visible),
        number(queue.in_flight),
        number(queue.delayed)
    )
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Source => "source",
        Kind::Sink => "sink",
    }
}

fn connector(one: &Connector) -> String {
    if let Some(error) = &one.error {
        return error.clone();
    }
    let mut lines = if one.ready == Some(true) {
        vec![format!("ready, at {}", one.address)]
    } else {
        let mut lines = vec![format!("NOT READY, at {}", one.address)];
        lines.extend(one.troubles.iter().cloned());
        lines
    };
    if let Some(messages) = one.messages_in_flight {
        let oldest = one.oldest_in_flight_seconds.filter(|_| messages > 0);
        let oldest = oldest.map(|seconds| format!(", the oldest for {}", age(seconds as f64)));
        lines.push(format!(
            "{} in flight{}",
            counted(messages, "message"),
            oldest.unwrap_or_default()
        ));
    }
    if one.messages_stay == Some(true) {
        lines.push(format!(
            "messages stay in the queue (delete-after: never), {} remembered as produced; \
             each receive counts towards a redrive policy",
            one.messages_remembered.unwrap_or_default()
        ));
    }
    if let Some(conflicts) = one.conflicts.filter(|conflicts| *conflicts > 0) {
        lines.push(format!(
            "{} came again with the event id of a stored one and other content",
            counted(conflicts, "fact")
        ));
    }
    for (rate, what) in [
        (one.records_per_second, "records"),
        (one.facts_per_second, "new facts"),
    ] {
        lines.extend(rate.map(|rate| format!("{rate:.0} {what}/s")));
    }
    lines.join("\n")
}

fn topic(topic: &TopicState) -> String {
    let partitions = counted(topic.partitions as u64, "partition");
    let rate = topic
        .records_per_second
        .map(|rate| format!(", {rate:.0}/s"));
    format!(
        "{}: {} in {partitions}{}",
        topic.name,
        counted(topic.records.unsigned_abs(), "record"),
        rate.unwrap_or_default()
    )
}

fn contents(tables: &Tables, sinks: &[Sink]) -> String {
    let committed: Vec<String> = sinks
        .iter()
        .map(|sink| match sinks {
            [_] => format!("{} committed", records(sink.committed_records)),
            _ => format!(
                "{} committed by {}",
                records(sink.committed_records),
                sink.name
            ),
        })
        .collect();
    let committed = if committed.is_empty() {
        "0 records committed: no sink has read the topic yet".to_owned()
    } else {
        committed.join("\n")
    };
    let facts = match tables.events {
        Some(events) => format!(
            "{}, {}",
            counted(events.unsigned_abs(), "event"),
            counted(tables.facts.unsigned_abs(), "fact")
        ),
        None => format!("about {} facts", tables.facts),
    };
    format!(
        "{committed}\n{facts}, {} in the database\n{}",
        size(tables.database_bytes),
        aggregates(tables)
    )
}

fn aggregates(tables: &Tables) -> String {
    let open = [
        (tables.aggregates_open_hours, "hour"),
        (tables.aggregates_open_days, "day"),
    ];
    let open: Vec<String> = open
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| counted(count.into(), unit))
        .collect();
    let open = open.join(" and ");
    match tables.aggregates_age_seconds {
        0..=STALE_SECONDS if open.is_empty() => "aggregates up to date".to_owned(),
        0..=STALE_SECONDS => {
            format!("aggregates: {open} open; queries compute them from the facts")
        }
        seconds => format!("AGGREGATES {} BEHIND: {open} open", age(seconds as f64)),
    }
}

/// A lag of records, of which the oldest is so many seconds old.
fn waiting(records: Option<i64>, seconds: Option<f64>) -> Option<String> {
    let records = records?;
    let oldest = seconds.filter(|_| records > 0);
    let oldest = oldest.map(|seconds| format!(", the oldest produced {} ago", age(seconds)));
    let records = self::records(records);
    Some(format!("{records}{}", oldest.unwrap_or_default()))
}

fn records(count: i64) -> String {
    counted(count.unsigned_abs(), "record")
}

fn lag(sinks: &[Sink]) -> String {
    let one = |sink: &Sink| waiting(sink.lag_records, sink.lag_seconds);
    let lags: Vec<String> = sinks
        .iter()
        .filter_map(|sink| match sinks {
            [_] => one(sink),
            _ => Some(format!("{}: {}", sink.name, one(sink)?)),
        })
        .collect();
    if lags.is_empty() {
        "unknown".to_owned()
    } else {
        lags.join("\n")
    }
}

#[cfg(feature = "lake")]
fn lake_contents(lake: &LakeState) -> String {
    let tables = lake.tables.iter().map(|table| {
        let newest = table.newest_snapshot_seconds.map(age);
        match newest {
            Some(newest) => format!("{}: newest snapshot {newest} ago", table.name),
            None => format!("{}: no snapshot yet", table.name),
        }
    });
    let lag = waiting(lake.lag_records, lake.lag_seconds);
    let lag = lag.unwrap_or_else(|| "unknown".to_owned());
    let lines: Vec<String> = tables.chain([format!("lag: {lag}")]).collect();
    lines.join("\n")
}

#[cfg(feature = "lake")]
fn lake_partitions(lake: &LakeState) -> Table {
    let mut table = display::table();
    table.set_header(["lake", "topic ends", "committed", "lag", "oldest"]);
    let mut shown: Vec<_> = lake.partitions.iter().collect();
    shown.sort_by_key(|one| std::cmp::Reverse(one.lag_records));
    let hidden = shown.split_off(shown.len().min(MAX_PARTITIONS));
    shown.sort_by_key(|one| one.partition);
    for one in shown {
        let oldest = one.lag_seconds.filter(|_| one.lag_records != Some(0));
        table.add_row([
            format!("partition {}", one.partition),
            number(one.topic_end),
            one.next_offset.to_string(),
            number(one.lag_records),
            oldest.map(age).unwrap_or_default(),
        ]);
    }
    if !hidden.is_empty() {
        let lag: i64 = hidden.iter().filter_map(|one| one.lag_records).sum();
        let name = format!("{} more", hidden.len());
        table.add_row([
            name,
            String::new(),
            String::new(),
            lag.to_string(),
            String::new(),
        ]);
    }
    table
}

/// A number that may be unknown.
fn number(number: Option<i64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn sinks(sinks: &[Sink]) -> Table {
    let mut table = display::table();
    table.set_header([
        "sink",
        "partition",
        "topic ends",
        "committed",
        "lag",
        "oldest",
        "last commit",
        "records/s",
        "written by",
    ]);
    for sink in sinks {
        let mut shown: Vec<&PartitionState> = sink.partitions.iter().collect();
        // The partitions with the largest lag matter most.
        shown.sort_by_key(|one| std::cmp::Reverse(one.lag_records));
        let hidden = shown.split_off(shown.len().min(MAX_PARTITIONS));
        shown.sort_by_key(|one| one.partition);
        for one in shown {
            table.add_row(row(&sink.name, one));
        }
        if !hidden.is_empty() {
            let lag: i64 = hidden.iter().filter_map(|one| one.lag_records).sum();
            let unwritten = hidden.iter().filter(|one| one.writer.is_none()).count();
            let by = match unwritten {
                0 => String::new(),
                some => format!("{some} unassigned"),
            };
            table.add_row([
                sink.name.clone(),
                format!("{} more", hidden.len()),
                String::new(),
                String::new(),
                lag.to_string(),
                String::new(),
                String::new(),
                String::new(),
                by,
            ]);
        }
    }
    table
}

fn row(sink: &str, one: &PartitionState) -> [String; 9] {
    [
        sink.to_owned(),
        one.partition.to_string(),
        number(one.topic_end),
        one.next_offset.to_string(),
        number(one.lag_records),
        one.lag_seconds
            .filter(|_| one.lag_records != Some(0))
            .map(age)
            .unwrap_or_default(),
        format!("{} ago", age(one.seconds_since_commit)),
        one.records_per_second
            .map(|rate| format!("{rate:.0}"))
            .unwrap_or_default(),
        one.writer
            .as_deref()
            .map_or("NONE", |writer| {
                writer.split(", connected").next().unwrap_or(writer)
            })
            .to_owned(),
    ]
}

fn rejected(tables: &Tables) -> Table {
    let mut table = display::table();
    table.set_header(["rejected", "last 24 h", "all"]);
    let add = |table: &mut Table, name: String, last: i64, total: i64| {
        table.add_row([name, last.to_string(), total.to_string()]);
    };
    for one in tables.rejected.iter().take(MAX_REASONS) {
        add(&mut table, one.reason.clone(), one.last_24_hours, one.total);
    }
    let others = tables.rejected.get(MAX_REASONS..).unwrap_or_default();
    if !others.is_empty() {
        let last = others.iter().map(|one| one.last_24_hours).sum();
        let total = others.iter().map(|one| one.total).sum();
        add(
            &mut table,
            counted(others.len() as u64, "other reason"),
            last,
            total,
        );
    }
    display::align_numbers(&mut table);
    table
}

fn months(tables: &Tables) -> Table {
    let mut table = display::table();
    table.set_header(["facts in", "about", "size"]);
    let older = tables.months.len().saturating_sub(MAX_MONTHS + 1);
    let (older, shown) = tables.months.split_at_checked(older).unwrap_or_default();
    if !older.is_empty() {
        table.add_row([
            format!("{} before", counted(older.len() as u64, "month")),
            older
                .iter()
                .map(|month| month.facts_estimated)
                .sum::<i64>()
                .to_string(),
            size(older.iter().map(|month| month.bytes).sum()),
        ]);
    }
    for month in shown {
        let name = match month.since {
            Some(since) => since.format("%Y-%m").to_string(),
            None => "other months".to_owned(),
        };
        // The server has no estimate before its first analysis of a table.
        let facts = match month.facts_estimated {
            0 if !month.is_empty => "?".to_owned(),
            facts => facts.to_string(),
        };
        table.add_row([name, facts, size(month.bytes)]);
    }
    display::align_numbers(&mut table);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::database::Month;

    fn tables(months: Vec<Month>) -> Tables {
        Tables {
            database_bytes: 1 << 20,
            facts: 1,
            facts_are_estimated: false,
            events: Some(1),
            aggregates_age_seconds: 0,
            aggregates_open_hours: 0,
            aggregates_open_days: 0,
            rejected: Vec::new(),
            months,
        }
    }

    #[test]
    fn open_hours_and_days_are_named() {
        let mut tables = tables(Vec::new());
        assert_eq!(aggregates(&tables), "aggregates up to date");
        tables.aggregates_open_hours = 1;
        tables.aggregates_open_days = 8;
        assert_eq!(
            aggregates(&tables),
            "aggregates: 1 hour and 8 days open; queries compute them from the facts"
        );
        tables.aggregates_age_seconds = 3_600;
        assert_eq!(
            aggregates(&tables),
            "AGGREGATES 60 min BEHIND: 1 hour and 8 days open"
        );
    }

    #[test]
    fn an_empty_month_has_no_facts_and_one_without_an_estimate_is_unknown() {
        let month = |name: &str, is_empty| Month {
            name: name.to_owned(),
            since: None,
            until: None,
            facts_estimated: 0,
            is_empty,
            bytes: 0,
        };
        let shown = |is_empty| months(&tables(vec![month("m", is_empty)])).to_string();
        assert!(shown(true).contains(" 0 ") && !shown(true).contains('?'));
        assert!(shown(false).contains(" ? "));
    }

    #[test]
    fn many_partitions_are_shown_by_their_lag() {
        let partition = |partition| PartitionState {
            partition,
            topic_end: Some(100),
            next_offset: 100 - i64::from(partition),
            lag_records: Some(i64::from(partition)),
            lag_seconds: Some(1.0),
            seconds_since_commit: 1.0,
            records_per_second: None,
            writer: (partition > 0).then(|| "a writer".to_owned()),
        };
        let shown = sinks(&[Sink {
            name: "s".to_owned(),
            committed_records: 0,
            lag_records: None,
            lag_seconds: None,
            records_per_second: None,
            partitions: (0..15).map(partition).collect(),
        }])
        .to_string();
        assert_eq!(
            shown
                .lines()
                .filter(|line| line.contains("a writer"))
                .count(),
            12
        );
        assert!(
            shown.contains("3 more") && shown.contains("1 unassigned"),
            "{shown}"
        );
    }
}
