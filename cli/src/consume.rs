//! `etl consume`: prints the topic's records or facts as JSON lines, for programs of other teams.
//!
//! Each partition has a task that reads it ([`crate::topic::follow`]); one thread prints the lines
//! of all. With `--state` a file keeps the consumer's position ([`State`]): the one behind the
//! lines that were written and flushed, or with `--acks` behind those that the program has
//! confirmed on standard input. So after a kill lines can come again, and none is left out.

mod lines;
mod state;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::lines::Lines;
use self::state::{INTERVAL, State};
use crate::arguments::{Parameters, TopicName};
use crate::printer::{self, is_broken_pipe};
use crate::topic::follow::Follower;
use crate::topic::{Record, Topic};
use crate::up::Interrupted;

/// The memory for responses, shared by all partitions.
const RESPONSES: i32 = 64 << 20;
/// The smallest response of a partition. A batch of the source has up to 4 MiB: one that is cut is
/// read again by a larger response.
const MIN_RESPONSE: i32 = 2 << 20;
/// The largest response of a partition.
const MAX_RESPONSE: i32 = 4 << 20;
/// The size of lines that are written at once.
const WRITE: usize = 64 << 10;
/// The time between two looks for new partitions.
const DISCOVERY: Duration = Duration::from_secs(10);
/// The time for the last lines to be written, and then for them to be confirmed.
const LAST_LINES: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicName,
    /// A partition instead of all; may be given several times
    #[arg(long = "partition", value_name = "NUMBER")]
    partitions: Vec<u32>,
    /// The first record: `beginning`, `end`, its offset, or a time such as 2026-11-24T18:00:00Z;
    /// with --state only while the file has no position yet
    #[arg(long, value_name = "WHERE", default_value = "beginning")]
    from: From,
    /// Stop at the end that the topic has now, instead of waiting for records
    #[arg(long)]
    end: bool,
    /// Stop after so many records
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// Print each fact and each rejection instead of the records
    #[arg(long)]
    facts: bool,
    /// The file with the position to continue at, moved behind the records that were written
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Move the position behind the records that are confirmed on standard input: lines of
    /// `PARTITION OFFSET` for the last record that was processed. Its end stops the command
    #[arg(long, requires = "state")]
    acks: bool,
    #[command(flatten)]
    parameters: Parameters,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Beginning,
    End,
    Offset(i64),
    Time(DateTime<Utc>),
}

impl std::str::FromStr for From {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(offset) = text.parse() {
            ensure!(offset >= 0, "an offset is 0 or more");
            return Ok(Self::Offset(offset));
        }
        let time = DateTime::parse_from_rfc3339(text).ok().context(
            "neither `beginning`, `end`, an offset nor a time such as 2026-11-24T18:00:00Z",
        )?;
        Ok(Self::Time(time.to_utc()))
    }
}

/// Records of a partition.
struct Chunk {
    partition: u32,
    records: Vec<Record>,
}

/// The records to print, or the error that ends the reading of a partition.
type Sender = mpsc::Sender<anyhow::Result<Chunk>>;
type Receiver = mpsc::Receiver<anyhow::Result<Chunk>>;

/// The state, shared by the thread that prints and the one that reads confirmations.
type Shared = Arc<Mutex<State>>;

