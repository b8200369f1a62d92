//! `chaos`: the real processes under load and a seeded series of faults. At the end the tables and
//! the lake equal those computed from the messages, fact by fact.
//!
//! - [`plan`] makes the series, [`inject`] begins and ends each fault;
//! - [`world`] runs the processes, [`network`] the namespaces between them; [`proxy`] stands in
//!   for these where they are not permitted;
//! - [`load`] sends messages and compares the tables with them, [`lake`] the lake with the tables;
//! - [`observer`] watches the database, [`results`] holds the recovery times.

mod inject;
mod lake;
mod load;
mod network;
mod observer;
mod plan;
mod proxy;
mod results;
mod world;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde_json::json;
use tokio_postgres::Client;

use crate::inject::Begun;
use crate::lake::Tables;
use crate::load::Load;
use crate::plan::{Fault, Kind, Link, Plan};
use crate::results::{Recovery, Results};
use crate::world::{Means, World};

/// The time after a group of faults in which messages are received, committed and deleted again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);
/// The time for a query, after which the server is started again if it has ended.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// The time in which the queue is short again after that.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(180);
/// The time in which the queue is empty after the last message.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);
/// The time in which all aggregates are stored.
const REFRESH_LIMIT: Duration = Duration::from_secs(1_200);
/// The queue is short if it holds at most this many seconds of the load.
const SHORT_QUEUE: usize = 5;
/// The time before the first fault.
const WARM_UP: Duration = Duration::from_secs(3);

