//! `etl demo`: runs the whole pipeline on this machine, sends events through it and checks the
//! counts.

#[cfg_attr(not(feature = "lake"), path = "demo/no_lake.rs")]
mod lake;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{Days, Utc};
use comfy_table::CellAlignment;
use connector_common::chain;
use local_stack::files::TOPIC;
use local_stack::{Part, Stack, StackOptions, TopicEnd, queue};
use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::lake::Lake;
use crate::arguments::{self, Parameters};
use crate::display::counted;
use crate::expectation::{self, Expectation, Fingerprint};
use crate::generate::{Choice, Messages};
use crate::progress::Journey;
use crate::report::figures::Limits;
use crate::report::serve::{Address, Server};
use crate::send::Line;
use crate::up::{Interrupted, addresses, watch};
use crate::{display, report, send};

const DEFAULT_EVENTS: u64 = 5_000;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The demo fails if every part runs and nothing moves for this long.
const STALLED_AFTER: Duration = Duration::from_secs(180);
/// Timeout of a request for the topic's end offset.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(2);
/// Rows shown of an answer.
const ROWS: usize = 7;
/// The longest name shown in an answer, in characters.
const MAX_NAME: usize = 48;

/// A question of an analyst and the query that answers it.
struct Question {
    title: &'static str,
    sql: &'static str,
}

const QUESTIONS: [Question; 2] = [
    Question {
        title: "Top lists by engagement rate",
        sql: include_str!("../../sql/queries/top_lists_by_engagement_rate.sql"),
    },
    Question {
        title: "Best products by view-to-purchase rate",
        sql: include_str!("../../sql/queries/best_products_by_view_to_purchase_rate.sql"),
    },
];

#[derive(clap::Args)]
pub struct Args {
    /// Number of messages to generate and send [default: 5000]
    #[arg(long, value_name = "N", conflicts_with = "input")]
    events: Option<u64>,
    /// Send the lines of this file instead, one message a line; `-` is standard input
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["format", "seed"])]
    input: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Serve the report from the start, and leave everything running at the end until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Write to this database, which must be empty, instead of a private one
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Also write the facts into an Iceberg lake in this folder, which must be new or empty
    /// [default without DIR: etl-demo-lake]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "etl-demo-lake")]
    lake: Option<PathBuf>,
    /// The report to write at the end, as `etl report` does
    #[arg(long, value_name = "FILE", default_value = "etl-demo-report.html")]
    report: PathBuf,
    #[command(flatten)]
    parameters: Parameters,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut interrupted = Interrupted::listen()?;
    args.parameters.options()?;
    let messages = messages(&args)?;
    if let Some(url) = &args.database_url {
        ensure_empty(url).await?;
    }
    let options = StackOptions {
        database_url: args.database_url.clone(),
        parameters: args.parameters.pairs().to_vec(),
        lake: args.lake.clone(),
        ..StackOptions::default()
    };
    let started = tokio::select! {
        started = Stack::start(options, |step| errln!("starting {step} …")) => started,
        () = interrupted.wait() => return Ok(ExitCode::from(130)),
    };
    let mut stack = started?;
    // Aborted when dropped.
    let mut serving = JoinSet::new();
    let url = if args.keep {
        serve(&stack, &mut serving).await
    } else {
        None
    };
    let outcome = tokio::select! {
        outcome = drive(&args, messages, &mut stack) => outcome.map(Some),
        () = interrupted.wait() => Ok(None),
    };
    let kept = match &outcome {
        Ok(Some(_)) if args.keep => {
            outln!("\nEverything is still running; Ctrl-C stops it.");
            if let Some(url) = url {
                outln!("Open {url}");
            }
            outln!("\nTo use it from a shell:\n\n{}", addresses(&stack));
            watch(&mut stack, &mut interrupted).await
        }
        _ => Ok(ExitCode::SUCCESS),
    };
    errln!("stopping …");
    serving.shutdown().await;
    stack.stop().await?;
    let kept = kept?;
    match outcome? {
        Some(true) => Ok(kept),
        Some(false) => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::from(130)),
    }
}

