//! `etl demo`: the whole pipeline on this machine, with events sent through it and the counts checked.

mod report;

use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use chrono::Utc;
use local_stack::files::TOPIC;
use local_stack::{Stack, StackOptions, TopicEnd, queue};
use tokio_postgres::Client;

use crate::expectation::Expectation;
use crate::generate::{Choice, Messages};
use crate::parameters::Parameters;
use crate::progress::Journey;
use crate::report as page;
use crate::up::{Interrupted, addresses, watch};
use crate::{bodies, send, tables};

const DEFAULT_EVENTS: u64 = 5_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// With every part running and nothing moving for this long, something is wrong.
const STALLED_AFTER: Duration = Duration::from_secs(90);

#[derive(clap::Args)]
pub struct Args {
    /// Number of messages to make up and send [default: 5000]
    #[arg(long, value_name = "N", conflicts_with = "input")]
    events: Option<u64>,
    /// Send the lines of this file instead, each a message; `-` is standard input
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["format", "seed"])]
    input: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Leave everything running at the end, until Ctrl-C, to look around
    #[arg(long)]
    keep: bool,
    /// Write to this database, which must be empty, instead of a private one
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The page to write about the events at the end, as `etl report` does
    #[arg(long, value_name = "FILE", default_value = "etl-demo-report.html")]
    report: PathBuf,
    #[command(flatten)]
    parameters: Parameters,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut interrupted = Interrupted::listen()?;
    args.parameters.options()?;
    if let Some(url) = &args.database_url {
        ensure_empty(url).await?;
    }
    let options = StackOptions {
        database_url: args.database_url.clone(),
        parameters: args.parameters.pairs().to_vec(),
        ..StackOptions::default()
    };
    let started = tokio::select! {
        started = Stack::start(options, |step| eprintln!("starting {step} …")) => started,
        () = interrupted.wait() => return Ok(ExitCode::from(130)),
    };
    let mut stack = started?;
    let outcome = tokio::select! {
        outcome = drive(&args, &mut stack) => outcome.map(Some),
        () = interrupted.wait() => Ok(None),
    };
    let kept = match &outcome {
        Ok(Some(_)) if args.keep => {
            println!(
                "\nEverything is still running; Ctrl-C stops it. To look further:\n\n{}\n",
                addresses(&stack)
            );
            println!("psql '{}'", stack.database_url());
            watch(&mut stack, &mut interrupted).await
        }
        _ => Ok(()),
    };
    eprintln!("stopping …");
    stack.stop().await?;
    kept?;
    match outcome? {
        Some(true) => Ok(ExitCode::SUCCESS),
        Some(false) => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::from(130)),
    }
}

/// Sends the events, waits until they have arrived, and reports. True when the counts add up.
async fn drive(args: &Args, stack: &mut Stack) -> anyhow::Result<bool> {
    let messages = match (&args.input, args.events) {
        (Some(_), _) => None,
        (None, events) => Some(events.unwrap_or(DEFAULT_EVENTS)),
    };
    let source: Box<dyn Iterator<Item = anyhow::Result<String>> + Send> = match &args.input {
        Some(path) => bodies::open(path)?,
        None => {
            let count = usize::try_from(messages.unwrap_or(DEFAULT_EVENTS))?;
            Box::new(Messages::new(args.choice, Utc::now()).map(Ok).take(count))
        }
    };
    let database = tables::connect(stack.database_url()).await?;
    let topic = stack.topic_end().await?;
    let journey = Journey::new(messages);
    let client = queue::client(stack.sqs_url());
    let queue_url = stack.queue_url().to_owned();

    let begun = Instant::now();
    let mut expectation = Expectation::new(args.parameters.options()?);
    let all_sent = Cell::new(false);
    let sending = async {
        send::send_all(&client, &queue_url, source, |batch, micros| {
            batch.iter().for_each(|body| expectation.add(body, micros));
            journey.sent.add(batch.len() as u64);
        })
        .await?;
        all_sent.set(true);
        Ok(())
    };
    tokio::try_join!(
        sending,
        Arrival::new(stack, &database, topic, &journey).wait(&all_sent)
    )?;
    let took = begun.elapsed();
    journey.finish();
    let right = report::print(&database, &expectation, took).await?;
    // A folder that can't be written to says nothing about the events.
    match page::write(&database, &args.report).await {
        Ok(path) => println!("\nReport: {}", path.display()),
        Err(error) => eprintln!("note: no report is written: {error:#}"),
    }
    Ok(right)
}

/// The demo checks every row, so it can't share a database with rows of others.
async fn ensure_empty(url: &str) -> anyhow::Result<()> {
    let client = tables::connect(url).await?;
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
            "the database that --database-url names holds events already; the demo checks every row and needs an empty one"
        );
    }
    Ok(())
}

/// Watches the messages on their way.
struct Arrival<'a> {
    stack: &'a mut Stack,
    database: &'a Client,
    topic: TopicEnd,
    journey: &'a Journey,
    seen: (i64, i64),
    moved: Instant,
}

impl<'a> Arrival<'a> {
    fn new(
        stack: &'a mut Stack,
        database: &'a Client,
        topic: TopicEnd,
        journey: &'a Journey,
    ) -> Self {
        Self {
            stack,
            database,
            topic,
            journey,
            seen: (0, 0),
            moved: Instant::now(),
        }
    }

    /// Waits until everything has arrived.
    async fn wait(mut self, all_sent: &Cell<bool>) -> anyhow::Result<()> {
        while !self.look(all_sent.get()).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Looks once. True when the queue is empty and the sink has committed the end of the topic.
    async fn look(&mut self, all_sent: bool) -> anyhow::Result<bool> {
        self.tell_of_the_dead()?;
        let committed = tables::committed(self.database, TOPIC).await?;
        // While the node is down its numbers stand still; nothing ends before it is back.
        let Some(end) = self.topic_end().await else {
            return Ok(false);
        };
        self.journey.in_topic.reach(end.unsigned_abs());
        self.journey.in_tables.reach(committed.unsigned_abs());
        if (end, committed) != self.seen || !all_sent || !self.stack.is_whole() {
            self.seen = (end, committed);
            self.moved = Instant::now();
        }
        let waiting = self.stack.undeleted().unwrap_or(0);
        if all_sent && waiting == 0 && committed >= end {
            return Ok(true);
        }
        if self.moved.elapsed() > STALLED_AFTER {
            bail!(
                "nothing has moved for {STALLED_AFTER:?}: {waiting} messages in the queue, {end} records in the topic, {committed} of them in the tables\n\
                 the end of the sink's log:\n{}",
                self.stack.launch(local_stack::Part::Sink).log_tail(10)
            );
        }
        Ok(false)
    }

    async fn topic_end(&mut self) -> Option<i64> {
        let patience = Duration::from_secs(2);
        if let Ok(Ok(end)) = tokio::time::timeout(patience, self.topic.read()).await {
            return Some(end);
        }
        if let Ok(Ok(topic)) = tokio::time::timeout(patience, self.stack.topic_end()).await {
            self.topic = topic;
        }
        None
    }

    /// A part that was killed can be started again by hand; one that gave up has a reason to show.
    fn tell_of_the_dead(&mut self) -> anyhow::Result<()> {
        use std::os::unix::process::ExitStatusExt;
        for (part, status) in self.stack.ended()? {
            let launch = self.stack.launch(part);
            if status.signal().is_none() {
                bail!("{part} gave up ({status}):\n{}", launch.log_tail(10));
            }
            self.journey.say(&format!(
                "{part} was killed ({status}); to start it again:\n  {launch}"
            ));
        }
        Ok(())
    }
}
