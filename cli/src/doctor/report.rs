//! The results of the checks.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::display::counted;

/// A smaller difference of clocks can come from the response time and from whole seconds.
const CLOCK_WARNING: TimeDelta = TimeDelta::seconds(10);
/// AWS refuses requests whose signature is more than five minutes off.
const CLOCK_FAILURE: TimeDelta = TimeDelta::minutes(5);

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// In order.
    Ok,
    /// Not checked.
    Skip,
    /// It works now, but may fail later.
    Warn,
    /// It does not work, or loses data.
    Fail,
}

/// A check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// One of `files`, `cluster`, `topic`, `smartmodule`, `queue`, `database`, `lake`,
    /// `connectors`.
    area: &'static str,
    /// Its name, which is stable.
    check: &'static str,
    verdict: Verdict,
    /// The finding in a sentence.
    found: String,
    /// The fix; `null` if none is needed.
    fix: Option<String>,
}

/// All checks in their order.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
}

/// The document of `--json`.
#[derive(Serialize)]
pub struct Document<'r> {
    /// The worst of the checks; skipped ones count as `ok`.
    verdict: Verdict,
    checks: &'r [Check],
}

impl Report {
    /// Adds a check that succeeded.
    pub fn ok(&mut self, area: &'static str, check: &'static str, found: impl Into<String>) {
        self.add(area, check, Verdict::Ok, found.into(), None);
    }

    /// Adds a check that was not done.
    pub fn skip(&mut self, area: &'static str, check: &'static str, found: impl Into<String>) {
        self.add(area, check, Verdict::Skip, found.into(), None);
    }

    /// Adds a check with a warning.
    pub fn warn(
        &mut self,
        area: &'static str,
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(area, check, Verdict::Warn, found.into(), Some(fix.into()));
    }

    /// Adds a check that failed.
    pub fn fail(
        &mut self,
        area: &'static str,
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(area, check, Verdict::Fail, found.into(), Some(fix.into()));
    }

    /// Checks the clock of `whose` against this machine's, which was read `before` and `after` it.
    pub fn clock(
        &mut self,
        area: &'static str,
        whose: &str,
        theirs: DateTime<Utc>,
        before: DateTime<Utc>,
        after: DateTime<Utc>,
    ) {
        let difference = theirs - (before + (after - before) / 2);
        let off = difference.abs();
        let seconds = difference.num_milliseconds() as f64 / 1000.0;
        let fix = "synchronise the clocks (chrony, systemd-timesyncd)";
        let found = format!("{whose} is {seconds:+.0} s off this machine");
        if off < CLOCK_WARNING {
            let found = format!("{whose} and this machine agree, to {seconds:+.1} s");
            self.ok(area, "clock", found);
        } else if off < CLOCK_FAILURE {
            self.warn(area, "clock", found, fix);
        } else {
            self.fail(area, "clock", found, fix);
        }
    }

    fn add(
        &mut self,
        area: &'static str,
        check: &'static str,
        verdict: Verdict,
        found: String,
        fix: Option<String>,
    ) {
        self.checks.push(Check {
            area,
            check,
            verdict,
            found,
            fix,
        });
    }

    /// Returns true if a check failed.
    pub fn has_failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    /// The document of `--json`.
    pub fn as_json(&self) -> Document<'_> {
        let worst = self.checks.iter().map(|check| check.verdict).max();
        Document {
            verdict: match worst {
                None | Some(Verdict::Skip) => Verdict::Ok,
                Some(worst) => worst,
            },
            checks: &self.checks,
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == verdict).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check {
            area,
            check,
            verdict,
            found,
            fix,
        } in &self.checks
        {
            let found = found.replace('\n', " ");
            write!(formatter, "{:4}  {area} {check}: {found}", verdict.word())?;
            match fix {
                Some(fix) => writeln!(formatter, " -> {}", fix.replace('\n', " "))?,
                None => writeln!(formatter)?,
            }
        }
        let [ok, skip, warn, fail] = [Verdict::Ok, Verdict::Skip, Verdict::Warn, Verdict::Fail]
            .map(|verdict| self.count(verdict));
        writeln!(
            formatter,
            "{ok} ok, {}, {fail} failed, {skip} skipped",
            counted(warn as u64, "warning")
        )
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_is_the_verdict_and_each_is_a_line() {
        let mut report = Report::default();
        report.skip("queue", "receive", "not tried");
        assert_eq!(report.as_json().verdict, Verdict::Ok);
        report.warn("topic", "replication", "one\ncopy", "make it 3");
        assert!(!report.has_failed());
        report.fail("cluster", "connection", "none", "start it");
        report.ok("files", "sink", "sound");
        assert!(report.has_failed());
        assert_eq!(report.as_json().verdict, Verdict::Fail);
        assert_eq!(
            report.to_string(),
            "skip  queue receive: not tried\nwarn  topic replication: one copy -> make it 3\n\
             fail  cluster connection: none -> start it\nok    files sink: sound\n\
             1 ok, 1 warning, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn a_clock_that_is_minutes_off_fails() {
        let now = Utc::now();
        for (seconds, failed, words) in [
            (3, false, "ok    queue clock: SQS and"),
            (-9, false, "ok"),
            (40, false, "warn  queue clock: SQS is +40 s"),
            (-400, true, "fail  queue clock: SQS is -400 s"),
        ] {
            let mut report = Report::default();
            let theirs = now + TimeDelta::seconds(seconds);
            report.clock("queue", "SQS", theirs, now, now);
            assert_eq!(report.has_failed(), failed, "{seconds}");
            assert!(report.to_string().starts_with(words), "{report}");
        }
    }
}
