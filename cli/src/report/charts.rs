//! The line charts of a report: their points, their sparklines, and a description in words.

use chrono::{Days, NaiveDate, NaiveTime};
use serde_json::{Value, json};

use crate::report::format::{short_day, shown};
use crate::report::numbers::Numbers;
use crate::report::table::Cell;
use crate::report::tables::Positions;

/// The size of a sparkline.
const WIDTH: f64 = 100.0;
const HEIGHT: f64 = 30.0;
/// Space around a sparkline for the width of its stroke.
const MARGIN: f64 = 2.0;

/// A line over days or positions.
#[derive(Clone)]
pub struct Chart {
    /// The id of its figure on the page, without the prefix `chart-`.
    pub id: String,
    pub title: String,
    points: Vec<Point>,
    /// The number of points of days that are over; the points after these are drawn dashed.
    finished: usize,
}

#[derive(Clone)]
struct Point {
    at: At,
    cell: Cell,
    /// The value of the same day of the previous period.
    before: Cell,
}

#[derive(Clone, Copy)]
enum At {
    Day(NaiveDate),
    Position(i64),
}

impl At {
    fn shown(self) -> String {
        match self {
            Self::Day(day) => format!("on {}", short_day(day)),
            Self::Position(position) => format!("at position {position}"),
        }
    }
}

impl Chart {
    /// A value for each day shown, and that of the same day of the previous period. Days without
    /// facts have a point, too, so that the line does not hide them.
    pub fn by_day(
        id: impl Into<String>,
        title: impl Into<String>,
        numbers: &Numbers,
        value: impl Fn(NaiveDate) -> Cell,
    ) -> Self {
        let finished = numbers.range.finished();
        let points: Vec<Point> = numbers
            .shown()
            .map(|(day, _)| Point {
                at: At::Day(day),
                cell: value(day),
                before: numbers
                    .before
                    .and_then(|before| day.checked_sub_days(Days::new(before.days())))
                    .map_or(Cell::Nothing, &value),
            })
            .collect();
        let is_over = |point: &&Point| matches!(point.at, At::Day(day) if day <= finished);
        Self {
            id: id.into(),
            title: title.into(),
            finished: points.iter().take_while(is_over).count(),
            points,
        }
    }

    /// Returns true if every value is 0 or missing.
    pub fn is_empty(&self) -> bool {
        self.points
            .iter()
            .flat_map(|point| [&point.cell, &point.before])
            .all(|cell| cell.number().is_none_or(|number| number == 0.0))
    }

    /// The highest point, in words.
    pub fn peak(&self) -> Option<String> {
        let highest = self
            .points
            .iter()
            .filter(|point| point.cell.number().is_some())
            .rev()
            .max_by(|a, b| {
                let (a, b) = (a.cell.number(), b.cell.number());
                a.unwrap_or(0.0).total_cmp(&b.unwrap_or(0.0))
            })?;
        Some(format!(
            "highest {} {}",
            shown(&highest.cell),
            highest.at.shown()
        ))
    }

    /// A description of the line, for readers who can't see it.
    pub fn words(&self) -> String {
        let mut words = self.peak().unwrap_or_else(|| "no value".to_owned());
        if let Some(last) = self.points.get(self.finished) {
            words.push_str(&format!("; dashed {}, not over yet", last.at.shown()));
        }
        if self.has_before() {
            words.push_str("; a lighter line is the period before");
        }
        words
    }

    /// Returns true if the previous period has a line.
    pub fn has_before(&self) -> bool {
        self.before().iter().any(Option::is_some)
    }

    /// Returns true if the last day is not over yet.
    pub fn has_unfinished(&self) -> bool {
        self.finished < self.points.len()
    }

    fn values(&self) -> Vec<Option<f64>> {
        let cells = self.points.iter().map(|point| point.cell.number());
        cells.collect()
    }

    fn before(&self) -> Vec<Option<f64>> {
        let cells = self.points.iter().map(|point| point.before.number());
        cells.collect()
    }

