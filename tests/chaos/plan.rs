//! The seeded series of faults.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use local_stack::Part;
use local_stack::launch::PARTS;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// The most faults that overlap.
const MOST_AT_ONCE: usize = 3;
/// The tables that a lock is held on.
const LOCKED: [&str; 8] = [
    "fact_events",
    "fact_events_default",
    "dim_product",
    "dim_list",
    "rejected_events",
    "sink_offsets",
    "analytics.touched_hours",
    "iceberg_tables",
];
/// The jumps of a clock, in seconds.
const JUMPS: [i64; 6] = [-86_400, -3_600, -30, 30, 3_600, 86_400];
/// The same for the lake sink. Iceberg refuses a commit that is more than a minute earlier than the
/// last one, so after a larger jump ahead the lake waits as long as the clock was ahead.
const JUMPS_OF_LAKE: [i64; 4] = [-86_400, -3_600, -30, 30];

/// A fault of the series.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The number in the series, from 1.
    pub number: usize,
    /// The kind of the fault, with its victim.
    pub kind: Kind,
    /// The time after the beginning of the group.
    pub at: Duration,
    /// The time until it is mended.
    pub lasts: Duration,
}

/// A connection between two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    SourceQueue,
    SourceNode,
    SinkNode,
    SinkDatabase,
    LakeNode,
    LakeDatabase,
}

/// A fault of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Packets of both directions are lost.
    BlackHole,
    /// Packets of the connector are lost, and those to it arrive.
    LossFromConnector,
    /// Packets to the connector are lost, and those of it arrive.
    LossToConnector,
    /// Packets beyond this rate in bytes a second are lost.
    Slow(u64),
    /// A TCP connection is reset once it has carried this many bytes.
    Cut(u64),
    /// Every TCP connection is reset at once.
    Refused,
}

/// A disk that gets full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    Data,
    Wal,
    Node,
    Lake,
}

/// Errors of the SQS endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    Throttled,
    AnswersLost,
    DeliveredTwice,
    EntriesFail,
}

/// A kind of fault with its victim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Kill(Part),
    Restart(Part),
    Freeze(Part),
    ClockJump(Part, i64),
    Link(Link, Trouble),
    Queue(QueueError),
    DatabaseRestart,
    DatabaseImmediateShutdown,
    DatabaseFreeze,
    BackendKill,
    DiskFull(Disk),
    ReadOnly,
    RightRevoked,
    LoginRefused,
    Lock(&'static str),
    ConnectionsUsedUp,
    TwoSinks { shares: bool, killed: bool },
    TwoLakes { shares: bool, killed: bool },
    TwoSources { killed: bool },
    ShortVisibility { seconds: u64 },
    Replay { records: i64 },
    Expire,
}

/// A thing that at most one fault at a time uses.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    Part(Part),
    Clock(Part),
    Link(Link),
    Queue,
    Database,
}

/// Makes the same series for the same seed.
pub struct Plan {
    random: StdRng,
    deck: VecDeque<Kind>,
    is_possible: Box<dyn Fn(&Kind) -> bool>,
    last: usize,
}

impl Plan {
    /// `is_possible` leaves out kinds.
    pub fn new(seed: u64, is_possible: impl Fn(&Kind) -> bool + 'static) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            deck: VecDeque::new(),
            is_possible: Box::new(is_possible),
            last: 0,
        }
    }

    /// Returns one to three overlapping faults with different victims, at most `most`, in the order
    /// of their beginning. Empty if no kind is possible.
    pub fn group(&mut self, most: usize) -> Vec<Fault> {
        let size = match self.random.random_range(0..10) {
            0..5 => 1,
            5..8 => 2,
            _ => MOST_AT_ONCE,
        };
        let mut kinds: Vec<Kind> = Vec::new();
        let mut later = Vec::new();
        for _ in 0..10 {
            if kinds.len() >= size.min(most) {
                break;
            }
            let Some(kind) = self.draw() else { break };
            let claims = kind.claims();
            let is_taken = |other: &Kind| other.claims().iter().any(|one| claims.contains(one));
            if kinds.iter().any(is_taken) {
                later.push(kind);
            } else {
                kinds.push(kind);
            }
        }
        for kind in later.into_iter().rev() {
            self.deck.push_front(kind);
        }
        let mut at = Duration::ZERO;
        let mut faults = Vec::new();
        for kind in kinds {
            self.last += 1;
            faults.push(Fault {
                number: self.last,
                kind,
                at,
                lasts: self.length(&kind),
            });
            at += Duration::from_millis(self.random.random_range(0..1_500));
        }
        faults
    }

    /// Draws the next possible kind. Each comes once before any comes again.
    fn draw(&mut self) -> Option<Kind> {
        loop {
            if self.deck.is_empty() {
                let mut kinds = kinds(&mut self.random);
                kinds.shuffle(&mut self.random);
                if !kinds.iter().any(&self.is_possible) {
                    return None;
                }
                self.deck.extend(kinds);
            }
            let kind = self.deck.pop_front()?;
            if (self.is_possible)(&kind) {
                return Some(kind);
            }
        }
    }

    /// Most faults are short, some last as long as a timeout.
    fn length(&mut self, kind: &Kind) -> Duration {
        let longest = match kind {
            Kind::Freeze(_) | Kind::Link(_, Trouble::BlackHole) => 40_000,
            _ => 20_000,
        };
        let range = match self.random.random_range(0..20) {
            0..14 => 500..2_500,
            14..19 => 2_500..6_000,
            _ => 6_000..longest,
        };
        Duration::from_millis(self.random.random_range(range))
    }
}

