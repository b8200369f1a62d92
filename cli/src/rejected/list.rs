//! `etl rejected list`: how many there are of each reason, and the newest of each.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use postgres_sink::retry::Selection;

use crate::{answers, tables};

/// How much of a payload and of a sentence the table shows.
const SHOWN: i32 = 60;

pub async fn run(url: &str, selection: &Selection) -> anyhow::Result<ExitCode> {
    let client = tables::connect(url).await?;
    let query = format!(
        "SELECT reason, count, earliest, latest, id, left(detail, $5), left(raw, $5) \
         FROM (SELECT reason, count(*), min(first_seen) AS earliest, max(first_seen) AS latest, max(id) AS id \
               FROM rejected_events WHERE {} GROUP BY reason) AS groups \
         JOIN rejected_events USING (id, reason) ORDER BY count DESC, reason",
        Selection::SQL
    );
    let mut params = selection.params().to_vec();
    params.push(&SHOWN);
    let rows = client.query(&query, &params).await?;
    if rows.is_empty() {
        println!("nothing is rejected");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = answers::table();
    table.set_header([
        "rejected", "reason", "first", "last", "newest", "detail", "payload",
    ]);
    for row in &rows {
        let time = |column: usize| {
            let time: DateTime<Utc> = row.get(column);
            time.format("%Y-%m-%d %H:%M").to_string()
        };
        let line = |column: usize| row.get::<_, String>(column).replace(char::is_control, " ");
        table.add_row([
            row.get::<_, i64>(1).to_string(),
            line(0),
            time(2),
            time(3),
            row.get::<_, i64>(4).to_string(),
            line(5),
            line(6),
        ]);
    }
    answers::align_numbers(&mut table);
    println!("{table}");
    println!("`etl rejected show NUMBER` shows one of them (the column `newest` has numbers)");
    Ok(ExitCode::SUCCESS)
}