/// Runs the pipeline under load, makes a seeded series of faults, and compares the tables.
#[derive(Debug, Parser)]
struct Args {
    /// The seed of the faults and of the messages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of faults
    #[arg(long, default_value_t = 25)]
    faults: usize,
    /// The messages that are sent in a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Only faults whose name has this text
    #[arg(long, default_value = "")]
    only: String,
    /// Print the series and make no fault
    #[arg(long)]
    list: bool,
    /// Write the recovery times to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The process is in namespaces of its own
    #[arg(long, hide = true)]
    in_namespaces: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.in_namespaces && !args.list && can_unshare() {
        eprintln!("error: {:#}", unshare());
        return ExitCode::FAILURE;
    }
    let outcome = tokio::runtime::Runtime::new()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(&args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Continues in namespaces of its own; returns only if that fails.
fn unshare() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let error = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(program)
        .arg("--in-namespaces")
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context("cannot run unshare")
}

fn can_unshare() -> bool {
    let succeeds = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    succeeds("unshare", &["--net", "--mount", "nft", "list", "ruleset"]) && succeeds("ip", &["-V"])
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let means = Means::find(args.in_namespaces || args.list);
    let only = args.only.clone();
    let mut plan = Plan::new(args.seed, move |kind| {
        is_possible(kind, means) && kind.name().contains(&only)
    });
    if !means.namespaces {
        println!("left out, without namespaces: full disks, faults between connectors and node");
    }
    if !means.faketime {
        println!("left out, without libfaketime: jumps of a clock");
    }
    if args.list {
        return list(&mut plan, args.faults);
    }
    let folder = tempfile::Builder::new().prefix("chaos-").tempdir()?;
    private_postgres::let_server_in(folder.path())?;
    let outcome = run_in(args, means, &mut plan, folder.path()).await;
    if outcome.is_err() {
        println!("the logs are in {}", folder.keep().display());
    } else if means.namespaces {
        let script = format!(
            "umount -l '{}'/postgres/* '{0}'/fluvio '{0}'/lake",
            folder.path().display()
        );
        // A folder that stays does not matter.
        drop(network::run("sh", &["-c", &script], "").await);
    }
    outcome
}

fn is_possible(kind: &Kind, means: Means) -> bool {
    match kind {
        Kind::Link(Link::SourceQueue | Link::SinkDatabase | Link::LakeDatabase, _) => true,
        Kind::Link(..) | Kind::DiskFull(_) => means.namespaces,
        Kind::ClockJump(..) => means.faketime,
        _ => true,
    }
}

fn list(plan: &mut Plan, faults: usize) -> anyhow::Result<()> {
    let mut left = faults;
    while left > 0 {
        let group = plan.group(left);
        ensure!(!group.is_empty(), "no such fault is possible here");
        left -= group.len();
        for fault in &group {
            println!("{}", line(fault));
        }
    }
    Ok(())
}

fn line(fault: &Fault) -> String {
    format!(
        "#{:<4} {:>4.1} s  {:>4.1} s  {}",
        fault.number,
        fault.at.as_secs_f64(),
        fault.lasts.as_secs_f64(),
        fault.kind
    )
}

async fn run_in(args: &Args, means: Means, plan: &mut Plan, folder: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    // A fault takes about five seconds, and a message 8 KB in the tables.
    let disk = (1 << 30) + args.faults as u64 * u64::from(args.rate) * (50 << 10);
    let world = World::start(folder.to_owned(), means, disk).await?;
    let queue_url = world.stack.queue_url().to_owned();
    let load = Load::start(world.sqs.clone(), queue_url, args.seed, args.rate);
    let mut run = Run {
        world,
        load,
        results: Results::default(),
        began,
        short_queue: SHORT_QUEUE * usize::try_from(args.rate)?,
    };
    let outcome = run.faults(plan, args.faults).await;
    let outcome = match outcome {
        Ok(()) => run.finish().await,
        Err(error) => Err(error),
    };
    println!();
    run.results.print();
    println!(
        "\n{} ends by themselves or restarts that failed",
        run.world.ends.len()
    );
    if let Some(file) = &args.json {
        let result = json!({
            "seed": args.seed,
            "faults": args.faults,
            "rate": args.rate,
            "seconds": run.began.elapsed().as_secs(),
            "sent": run.load.sent(),
            "ends": run.world.ends,
            "error": outcome.as_ref().err().map(|error| format!("{error:#}")),
            "recovery": run.results.json(),
        });
        std::fs::write(file, format!("{result:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if outcome.is_err() {
        println!("{}", run.world.dump().await);
    }
    outcome?;
    run.world.stop().await
}

/// A run with its pipeline.
struct Run {
    world: World,
    load: Load,
    results: Results,
    began: Instant,
    short_queue: usize,
}

impl Run {
    async fn faults(&mut self, plan: &mut Plan, faults: usize) -> anyhow::Result<()> {
        self.recovered().await?;
        tokio::time::sleep(WARM_UP).await;
        let mut left = faults;
        while left > 0 {
            let group = plan.group(left);
            ensure!(!group.is_empty(), "no such fault is possible here");
            left -= group.len();
            self.make(&group).await?;
            let undeleted = self.world.queue()?.undeleted();
            let recovery = self.recovered().await?;
            println!(
                "          {undeleted} messages in the queue, recovered after {:.1} s, caught up \
                 after {:.1} s",
                recovery.works.as_secs_f64(),
                recovery.caught_up.as_secs_f64()
            );
            self.results.add(&group, recovery);
        }
        Ok(())
    }

    /// Begins and ends each fault of a group at its time.
    async fn make(&mut self, group: &[Fault]) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut begun: Vec<(Duration, &Fault, Begun)> = Vec::new();
        let mut waiting = group.iter();
        let mut next = waiting.next();
        loop {
            begun.sort_by_key(|(ends, ..)| std::cmp::Reverse(*ends));
            let ends = begun.last().map(|(ends, ..)| *ends);
            let begins = next.map(|fault| fault.at);
            let Some(at) = ends.into_iter().chain(begins).min() else {
                return Ok(());
            };
            while began.elapsed() < at {
                self.world.supervise().await?;
                let left = at.saturating_sub(began.elapsed());
                tokio::time::sleep(left.min(Duration::from_millis(200))).await;
            }
            if begins == Some(at) {
                if let Some(fault) = next {
                    println!(
                        "{:7.1} s {}",
                        self.began.elapsed().as_secs_f64(),
                        line(fault)
                    );
                    let what = inject::begin(&mut self.world, fault)
                        .await
                        .with_context(|| format!("cannot begin #{}", fault.number))?;
                    begun.push((began.elapsed() + fault.lasts, fault, what));
                }
                next = waiting.next();
            } else if let Some((_, fault, what)) = begun.pop() {
                inject::end(&mut self.world, what)
                    .await
                    .with_context(|| format!("cannot end #{}", fault.number))?;
            }
        }
    }

    /// Waits until messages are received, committed and deleted again, and then until the queue is
    /// short.
    async fn recovered(&mut self) -> anyhow::Result<Recovery> {
        let since = Instant::now();
        self.check().await?;
        let committed = self.committed().await?;
        let queue = self.world.queue()?;
        // Read in this order, neither number shows a deletion that did not happen.
        let undeleted = queue.undeleted();
        let sent_before = self.load.sent();
        let deleted = sent_before.saturating_sub(undeleted);
        loop {
            self.check().await?;
            let sent = self.load.sent();
            // Fewer messages wait than were sent meanwhile, so some of these were received.
            let is_received = queue.depth() < sent - sent_before;
            let is_deleted = sent.saturating_sub(queue.undeleted()) > deleted;
            if is_received && is_deleted && self.committed().await? > committed {
                break;
            }
            ensure!(
                since.elapsed() < RECOVERY_LIMIT,
                "stuck: nothing received, committed or deleted {RECOVERY_LIMIT:?} after the faults"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let works = since.elapsed();
        while queue.undeleted() > self.short_queue {
            self.check().await?;
            ensure!(
                since.elapsed() < CATCH_UP_LIMIT,
                "stuck: {} messages in the queue {CATCH_UP_LIMIT:?} after the faults",
                queue.undeleted()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Recovery {
            works,
            caught_up: since.elapsed(),
        })
    }

    /// Returns the sum of the committed offsets. A server that ends meanwhile, because it could not
    /// recover on a full disk, is started again.
    async fn committed(&mut self) -> anyhow::Result<i64> {
        let since = Instant::now();
        loop {
            self.world.start_database().await?;
            let query = self.world.observer.committed();
            match tokio::time::timeout(QUERY_LIMIT, query).await {
                Ok(Ok(committed)) => return Ok(committed),
                Ok(Err(error)) if since.elapsed() > RECOVERY_LIMIT => return Err(error),
                _ => ensure!(
                    since.elapsed() <= RECOVERY_LIMIT,
                    "the database does not answer for {RECOVERY_LIMIT:?}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn check(&mut self) -> anyhow::Result<()> {
        self.world.supervise().await?;
        self.world.start_database().await?;
        if self.load.has_failed() {
            self.load.stop().await?;
            bail!("the load has ended");
        }
        Ok(())
    }

    /// Waits until everything has arrived, and compares.
    async fn finish(&mut self) -> anyhow::Result<()> {
        self.load.stop().await?;
        let queue = self.world.queue()?;
        let began = Instant::now();
        let topic = self.world.stack.topic_end().await?;
        let lake = Tables::open(self.world.lake_files()).await?;
        loop {
            self.world.supervise().await?;
            let (undeleted, end) = (queue.undeleted(), topic.read().await?);
            let committed = self.committed().await?;
            let in_lake = lake.committed().await?;
            if undeleted == 0 && committed == end && in_lake == end {
                break;
            }
            ensure!(
                began.elapsed() < DRAIN_LIMIT,
                "stuck: {undeleted} messages in the queue, {committed} of {end} records committed \
                 to PostgreSQL and {in_lake} to the lake, {DRAIN_LIMIT:?} after the last message"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let sent = self.load.sent();
        println!("\n{sent} messages were sent; the queue is empty. Comparing …");
        let dead = self.world.dead_letters()?;
        ensure!(dead == 0, "{dead} messages in the dead-letter queue");
        let client = self.world.observer.connect().await?;
        let facts = self.load.ensure_equal(&client).await?;
        println!("{facts} facts are equal. Comparing the lake …");
        let url = self.world.stack.database_url();
        lake.ensure_equal(&client, url, facts).await?;
        println!("The lake has them, and no record twice. Storing the aggregates …");
        refresh(&client).await?;
        let differences = "SELECT count(*) FROM analytics.differences()";
        let count = client.query_one(differences, &[]).await?.get::<_, i64>(0);
        ensure!(count == 0, "{count} rows of analytics.differences()");
        println!(
            "The aggregates agree with the facts, after {:.0} s.",
            self.began.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

/// Stores all open hours.
async fn refresh(client: &Client) -> anyhow::Result<()> {
    let began = Instant::now();
    let query = "SELECT open FROM analytics.refresh(24, '0 seconds')";
    // No result means that the sink refreshes.
    while client.query_one(query, &[]).await?.get::<_, Option<i32>>(0) != Some(0) {
        ensure!(
            began.elapsed() < REFRESH_LIMIT,
            "stuck: the aggregates are not stored within {REFRESH_LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
