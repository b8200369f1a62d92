//! Clocks that disagree: requests get refused, ages and lags are wrong, dates land in the wrong month.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Report;

/// More than answers and whole seconds explain.
const NOTICED: TimeDelta = TimeDelta::seconds(10);
/// AWS refuses requests that are signed more than five minutes off.
const REFUSED: TimeDelta = TimeDelta::minutes(5);

const MEND: &str = "synchronise the clocks (chrony, systemd-timesyncd)";

/// Compares the clock of `whose` with this machine's, which were read `before` and behind it.
pub fn check(
    report: &mut Report,
    area: &'static str,
    whose: &str,
    theirs: DateTime<Utc>,
    before: DateTime<Utc>,
    behind: DateTime<Utc>,
) {
    let skew = theirs - (before + (behind - before) / 2);
    let off = skew.abs();
    let seconds = skew.num_milliseconds() as f64 / 1000.0;
    if off < NOTICED {
        report.ok(
            area,
            "clock",
            format!("{whose} and this machine agree, to {seconds:+.1} s"),
        );
    } else if off < REFUSED {
        report.warn(
            area,
            "clock",
            format!("{whose} is {seconds:+.0} s off this machine"),
            MEND,
        );
    } else {
        report.fail(
            area,
            "clock",
            format!("{whose} is {seconds:+.0} s off this machine"),
            MEND,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            check(&mut report, "queue", "SQS", theirs, now, now);
            assert_eq!(report.has_failed(), failed, "{seconds}");
            assert!(report.to_string().starts_with(words), "{report}");
        }
    }
}