/// Every kind once with each victim, and random numbers.
fn kinds(random: &mut StdRng) -> Vec<Kind> {
    let mut kinds = vec![
        Kind::DatabaseRestart,
        Kind::DatabaseImmediateShutdown,
        Kind::DatabaseFreeze,
        Kind::BackendKill,
        Kind::DiskFull(Disk::Data),
        Kind::DiskFull(Disk::Wal),
        Kind::DiskFull(Disk::Node),
        Kind::DiskFull(Disk::Lake),
        Kind::ReadOnly,
        Kind::RightRevoked,
        Kind::LoginRefused,
        Kind::ConnectionsUsedUp,
        Kind::TwoSources {
            killed: random.random(),
        },
        Kind::ShortVisibility {
            seconds: random.random_range(2..=5),
        },
        Kind::Replay {
            records: random.random_range(1..3_000),
        },
        Kind::Expire,
        Kind::Queue(QueueError::Throttled),
        Kind::Queue(QueueError::AnswersLost),
        Kind::Queue(QueueError::DeliveredTwice),
        Kind::Queue(QueueError::EntriesFail),
    ];
    for shares in [false, true] {
        let [of_sinks, of_lakes] = [random.random(), random.random()];
        kinds.extend([
            Kind::TwoSinks {
                shares,
                killed: of_sinks,
            },
            Kind::TwoLakes {
                shares,
                killed: of_lakes,
            },
        ]);
    }
    for _ in 0..2 {
        kinds.extend(LOCKED.choose(random).map(|table| Kind::Lock(table)));
    }
    for part in PARTS {
        kinds.extend([Kind::Kill(part), Kind::Restart(part), Kind::Freeze(part)]);
        let jumps: &[i64] = match part {
            Part::Lake => &JUMPS_OF_LAKE,
            Part::Node | Part::Source | Part::Sink => &JUMPS,
        };
        kinds.extend(jumps.choose(random).map(|by| Kind::ClockJump(part, *by)));
    }
    for link in Link::ALL {
        let troubles = [
            Trouble::BlackHole,
            Trouble::LossFromConnector,
            Trouble::LossToConnector,
            Trouble::Slow(random.random_range(10_000..100_000)),
            Trouble::Cut(random.random_range(2_000..200_000)),
            Trouble::Refused,
        ];
        kinds.extend(troubles.map(|trouble| Kind::Link(link, trouble)));
    }
    kinds
}

impl Kind {
    fn claims(&self) -> Vec<Claim> {
        match *self {
            Self::Kill(part) | Self::Restart(part) | Self::Freeze(part) => vec![Claim::Part(part)],
            Self::ClockJump(part, _) => vec![Claim::Clock(part)],
            Self::Link(link, _) => vec![Claim::Link(link)],
            Self::Queue(_) => vec![Claim::Queue],
            Self::DatabaseRestart
            | Self::DatabaseImmediateShutdown
            | Self::DatabaseFreeze
            | Self::BackendKill
            | Self::DiskFull(Disk::Data | Disk::Wal)
            | Self::ReadOnly
            | Self::RightRevoked
            | Self::LoginRefused
            | Self::Lock(_)
            | Self::ConnectionsUsedUp => vec![Claim::Database],
            Self::DiskFull(Disk::Node) => vec![Claim::Part(Part::Node)],
            Self::DiskFull(Disk::Lake) | Self::TwoLakes { .. } => vec![Claim::Part(Part::Lake)],
            Self::TwoSinks { .. } => vec![Claim::Part(Part::Sink)],
            Self::TwoSources { .. } | Self::ShortVisibility { .. } => {
                vec![Claim::Part(Part::Source)]
            }
            Self::Replay { .. } => vec![Claim::Part(Part::Sink), Claim::Database],
            Self::Expire => vec![Claim::Part(Part::Lake), Claim::Database],
        }
    }

