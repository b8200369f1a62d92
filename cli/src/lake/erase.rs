//! `etl lake erase`: counts somebody's rows, and writes the statements that delete them.

use std::process::ExitCode;

use anyhow::ensure;
use lake_sink::batch::Content;
use lake_sink::maintenance::person::{self, Person};

use crate::display::counted;
use crate::lake::Opened;
use crate::lake::statements::{Condition, deletion};
use crate::people::{Asked, Ids, Link};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
}

pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let (users, devices) = args.asked.ids()?;
    let config = &opened.connector.config;
    let mut person = Person {
        users: users.to_vec(),
        devices: devices.to_vec(),
        linked: Vec::new(),
    };
    let mut found_any = false;
    for (id, _) in opened.lake.tables() {
        let table = opened.lake.load(id).await?;
        let is_facts = config.content == Content::Facts && id.name() == config.table();
        let (rows, condition) = if is_facts {
            let links = person::devices(&table, users).await?;
            let links = links
                .into_iter()
                .filter(|(device, _)| !devices.contains(device));
            let links = links.map(|(user_pseudo_id, others)| Link {
                user_pseudo_id,
                other_users: i64::try_from(others).unwrap_or(i64::MAX),
            });
            let links: Vec<Link> = links.collect();
            args.asked.print_links(&links);
            if args.asked.includes_linked() {
                person.linked = links.into_iter().map(|link| link.user_pseudo_id).collect();
            }
            ensure!(
                person.ids().all(|id| !id.contains(char::is_control)),
                "an id has a control character, which engines write differently; delete its rows \
                 by `source_partition` and `source_offset`"
            );
            let days = person.count(&table).await?;
            let rows: u64 = days.values().sum();
            let days = counted(days.len() as u64, "day");
            outln!("{id}: {} on {days}", counted(rows, "row"));
            (rows, Condition::of_person(&person))
        } else {
            let columns = match config.content {
                Content::Facts => ["detail", "raw"],
                Content::Raw => ["key", "body"],
            };
            let ids = Ids::new(person.ids());
            let records = person::records(&table, &columns, |text| ids.occur_in(text)).await?;
            let rows = records.len() as u64;
            let noun = match config.content {
                Content::Facts => "rejected event",
                Content::Raw => "record",
            };
            let contain = if rows == 1 { "contains" } else { "contain" };
            outln!("{id}: {} {contain} an id", counted(rows, noun));
            (rows, Condition::of_records(&records))
        };
        if rows > 0 {
            found_any = true;
            outln!("\n{}", deletion(&table, &condition, config));
        }
    }
    if found_any {
        outln!(
            "Nothing was deleted yet. After the statement the rows are still in older snapshots and \
             their files:\n  etl lake expire {options} --older-than 0s --keep 1\n  etl lake orphans \
             {options} --older-than 1h --delete\nThe second an hour later, after another commit of \
             the sink.",
            options = opened.options
        );
    }
    outln!(
        "Not in the lake: the tables of PostgreSQL (`etl erase`), the topic until its retention, \
         and copies of others. A sink that has not read the topic to its end adds rows of the \
         person that it finds there; count again then."
    );
    Ok(ExitCode::SUCCESS)
}
