//! `etl export`: prints all that the tables have about somebody, as JSON lines.

use std::io::Write;
use std::process::ExitCode;

use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::Client;

use crate::arguments::Database;
use crate::people::{Asked, FACTS, Subject};
use crate::printer::{self, is_broken_pipe};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    database: Database,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.database.connect().await?;
    let (subject, links) = args.asked.find(&client).await?;
    args.asked.print_links(&links);
    let mut out = printer::buffered_json();
    match print(&client, &subject, &mut out).await {
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn print(client: &Client, subject: &Subject, out: &mut impl Write) -> anyhow::Result<()> {
    let facts = format!(
        "SELECT json_build_object('table', 'fact_events', 'row', to_jsonb(f) \
                || jsonb_build_object('product', to_jsonb(p), 'list', to_jsonb(l)))::text \
         FROM (SELECT * FROM fact_events WHERE {FACTS}) f \
         LEFT JOIN dim_product p USING (product_key) LEFT JOIN dim_list l USING (list_key)"
    );
    let params = [&subject.users, &subject.devices, &subject.linked];
    let rows = client.query_raw(&facts, params).await?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        writeln!(out, "{}", row.get::<_, &str>(0))?;
    }

    // One at a time, since a payload can have megabytes.
    let rejected = "SELECT json_build_object('table', 'rejected_events', 'row', to_jsonb(r))::text \
                    FROM rejected_events r WHERE r.id = $1";
    for id in subject.rejected(client).await? {
        if let Some(row) = client.query_opt(rejected, &[&id]).await? {
            writeln!(out, "{}", row.get::<_, &str>(0))?;
        }
    }

    for aggregate in subject.aggregates(client).await? {
        let query = format!(
            "SELECT json_build_object('table', $1::text, 'row', to_jsonb(t))::text FROM {} t \
             WHERE {}",
            aggregate.table, aggregate.condition
        );
        let rows = client.query_raw(&query, [&aggregate.table]).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            writeln!(out, "{}", row.get::<_, &str>(0))?;
        }
    }
    out.flush()?;
    Ok(())
}
