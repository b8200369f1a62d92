//! `etl rejected show`: one rejection with its payload, and the place that it is about.

use std::borrow::Cow;
use std::process::ExitCode;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use fact_model::Rejection;

use crate::{escape, place, tables};

pub async fn run(url: &str, id: i64) -> anyhow::Result<ExitCode> {
    let client = tables::connect(url).await?;
    let row = client
        .query_opt("SELECT * FROM rejected_events WHERE id = $1", &[&id])
        .await?
        .ok_or_else(|| {
            anyhow!("there is no rejected event {id}; `etl rejected list` shows which there are")
        })?;
    let text = |column: &str| -> String { row.get(column) };
    let encoding: Option<String> = row.get("raw_encoding");
    let seen: DateTime<Utc> = row.get("first_seen");
    let rejection = Rejection {
        reason: Cow::Owned(text("reason")),
        detail: Cow::Owned(text("detail")),
        at: Cow::Owned(text("at_path")),
        raw: Cow::Owned(text("raw")),
        raw_encoding: encoding.map(Cow::Owned),
    };
    let on_terminal = |text: &str| -> String { text.chars().map(escape::printable).collect() };
    println!("{} at {}", rejection.reason, on_terminal(&rejection.at));
    println!("  {}", on_terminal(&rejection.detail));
    if rejection.raw_encoding.is_none() {
        for line in place::marked(rejection.raw.as_bytes(), &rejection) {
            println!("  {line}");
        }
    }
    println!(
        "\ntopic {}, partition {}, offset {}, key {}, first seen {}\n",
        text("source_topic"),
        row.get::<_, i32>("source_partition"),
        row.get::<_, i64>("source_offset"),
        text("source_key"),
        seen.format("%Y-%m-%d %H:%M:%S UTC"),
    );
    if let Some(encoding) = &rejection.raw_encoding {
        println!("({encoding})");
    }
    println!("{}", rejection.raw);
    Ok(ExitCode::SUCCESS)
}
