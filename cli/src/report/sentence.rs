//! The sentence at the top of a report: the metric that changed most, and where.

use crate::report::breakdown::{Cause, Dimension};
use crate::report::days::Range;
use crate::report::format;
use crate::report::numbers::Numbers;
use crate::report::summary::Metric;
use crate::report::table::{Cell, NO_CURRENCY};

/// A smaller relative change is not reported.
const LEAST: f64 = 0.05;
/// The standard deviations that chance alone hardly reaches, with a dozen metrics to choose from.
const DEVIATIONS: f64 = 3.0;

/// A piece of the sentence.
pub enum Piece {
    Text(String),
    /// A name from the events, to be set apart from the text around it.
    Name(String),
}

/// The sentence in pieces.
pub fn sentence(numbers: &Numbers, metrics: &[Metric]) -> Vec<Piece> {
    let text = |text: String| vec![Piece::Text(text)];
    let Some(compared) = numbers.comparison else {
        return text(nothing_before(numbers));
    };
    let Range { to, .. } = numbers.range;
    let before = if compared.now.last == to {
        match numbers.before.map_or(0, |before| before.days()) {
            1 => "the day before".to_owned(),
            days => format!("the {days} days before"),
        }
    } else {
        format::days(compared.before.first, compared.before.last)
    };
    let changes = || metrics.iter().filter_map(relative);
    let greatest = metrics
        .iter()
        .filter_map(|metric| Some((metric, relative(metric)?)))
        .filter(|(metric, change)| change.abs() > noise(metric).max(LEAST))
        .max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
    let Some((metric, change)) = greatest else {
        let what = if changes().all(|change| change.abs() <= LEAST) {
            "5%"
        } else {
            "chance explains"
        };
        return text(format!(
            "Compared with {before}, nothing changed by more than {what}."
        ));
    };
    let mut pieces = spoken(metric);
    let verb = verb(metric, change);
    pieces.push(Piece::Text(format!(" {verb} against {before}")));
    pieces.extend(cause(&metric.cause));
    pieces.push(Piece::Text(".".to_owned()));
    pieces
}

fn nothing_before(numbers: &Numbers) -> String {
    let range = numbers.range;
    if range.finished() < range.from {
        return format!(
            "{} is not over yet: there is no whole day to compare.",
            format::days(range.from, range.to)
        );
    }
    match range.days_before() {
        Some(before) => format!(
            "There is nothing to compare with yet: the facts don't cover {}.",
            format::days(before.first, before.last)
        ),
        None => "There is nothing to compare with.".to_owned(),
    }
}

fn relative(metric: &Metric) -> Option<f64> {
    let [now, before] = metric.compared.as_ref()?;
    let (now, before) = (now.number()?, before.number()?);
    (metric.evidence.is_some() && before > 0.0).then(|| now / before - 1.0)
}

/// The relative change that chance alone can make in so many occurrences.
fn noise(metric: &Metric) -> f64 {
    let Some([now, before]) = metric.evidence.filter(|[_, before]| *before > 0) else {
        return f64::INFINITY;
    };
    #[allow(clippy::cast_precision_loss, reason = "a rough measure")]
    let (both, before) = ((now + before) as f64, before as f64);
    DEVIATIONS * both.sqrt() / before
}

fn spoken(metric: &Metric) -> Vec<Piece> {
    match &metric.spoken {
        (name, None) => vec![Piece::Text((*name).to_owned())],
        (name, Some(currency)) if currency == NO_CURRENCY => {
            vec![Piece::Text(format!("{name} without a currency"))]
        }
        (name, Some(currency)) => vec![
            Piece::Text(format!("{name} in ")),
            Piece::Name(currency.clone()),
        ],
    }
}

fn verb(metric: &Metric, change: f64) -> String {
    let verb = if change < 0.0 { "fell" } else { "rose" };
    match &metric.compared {
        // A percentage of a percentage would be mistaken for points.
        Some([now @ Cell::Rate(_), before]) => {
            let (before, now) = (format::shown(before), format::shown(now));
            format!("{verb} from {before} to {now}")
        }
        _ => {
            let size = format::shown(&Cell::Rate(change.abs()));
            format!("{verb} by {size}")
        }
    }
}

fn cause(cause: &Cause) -> Vec<Piece> {
    let breakdowns = match cause {
        Cause::Unknown => return Vec::new(),
        Cause::Refunds([now, before]) => {
            let (now, before) = (format::shown(now), format::shown(before));
            return vec![Piece::Text(format!(
                ": refunds went from {before} to {now}"
            ))];
        }
        Cause::Within(breakdowns) => breakdowns,
    };
    let mut pieces = Vec::new();
    let mut last = "";
    for breakdown in breakdowns {
        let Some((name, part)) = breakdown.leading() else {
            continue;
        };
        let size = match part {
            part if part > 0.995 => "all of it",
            part if part > 0.5 => "most of it",
            _ => "the largest part of it",
        };
        let link = match size {
            size if size == last => " and".to_owned(),
            size => format!(", {size}"),
        };
        last = size;
        let (phrase, is_named) = match (breakdown.dimension, name) {
            (Dimension::Platform, "no platform") => ("without a platform", false),
            (Dimension::Category, "no category") => ("without a category", false),
            (Dimension::Platform, _) => ("on ", true),
            (Dimension::Category, _) => ("in the category ", true),
            (Dimension::List, _) => ("in the list ", true),
        };
        pieces.push(Piece::Text(format!("{link} {phrase}")));
        if is_named {
            pieces.push(Piece::Name(name.to_owned()));
        }
        if part <= 0.995 {
            let part = format::shown(&Cell::Rate(part));
            pieces.push(Piece::Text(format!(" ({part})")));
        }
    }
    pieces
}
