//! The end of a demo: do the counts add up, how fast was it, and what do the analysts see?

use std::time::Duration;

use tokio_postgres::Client;

use crate::answers::{self, QUESTIONS};
use crate::expectation::{Expectation, Fingerprint};
use crate::tables;

/// Rows shown of an answer.
const ROWS: usize = 7;

/// Prints everything. True when the tables hold what they must, no more and no less.
pub async fn print(
    database: &Client,
    expectation: &Expectation,
    took: Duration,
) -> anyhow::Result<bool> {
    let found = tables::fingerprint(database).await?;
    let reasons = tables::rejected(database).await?;
    let rejected: u64 = reasons.iter().map(|(_, count)| count).sum();
    let expected = expectation.distinct();
    let hashes_are_right = found.hashes == expected.hashes || expectation.timeless() > 0;
    let right = (found.events, found.facts) == (expected.events, expected.facts)
        && hashes_are_right
        && rejected == expectation.rejected();

    println!("\n{}", counts(expectation, found, rejected));
    for (reason, count) in &reasons {
        println!("  rejected: {reason} × {count}");
    }
    if right {
        println!("The counts add up: every event is in the tables once.");
    } else {
        println!("THE COUNTS DO NOT ADD UP.");
    }
    print_speed(database, expectation, took).await?;
    // Autovacuum gathers statistics after a minute only. Without them the planner takes the tables
    // for empty, and joins by nested loops.
    database.batch_execute("ANALYZE").await?;
    for question in &QUESTIONS {
        println!(
            "\n{}\n{}",
            question.title,
            answers::answer(database, question, ROWS).await?
        );
    }
    Ok(right)
}

fn counts(expectation: &Expectation, found: Fingerprint, rejected: u64) -> comfy_table::Table {
    let expected = expectation.distinct();
    let mut table = answers::table();
    table.set_header(["", "sent", "in the tables", ""]);
    let mut row = |name: &str, sent: u64, found: Option<u64>| {
        let verdict = match found {
            None => "",
            Some(found) if found == sent => "✓",
            Some(_) => "✗",
        };
        let found = found.map_or(String::new(), |found| found.to_string());
        table.add_row([name.to_owned(), sent.to_string(), found, verdict.to_owned()]);
    };
    row("messages", expectation.messages(), None);
    row("events", expectation.events(), None);
    row("= distinct", expected.events, Some(found.events));
    row("+ duplicates", expectation.duplicates(), None);
    row("+ rejected", expectation.rejected(), Some(rejected));
    row("facts", expected.facts, Some(found.facts));
    let same = match expectation.timeless() {
        _ if found.hashes == expected.hashes => "the same".to_owned(),
        0 => "DIFFERENT".to_owned(),
        timeless => format!("unknown: {timeless} events have the time of their record"),
    };
    let hash = |fingerprint: Fingerprint| format!("{:08x}…", fingerprint.hashes >> 96);
    table.add_row([
        "hash of all facts".to_owned(),
        hash(expected),
        hash(found),
        same,
    ]);
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}

async fn print_speed(
    database: &Client,
    expectation: &Expectation,
    took: Duration,
) -> anyhow::Result<()> {
    let mut delays = Vec::new();
    tables::each_commit(database, |hash, committed| {
        if let Some(sent) = expectation.sent_at(&hash) {
            delays.push(committed.saturating_sub(sent));
        }
    })
    .await?;
    delays.sort_unstable();
    let seconds = took.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = expectation.events() as f64 / seconds;
    println!(
        "{} events in {seconds:.1} s: {rate:.0} events/s",
        expectation.events()
    );
    if let (Some(median), Some(last)) = (percentile(&delays, 50), percentile(&delays, 99)) {
        println!(
            "From send to table: median {} ms, 99th percentile {} ms",
            median / 1_000,
            last / 1_000
        );
    }
    Ok(())
}

fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
}
