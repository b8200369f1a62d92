//! What the checks found.

use std::fmt;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be checked, or was not to be.
    Skip,
    /// It works, and may not always.
    Warn,
    /// It does not work, or loses data.
    Fail,
}

/// A check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What it is about: `files`, `cluster`, `topic`, `smartmodule`, `queue`, `database`, `connectors`.
    area: &'static str,
    /// Its name, which is stable.
    check: &'static str,
    /// How it came out.
    verdict: Verdict,
    /// What was found, in a sentence.
    found: String,
    /// What mends it; `null` where nothing has to be.
    mend: Option<String>,
}

/// All checks, in their order.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
}

/// The document of `--json`.
#[derive(Serialize)]
pub struct Document<'r> {
    /// The worst of the checks; `ok` also where some were skipped.
    verdict: Verdict,
    checks: &'r [Check],
}

impl Report {
    /// A check that found all in order.
    pub fn ok(&mut self, area: &'static str, check: &'static str, found: impl Into<String>) {
        self.add(area, check, Verdict::Ok, found.into(), None);
    }

    /// A check that could not be done.
    pub fn skip(&mut self, area: &'static str, check: &'static str, found: impl Into<String>) {
        self.add(area, check, Verdict::Skip, found.into(), None);
    }

    /// A check that found what may do harm.
    pub fn warn(
        &mut self,
        area: &'static str,
        check: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(area, check, Verdict::Warn, found.into(), Some(mend.into()));
    }

    /// A check that found what does not work.
    pub fn fail(
        &mut self,
        area: &'static str,
        check: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(area, check, Verdict::Fail, found.into(), Some(mend.into()));
    }

    fn add(
        &mut self,
        area: &'static str,
        check: &'static str,
        verdict: Verdict,
        found: String,
        mend: Option<String>,
    ) {
        self.checks.push(Check {
            area,
            check,
            verdict,
            found,
            mend,
        });
    }

    /// Whether any check failed.
    pub fn has_failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    /// The report as a program reads it.
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
            mend,
        } in &self.checks
        {
            let found = found.replace('\n', " ");
            write!(formatter, "{:4}  {area} {check}: {found}", verdict.word())?;
            match mend {
                Some(mend) => writeln!(formatter, " -> {}", mend.replace('\n', " "))?,
                None => writeln!(formatter)?,
            }
        }
        let [ok, skip, warn, fail] = [Verdict::Ok, Verdict::Skip, Verdict::Warn, Verdict::Fail]
            .map(|verdict| self.count(verdict));
        writeln!(
            formatter,
            "{ok} ok, {warn} warnings, {fail} failed, {skip} skipped"
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
             1 ok, 1 warnings, 1 failed, 1 skipped\n"
        );
    }
}