    /// The kind without its numbers: a line of the table.
    pub fn name(&self) -> String {
        match self {
            Self::Kill(part) => format!("kill -9 {part}"),
            Self::Restart(part) => format!("restart {part}"),
            Self::Freeze(part) => format!("SIGSTOP {part}"),
            Self::ClockJump(part, _) => format!("clock jump {part}"),
            Self::Link(link, trouble) => format!("{trouble} {link}"),
            Self::Queue(QueueError::Throttled) => "SQS throttles".to_owned(),
            Self::Queue(QueueError::AnswersLost) => "SQS's answers are lost".to_owned(),
            Self::Queue(QueueError::DeliveredTwice) => "SQS delivers twice".to_owned(),
            Self::Queue(QueueError::EntriesFail) => "SQS refuses entries".to_owned(),
            Self::DatabaseRestart => "restart PostgreSQL".to_owned(),
            Self::DatabaseImmediateShutdown => "immediate shutdown PostgreSQL".to_owned(),
            Self::DatabaseFreeze => "SIGSTOP PostgreSQL".to_owned(),
            Self::BackendKill => "kill -9 a backend".to_owned(),
            Self::DiskFull(Disk::Data) => "disk full PostgreSQL's data".to_owned(),
            Self::DiskFull(Disk::Wal) => "disk full PostgreSQL's WAL".to_owned(),
            Self::DiskFull(Disk::Node) => "disk full fluvio-node".to_owned(),
            Self::DiskFull(Disk::Lake) => "disk full the lake".to_owned(),
            Self::ReadOnly => "read only".to_owned(),
            Self::RightRevoked => "right revoked".to_owned(),
            Self::LoginRefused => "login refused".to_owned(),
            Self::Lock(_) => "lock held".to_owned(),
            Self::ConnectionsUsedUp => "connections used up".to_owned(),
            Self::TwoSinks { shares: true, .. } => "two sinks that share".to_owned(),
            Self::TwoSinks { shares: false, .. } => "two sinks, one waits".to_owned(),
            Self::TwoLakes { shares: true, .. } => "two lake sinks that share".to_owned(),
            Self::TwoLakes { shares: false, .. } => "two lake sinks, one is fenced".to_owned(),
            Self::TwoSources { .. } => "two sources".to_owned(),
            Self::ShortVisibility { .. } => "short visibility".to_owned(),
            Self::Replay { .. } => "replayed topic".to_owned(),
            Self::Expire => "expired snapshots".to_owned(),
        }
    }
}

/// The name and the numbers.
impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name())?;
        match self {
            Self::ClockJump(_, seconds) => write!(out, ", {seconds:+} s"),
            Self::Link(_, Trouble::Slow(rate)) => write!(out, ", {rate} bytes/s"),
            Self::Link(_, Trouble::Cut(bytes)) => write!(out, ", after {bytes} bytes"),
            Self::Lock(table) => write!(out, ", {table}"),
            Self::TwoSinks { killed, .. }
            | Self::TwoLakes { killed, .. }
            | Self::TwoSources { killed } => out.write_str(if *killed {
                ", one is killed"
            } else {
                ", one stops"
            }),
            Self::ShortVisibility { seconds } => write!(out, ", {seconds} s"),
            Self::Replay { records } => write!(out, ", {records} records"),
            _ => Ok(()),
        }
    }
}

impl Link {
    const ALL: [Self; 6] = [
        Self::SourceQueue,
        Self::SourceNode,
        Self::SinkNode,
        Self::SinkDatabase,
        Self::LakeNode,
        Self::LakeDatabase,
    ];
}

impl fmt::Display for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::SourceQueue => "source–queue",
            Self::SourceNode => "source–node",
            Self::SinkNode => "sink–node",
            Self::SinkDatabase => "sink–database",
            Self::LakeNode => "lake–node",
            Self::LakeDatabase => "lake–database",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::BlackHole => "black hole",
            Self::LossFromConnector => "one-way loss from the connector",
            Self::LossToConnector => "one-way loss to the connector",
            Self::Slow(_) => "slow link",
            Self::Cut(_) => "cut",
            Self::Refused => "refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn series(seed: u64, count: usize) -> Vec<Vec<Fault>> {
        let mut plan = Plan::new(seed, |_| true);
        let mut left = count;
        let mut groups = Vec::new();
        while left > 0 {
            let group = plan.group(left);
            left -= group.len();
            groups.push(group);
        }
        groups
    }

    #[test]
    fn a_seed_makes_one_series() {
        assert_eq!(series(1, 200), series(1, 200));
        assert_ne!(series(1, 200), series(2, 200));
        let numbers: Vec<usize> = series(3, 200).iter().flatten().map(|f| f.number).collect();
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    }

    #[test]
    fn every_kind_comes_and_no_victim_has_two_faults_at_once() {
        let groups = series(4, 200);
        let found: BTreeSet<String> = groups.iter().flatten().map(|f| f.kind.name()).collect();
        let all = kinds(&mut StdRng::seed_from_u64(0));
        let all: BTreeSet<String> = all.iter().map(Kind::name).collect();
        assert_eq!(found, all);
        for group in groups {
            let mut claims = Vec::new();
            for claim in group.iter().flat_map(|fault| fault.kind.claims()) {
                assert!(!claims.contains(&claim), "{group:?}");
                claims.push(claim);
            }
        }
    }

    #[test]
    fn kinds_that_are_not_possible_are_left_out() {
        let mut plan = Plan::new(5, |kind| matches!(kind, Kind::Kill(_)));
        for _ in 0..20 {
            assert!(!plan.group(3).is_empty());
            assert!(
                plan.group(3)
                    .iter()
                    .all(|f| matches!(f.kind, Kind::Kill(_)))
            );
        }
        assert_eq!(Plan::new(5, |_| false).group(3), []);
    }
}