/// Exits with 0 at the end or limit, after a signal, and if the reader of the lines is gone.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.facts || args.parameters.pairs().is_empty(),
        "--with needs --facts: the records are printed as they are"
    );
    let options = args.facts.then(|| args.parameters.options()).transpose()?;
    let mut interrupted = Interrupted::listen()?;
    let starting = async {
        let topic = Topic::connect(&args.topic.topic).await?;
        let state = match &args.state {
            Some(file) => Some(Arc::new(Mutex::new(State::open(file, &args.topic.topic)?))),
            None => None,
        };
        let followers = followers(&args, &topic, state.as_ref()).await?;
        anyhow::Ok((topic, state, followers))
    };
    let (topic, state, followers) = tokio::select! {
        started = starting => started?,
        () = interrupted.wait() => return Ok(ExitCode::SUCCESS),
    };
    let (sender, receiver) = mpsc::channel(1);
    let mut readers = JoinSet::new();
    for (follower, end) in followers {
        readers.spawn(read(follower, end, sender.clone()));
    }
    if args.partitions.is_empty() && !args.end {
        readers.spawn(read_new_partitions(topic, state.clone(), sender));
    } else {
        drop(sender);
    }
    let (confirmed, mut confirmations) = oneshot::channel();
    if let Some(state) = state.clone().filter(|_| args.acks) {
        std::thread::spawn(move || confirmed.send(confirm(&state, io::stdin().lock())));
    }
    let printer = Printer {
        lines: Lines::new(&args.topic.topic, options),
        state: state.clone(),
        confirms_itself: !args.acks,
        limit: args.limit,
    };
    let mut printing = tokio::task::spawn_blocking(move || printer.print(receiver));
    let printed = tokio::select! {
        printed = &mut printing => Some(printed),
        () = interrupted.wait() => None,
        outcome = &mut confirmations, if args.acks => {
            outcome??;
            None
        }
    };
    readers.abort_all();
    match printed {
        Some(printed) => printed??,
        None => match tokio::time::timeout(LAST_LINES, printing).await {
            Ok(printed) => printed??,
            Err(_) => errln!("warning: stopping with lines that nobody reads"),
        },
    }
    if let Some(state) = state.filter(|_| args.acks) {
        last_confirmations(&state, confirmations).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the program has confirmed all lines or has ended, for a limited time.
async fn last_confirmations(
    state: &Mutex<State>,
    mut confirmations: oneshot::Receiver<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let all = async {
        while !locked(state).is_confirmed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = all => {}
        outcome = &mut confirmations, if !confirmations.is_terminated() => outcome??,
        () = tokio::time::sleep(LAST_LINES) => {}
    }
    locked(state).store()
}

/// A reader of each partition, and with `--end` the offset that it ends at.
async fn followers(
    args: &Args,
    topic: &Topic,
    state: Option<&Shared>,
) -> anyhow::Result<Vec<(Follower, Option<i64>)>> {
    let partitions: BTreeSet<u32> = match args.partitions.as_slice() {
        [] => topic.partitions().collect(),
        named => named.iter().copied().collect(),
    };
    let has_begun = state.is_some_and(|state| locked(state).has_begun());
    let share = i32::try_from(partitions.len()).map_or(0, |count| RESPONSES / count.max(1));
    let mut followers = Vec::new();
    for partition in partitions {
        topic.check(partition)?;
        let start = topic.start(partition).await?;
        let end = topic.end(partition).await?;
        let stored = state.and_then(|state| locked(state).position(partition));
        let from = match (stored, args.from) {
            (Some(stored), _) => {
                stored.check(topic, partition, start..end).await?;
                stored.next_offset
            }
            // The partition was added later.
            (None, _) if has_begun => start,
            (None, From::Beginning) => start,
            (None, From::End) => end,
            (None, From::Offset(offset)) if (start..=end).contains(&offset) => offset,
            (None, From::Offset(offset)) => bail!(
                "partition {partition} of `{}` has the offsets from {start} up to {end}, and not \
                 {offset}; name a partition with --partition if others have it",
                args.topic.topic
            ),
            (None, From::Time(time)) => topic.offset_at(partition, time).await?,
        };
        if let Some(state) = state {
            locked(state).begin(partition, from);
        }
        let follower = topic.follow(partition, from);
        let follower = follower.responses_of(share.clamp(MIN_RESPONSE, MAX_RESPONSE));
        followers.push(match args.end {
            true => (follower.give_up(), Some(end)),
            false => (follower, None),
        });
    }
    if let Some(state) = state {
        locked(state).store()?;
    }
    Ok(followers)
}

/// Reads the partitions that are added to the topic.
async fn read_new_partitions(topic: Topic, state: Option<Shared>, sender: Sender) {
    let mut readers = JoinSet::new();
    let mut known = topic.partitions().end;
    loop {
        tokio::time::sleep(DISCOVERY).await;
        // The readers of the other partitions report that the cluster is away.
        let Ok(topic) = Topic::connect(topic.name()).await else {
            continue;
        };
        for partition in known..topic.partitions().end {
            if let Some(state) = &state {
                locked(state).begin(partition, 0);
            }
            let follower = topic.follow(partition, 0).responses_of(MIN_RESPONSE);
            readers.spawn(read(follower, None, sender.clone()));
        }
        known = known.max(topic.partitions().end);
    }
}

/// Reads a partition up to its end, an error, or the end of the printing.
async fn read(mut follower: Follower, end: Option<i64>, sender: Sender) {
    let partition = follower.partition();
    while end.is_none_or(|end| follower.position() < end) {
        let read = follower.next().await.map(|mut records| {
            records.retain(|record| end.is_none_or(|end| record.offset < end));
            Chunk { partition, records }
        });
        let failed = read.is_err();
        if sender.send(read).await.is_err() || failed {
            return;
        }
    }
}

/// Prints records and moves the position.
struct Printer {
    lines: Lines,
    state: Option<Shared>,
    /// Lines count as processed when they are written.
    confirms_itself: bool,
    limit: Option<u64>,
}

impl Printer {
    /// Prints until all readers end, the limit, or the end of the reader of the lines. Blocks.
    fn print(mut self, mut receiver: Receiver) -> anyhow::Result<()> {
        let handle = Handle::current();
        let mut out = printer::locked_json();
        end_line(&mut out).context("cannot read the end of the file of standard output")?;
        let outcome = loop {
            let received = match receiver.try_recv() {
                Err(TryRecvError::Empty) if self.has_stored() => receiver.blocking_recv(),
                Err(TryRecvError::Empty) => {
                    let next = async { tokio::time::timeout(INTERVAL, receiver.recv()).await };
                    match handle.block_on(next) {
                        Ok(received) => received,
                        Err(_) => {
                            self.store(true)?;
                            continue;
                        }
                    }
                }
                Err(TryRecvError::Disconnected) => None,
                Ok(received) => Some(received),
            };
            match received.map(|received| received.and_then(|it| self.write(&it, &mut out))) {
                Some(Ok(true)) => self.store(false)?,
                Some(Ok(false)) | None => break Ok(()),
                Some(Err(error)) if is_broken_pipe(&error) => break Ok(()),
                Some(Err(error)) => break Err(error),
            }
        };
        self.store(true)?;
        outcome
    }

    /// Writes the lines of a chunk. Returns false at the limit.
    fn write(&mut self, chunk: &Chunk, out: &mut impl Write) -> anyhow::Result<bool> {
        let mut last: Option<&Record> = None;
        for record in &chunk.records {
            if self.limit == Some(0) {
                break;
            }
            self.limit = self.limit.map(|left| left - 1);
            self.lines.add(chunk.partition, record)?;
            last = Some(record);
            if self.lines.bytes().len() >= WRITE {
                self.flush(chunk.partition, record, out)?;
                last = None;
            }
        }
        if let Some(record) = last {
            self.flush(chunk.partition, record, out)?;
        }
        Ok(self.limit != Some(0))
    }

    /// Writes the lines up to those of `last`.
    fn flush(&mut self, partition: u32, last: &Record, out: &mut impl Write) -> anyhow::Result<()> {
        // Before the lines: the program may confirm them at once.
        if let Some(state) = &self.state {
            locked(state).written(partition, last);
        }
        out.write_all(self.lines.bytes())?;
        out.flush()?;
        self.lines.clear();
        if let Some(state) = self.state.as_ref().filter(|_| self.confirms_itself) {
            locked(state).confirm(partition, last.offset)?;
        }
        self.store(false)
    }

    /// True if there is no position to store.
    fn has_stored(&self) -> bool {
        let state = self.state.as_ref().filter(|_| self.confirms_itself);
        state.is_none_or(|state| locked(state).is_stored())
    }

    /// Stores the position, if the topic is idle or the last time was a while ago.
    fn store(&self, is_idle: bool) -> anyhow::Result<()> {
        let Some(state) = self.state.as_ref().filter(|_| self.confirms_itself) else {
            return Ok(());
        };
        let mut state = locked(state);
        if state.is_stored() || !(is_idle || state.is_due()) {
            return Ok(());
        }
        if let Some(file) = stdout_file().context("cannot find out about standard output")? {
            file.sync_data()
                .context("cannot write the lines to the disk")?;
        }
        state.store()
    }
}

/// Reads confirmations until their end. Blocks.
fn confirm(state: &Mutex<State>, input: impl BufRead) -> anyhow::Result<()> {
    for line in input.lines() {
        let line = line.context("cannot read the confirmations")?;
        let numbers = line.split_once(' ').and_then(|(partition, offset)| {
            Some((partition.parse().ok()?, offset.trim_end().parse().ok()?))
        });
        let (partition, offset) = numbers.with_context(|| {
            format!("the confirmation `{line}` is not `PARTITION OFFSET`, such as `0 1234`")
        })?;
        let mut state = locked(state);
        state.confirm(partition, offset)?;
        if state.is_due() || state.is_confirmed() {
            state.store()?;
        }
    }
    locked(state).store()
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output, if it is a file.
fn stdout_file() -> io::Result<Option<File>> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Ends the line that a killed command has left without its end in the file of standard output.
fn end_line(out: &mut impl Write) -> io::Result<()> {
    if stdout_file()?.is_none_or(|file| file.metadata().is_ok_and(|it| it.len() == 0)) {
        return Ok(());
    }
    // The file may be open for writing only.
    let mut file = File::open("/dev/stdout")?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        out.write_all(b"\n")?;
    }
    Ok(())
}