/// Serves the report on a free port, and prints its URL.
async fn serve(stack: &Stack, serving: &mut JoinSet<()>) -> Option<String> {
    let bound = Server::bind(Address::any_port(), stack.database_url(), Limits::default()).await;
    match bound {
        Ok(server) => {
            let url = server.url();
            outln!("Open {url} to watch the events arrive");
            serving.spawn(server.run());
            Some(url)
        }
        Err(error) => {
            errln!("note: cannot serve the report: {}", chain(error.as_ref()));
            None
        }
    }
}

/// The messages to send.
struct ToSend {
    lines: Box<dyn Iterator<Item = anyhow::Result<Line>> + Send>,
    /// Their number, if they are generated.
    count: Option<u64>,
}

/// Opens the file of the messages, or generates them.
///
/// # Errors
/// The file can't be opened, or is a regular one without a line or with one that can't be sent. The
/// lines of a pipe come later.
fn messages(args: &Args) -> anyhow::Result<ToSend> {
    let Some(path) = &args.input else {
        let count = args.events.unwrap_or(DEFAULT_EVENTS);
        let messages = Messages::new(args.choice, Utc::now()).zip(1..=count);
        let lines = messages.map(|(body, number)| Ok(Line { number, body }));
        return Ok(ToSend {
            lines: Box::new(lines),
            count: Some(count),
        });
    };
    if path.is_file() {
        let mut count = 0;
        for line in send::lines(path)? {
            line.with_context(|| format!("cannot send {}", path.display()))?;
            count += 1;
        }
        ensure!(count > 0, no_lines(path));
    }
    Ok(ToSend {
        lines: send::lines(path)?,
        count: None,
    })
}

fn no_lines(path: &Path) -> String {
    format!("{} has no lines", path.display())
}

/// Sends the events, waits until they have arrived, and prints the results. Returns true if the
/// counts add up.
async fn drive(args: &Args, messages: ToSend, stack: &mut Stack) -> anyhow::Result<bool> {
    let database = arguments::connect(stack.database_url()).await?;
    let topic = stack.topic_end().await?;
    let lake = match stack.lake_folder() {
        Some(_) => Some(Lake::open(stack.files()).await?),
        None => None,
    };
    let journey = Journey::new(messages.count);
    let client = queue::client(stack.sqs_url());
    let queue_url = stack.queue_url().to_owned();

    let begun = Instant::now();
    let mut expectation = Expectation::new(args.parameters.options()?);
    let all_sent = Cell::new(false);
    let sending = async {
        let sent = send::send_all(&client, &queue_url, messages.lines, |batch, micros| {
            batch
                .iter()
                .for_each(|line| expectation.add(&line.body, micros));
            journey.sent.add(batch.len() as u64);
        })
        .await?;
        if let Some(path) = &args.input {
            ensure!(sent > 0, no_lines(path));
        }
        all_sent.set(true);
        Ok(())
    };
    tokio::try_join!(
        sending,
        Arrival::new(stack, &database, topic, &journey, lake.as_ref()).wait(&all_sent)
    )?;
    let took = begun.elapsed();
    journey.finish();
    let mut right = print_results(&database, &expectation, took).await?;
    if let Some(lake) = &lake {
        right &= print_lake(&database, lake).await?;
    }
    // Generated events are of two weeks, of which the first is there to be compared with.
    let last_week = Utc::now().date_naive() - Days::new(6);
    let from = args.input.is_none().then_some(last_week);
    // A folder that can't be written to does not fail the demo.
    match report::write(&database, &args.report, from).await {
        Ok(path) => outln!("\nReport: {}", path.display()),
        Err(error) => errln!("note: cannot write the report: {}", chain(error.as_ref())),
    }
    if let Some(folder) = stack.lake_folder() {
        let commands = lake::commands(folder);
        outln!(
            "\nThe lake stays in {}. To ask it:\n\n{commands}",
            folder.display()
        );
    }
    Ok(right)
}