    /// The SVG paths of a sparkline, each with its class: the previous period, the days that are
    /// over, and dashed the day that is not. The scale is from zero to the highest value.
    pub fn sparkline(&self) -> Vec<(&'static str, String)> {
        if self.is_empty() {
            return Vec::new();
        }
        let (values, before) = (self.values(), self.before());
        let all = || values.iter().chain(&before).flatten();
        let most = all().fold(0.0, |most: f64, value| most.max(*value));
        let least = all().fold(0.0, |least: f64, value| least.min(*value));
        let scale = Scale {
            steps: values.len().saturating_sub(1),
            least,
            height: if most > least { most - least } else { 1.0 },
        };
        let over = values.get(..self.finished).unwrap_or_default();
        // The dashed line starts where the other one ends.
        let joint = self.finished.saturating_sub(1);
        let unfinished = match values.get(joint..) {
            Some(values) if self.has_unfinished() => values,
            _ => &[],
        };
        let mut paths = vec![
            ("before", scale.path(&before, 0)),
            ("now", scale.path(over, 0)),
            ("dashed", scale.path(unfinished, joint)),
        ];
        paths.retain(|(_, path)| !path.is_empty());
        paths
    }

    /// The points for the page's script.
    pub fn json(&self) -> Value {
        let points = || self.points.iter();
        let days = points().any(|point| matches!(point.at, At::Day(_)));
        let x: Vec<i64> = points()
            .map(|point| match point.at {
                At::Day(day) => day.and_time(NaiveTime::MIN).and_utc().timestamp(),
                At::Position(position) => position,
            })
            .collect();
        let words: Vec<String> = points()
            .enumerate()
            .map(|(index, point)| {
                let at = point.at.shown();
                let at = at.strip_prefix("on ").or(at.strip_prefix("at "));
                let so_far = if index < self.finished { "" } else { " so far" };
                let before = match &point.before {
                    Cell::Nothing => String::new(),
                    before => format!(" · before {}", shown(before)),
                };
                let value = shown(&point.cell);
                format!("{} · {value}{so_far}{before}", at.unwrap_or_default())
            })
            .collect();
        let is_rate = points().any(|point| matches!(point.cell, Cell::Rate(_)));
        json!({
            "id": self.id, "days": days, "rate": is_rate, "x": x, "y": self.values(),
            "before": self.before(), "finished": self.finished, "words": words,
        })
    }
}

/// The click rate by position, over all lists.
pub fn positions(positions: &Positions) -> Chart {
    let rows = positions.everywhere.rows.iter();
    let points: Vec<Point> = rows
        .filter_map(|row| {
            Some(Point {
                at: At::Position(row.first()?.count()?),
                cell: row.get(3)?.clone(),
                before: Cell::Nothing,
            })
        })
        .collect();
    Chart {
        id: "curve".to_owned(),
        title: "Click rate by position".to_owned(),
        finished: points.len(),
        points,
    }
}

struct Scale {
    steps: usize,
    least: f64,
    height: f64,
}

impl Scale {
    /// The path through the values, of which the first is at step `from`. A single value is a dot.
    fn path(&self, values: &[Option<f64>], from: usize) -> String {
        let mut path = String::new();
        let mut points = 0;
        for (index, value) in values.iter().enumerate() {
            let Some(value) = value else {
                continue;
            };
            let command = if points == 0 { 'M' } else { 'L' };
            let (x, y) = (self.x(from + index), self.y(*value));
            path.push_str(&format!("{command}{x:.2} {y:.2}"));
            points += 1;
        }
        if points == 1 {
            path.push_str("h0");
        }
        path
    }

    #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
    fn x(&self, step: usize) -> f64 {
        match self.steps {
            0 => WIDTH / 2.0,
            steps => MARGIN + (WIDTH - 2.0 * MARGIN) * step as f64 / steps as f64,
        }
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * (value - self.least) / self.height
    }
}