/// Fails if the database holds events: the demo checks every row.
async fn ensure_empty(url: &str) -> anyhow::Result<()> {
    let client = arguments::connect(url).await?;
    let there = client
        .query_one("SELECT to_regclass('fact_events') IS NOT NULL", &[])
        .await?;
    if there.get(0) {
        let rows = client
            .query_one(
                "SELECT (SELECT count(*) FROM fact_events) + (SELECT count(*) FROM rejected_events)
                      + (SELECT count(*) FROM sink_offsets)",
                &[],
            )
            .await?;
        ensure!(
            rows.get::<_, i64>(0) == 0,
            "the database of --database-url holds events already; the demo checks every row and \
             needs an empty one"
        );
    }
    let there = client
        .query_one("SELECT to_regclass('iceberg_tables') IS NOT NULL", &[])
        .await?;
    if there.get(0) {
        let rows = client
            .query_one("SELECT count(*) FROM iceberg_tables", &[])
            .await?;
        ensure!(
            rows.get::<_, i64>(0) == 0,
            "the database of --database-url holds the catalog of a lake; the demo needs an empty \
             database"
        );
    }
    Ok(())
}

/// Watches the messages until they arrive.
struct Arrival<'a> {
    stack: &'a mut Stack,
    database: &'a Client,
    topic: TopicEnd,
    journey: &'a Journey,
    lake: Option<&'a Lake>,
    seen: (i64, i64, i64),
    moved: Instant,
}

impl<'a> Arrival<'a> {
    fn new(
        stack: &'a mut Stack,
        database: &'a Client,
        topic: TopicEnd,
        journey: &'a Journey,
        lake: Option<&'a Lake>,
    ) -> Self {
        Self {
            stack,
            database,
            topic,
            journey,
            lake,
            seen: (0, 0, 0),
            moved: Instant::now(),
        }
    }

    /// Waits until all messages have arrived.
    async fn wait(mut self, all_sent: &Cell<bool>) -> anyhow::Result<()> {
        while !self.poll(all_sent.get()).await? {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Returns true if the queue is empty and the sinks have committed the topic's end offset.
    async fn poll(&mut self, all_sent: bool) -> anyhow::Result<bool> {
        self.check_parts()?;
        let committed = expectation::committed(self.database, TOPIC).await?;
        // The node is down.
        let Some(end) = self.topic_end().await else {
            return Ok(false);
        };
        self.journey
            .reach(end.unsigned_abs(), committed.unsigned_abs());
        let in_lake = match self.lake {
            // Reads the metadata only when the rest is done.
            Some(lake) if all_sent && committed >= end => lake.committed().await?,
            Some(_) => 0,
            None => end,
        };
        let seen = (end, committed, in_lake);
        if seen != self.seen || !all_sent || !self.stack.is_whole() {
            self.seen = seen;
            self.moved = Instant::now();
        }
        let waiting = self.stack.undeleted().unwrap_or(0);
        if all_sent && waiting == 0 && committed >= end && in_lake >= end {
            return Ok(true);
        }
        if self.moved.elapsed() > STALLED_AFTER {
            let (part, lake) = match self.lake {
                Some(_) if committed >= end => (Part::Lake, format!(" and {in_lake} in the lake")),
                _ => (Part::Sink, String::new()),
            };
            bail!(
                "nothing has moved for {STALLED_AFTER:?}: {waiting} messages in the queue, \
                 {end} records in the topic, {committed} of them in the tables{lake}\n\
                 the end of the log of {part}:\n{}",
                self.stack.launch(part).log_tail(10)
            );
        }
        Ok(false)
    }

    async fn topic_end(&mut self) -> Option<i64> {
        if let Ok(Ok(end)) = tokio::time::timeout(TOPIC_TIMEOUT, self.topic.read()).await {
            return Some(end);
        }
        if let Ok(Ok(topic)) = tokio::time::timeout(TOPIC_TIMEOUT, self.stack.topic_end()).await {
            self.topic = topic;
        }
        None
    }

    /// Fails if a part or the database has ended. If a part was killed, prints how to start it again
    /// instead.
    fn check_parts(&mut self) -> anyhow::Result<()> {
        use std::os::unix::process::ExitStatusExt;
        if let Some(ended) = self.stack.database_ended()? {
            bail!("{ended}");
        }
        for (part, status) in self.stack.ended()? {
            let ended = self.stack.launch(part).ended(status);
            if status.signal().is_none() {
                bail!("{ended}");
            }
            let again = self.stack.launch(part).again();
            self.journey.println(&format!("{ended}\n{again}"));
        }
        Ok(())
    }
}

/// Prints the counts, the speed and the answers. Returns true if the tables hold exactly the
/// expected rows.
async fn print_results(
    database: &Client,
    expectation: &Expectation,
    took: Duration,
) -> anyhow::Result<bool> {
    let found = expectation::fingerprint(database).await?;
    let reasons = expectation::rejected(database).await?;
    let rejected: u64 = reasons.iter().map(|(_, count)| count).sum();
    let expected = expectation.distinct();
    let hashes_are_right = found.hashes == expected.hashes || expectation.timeless() > 0;
    let right = (found.events, found.facts) == (expected.events, expected.facts)
        && hashes_are_right
        && rejected == expectation.rejected();

    outln!("\n{}", counts(expectation, found, rejected));
    for (reason, count) in &reasons {
        outln!("  rejected: {reason} × {count}");
    }
    if right {
        outln!("The counts add up: every event is in the tables once.");
    } else {
        outln!("THE COUNTS DO NOT ADD UP.");
    }
    print_speed(database, expectation, took).await?;
    // Autovacuum gathers statistics after a minute at the earliest. Without them the planner
    // assumes small tables and joins by nested loops.
    database.batch_execute("ANALYZE").await?;
    for question in &QUESTIONS {
        outln!(
            "\n{}\n{}",
            question.title,
            answer(database, question).await?
        );
    }
    Ok(right)
}

/// Compares the facts in the lake with those in the tables. Returns true if they are the same.
async fn print_lake(database: &Client, lake: &Lake) -> anyhow::Result<bool> {
    let found = expectation::fingerprint(database).await?;
    let contents = lake.contents().await?;
    let facts = |facts: Fingerprint| {
        let count = counted(facts.facts, "fact");
        format!("{count}, hash {}", hash(facts))
    };
    let is_same = contents.distinct == found;
    if is_same {
        outln!(
            "\nThe lake has the same facts in {}: {}",
            counted(contents.rows, "row"),
            facts(found)
        );
    } else {
        outln!(
            "\nTHE LAKE DIFFERS: {}; in the tables: {}",
            facts(contents.distinct),
            facts(found)
        );
    }
    Ok(is_same)
}

fn counts(expectation: &Expectation, found: Fingerprint, rejected: u64) -> display::Table {
    let expected = expectation.distinct();
    let mut table = display::table();
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
        timeless => format!("unknown: {timeless} events take the time of their record"),
    };
    table.add_row([
        "hash of all facts".to_owned(),
        hash(expected),
        hash(found),
        same,
    ]);
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The beginning of the hash of all facts.
fn hash(facts: Fingerprint) -> String {
    format!("{:08x}…", facts.hashes >> 96)
}

async fn print_speed(
    database: &Client,
    expectation: &Expectation,
    took: Duration,
) -> anyhow::Result<()> {
    let mut delays = Vec::new();
    expectation::each_commit(database, |hash, committed| {
        if let Some(sent) = expectation.sent_at(&hash) {
            delays.push(committed.saturating_sub(sent));
        }
    })
    .await?;
    delays.sort_unstable();
    let seconds = took.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = expectation.events() as f64 / seconds;
    outln!(
        "{} in {seconds:.1} s: {rate:.0} events/s",
        counted(expectation.events(), "event")
    );
    if let (Some(median), Some(last)) = (percentile(&delays, 50), percentile(&delays, 99)) {
        let [median, last] = [median, last].map(|one| Duration::from_micros(one).as_secs_f64());
        outln!(
            "All were sent at once: half were in the tables {median:.1} s after they were sent, \
             99% after {last:.1} s"
        );
    }
    Ok(())
}

fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
}

/// Runs the query of a question and returns its first rows.
async fn answer(client: &Client, question: &Question) -> anyhow::Result<display::Table> {
    let mut table = display::table();
    for message in client.simple_query(question.sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.set_header(columns.iter().map(|column| column.name().to_owned()));
            }
            SimpleQueryMessage::Row(row) if table.row_count() < ROWS => {
                let cell = |column| display::terminal(row.get(column).unwrap_or(""), MAX_NAME);
                table.add_row((0..row.len()).map(cell));
            }
            _ => {}
        }
    }
    display::align_numbers(&mut table);
    Ok(table)
}
