//! The report as a page: one file that needs no network. Every number is in the HTML, so the page
//! reads without scripts; the script sorts, copies and draws.
//!
//! The templates are in `page/`. They escape every value.

use askama::Template;
use askama::filters::Safe;
use serde_json::Value;
use uuid::Uuid;

use crate::display;
use crate::report::charts::{self, Chart};
use crate::report::figures::Figures;
use crate::report::format;
use crate::report::markup::{self, Heading, Key, TableView, Tiles, bare, headed, view};
// The templates use the constants below by this name.
use crate::report::page;
use crate::report::sentence::{self, Piece};
use crate::report::summary::{self, Tile};
use crate::report::table::{Cell, Table, share};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/page.js");
const LIVE_STYLE: &str = include_str!("page/live.css");
const LIVE_SCRIPT: &str = include_str!("page/live.js");
const VENDOR_LICENSE: &str = include_str!("vendor/LICENSE");
const VENDOR_STYLE: &str = include_str!("vendor/uPlot.min.css");
const VENDOR_SCRIPT: &str = include_str!("vendor/uPlot.iife.min.js");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The bar of a served page, with the days to choose from and the live strip.
pub struct Bar {
    pub from: String,
    pub to: String,
    pub zone: String,
    pub presets: Vec<Preset>,
    /// The time zone and the time of the numbers; empty on a page without numbers.
    pub zone_note: String,
    pub read_at: String,
    /// HTML that is replaced by the reason that a page is stale.
    pub stale_slot: String,
}

/// A link to a range of days.
pub struct Preset {
    /// The query string.
    pub query: String,
    pub name: &'static str,
    pub is_current: bool,
}

/// A nonce for one response: the policy of the page lets only scripts with this nonce run.
pub fn nonce() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The page as a file.
pub fn file(figures: &Figures) -> String {
    render(figures, &nonce(), None)
}

/// The page with the numbers of a report; `bar` is that of a served page.
pub fn render(figures: &Figures, nonce: &str, bar: Option<&Bar>) -> String {
    let sections = sections(figures);
    let drawn = sections.iter().flat_map(|section| &section.charts);
    let points = drawn.filter(|chart| !chart.is_empty()).map(Chart::json);
    let points = Value::Array(points.collect());
    Page {
        nonce,
        bar,
        title: format::days(figures.range.from, figures.range.to),
        notice: "",
        points,
        report: Some(Report {
            figures,
            tiles: markup::tiles(figures.metrics.iter().map(|metric| metric.tile.clone())),
            sentence: sentence::sentence(&figures.numbers, &figures.metrics),
            sections,
        }),
    }
    .to_string()
}

/// A served page without numbers, which says why.
pub fn notice(title: &str, text: &str, nonce: &str, bar: &Bar) -> String {
    Page {
        nonce,
        bar: Some(bar),
        title: title.to_owned(),
        notice: text,
        points: Value::Array(Vec::new()),
        report: None,
    }
    .to_string()
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    nonce: &'a str,
    bar: Option<&'a Bar>,
    title: String,
    /// The text of a page without a report.
    notice: &'a str,
    report: Option<Report<'a>>,
    /// The points of the charts, for the script.
    points: Value,
}

struct Report<'a> {
    figures: &'a Figures,
    tiles: Safe<Tiles>,
    sentence: Vec<Piece>,
    sections: Vec<Section<'a>>,
}

impl Report<'_> {
    fn key(&self) -> Option<Safe<Key>> {
        let metrics = self.figures.metrics.iter();
        markup::key(metrics.filter_map(|metric| metric.tile.chart.as_ref()))
    }
}

/// A section of the page: its parts in their order, most of which are absent.
#[derive(Default)]
struct Section<'a> {
    id: &'static str,
    /// Its name among the links at the top.
    short: &'static str,
    title: &'static str,
    /// Shown instead of everything else.
    empty: Option<&'a str>,
    lead: Option<String>,
    steps: Vec<Step<'a>>,
    tiles: Option<Safe<Tiles>>,
    charts: Vec<Chart>,
    tables: Vec<Safe<TableView<'a>>>,
    /// Tables that most readers don't need, behind a heading to click.
    more: Option<(&'static str, Vec<Safe<TableView<'a>>>)>,
}

impl Section<'_> {
    fn key(&self) -> Option<Safe<Key>> {
        markup::key(self.charts.iter())
    }
}

/// All sections in their order.
fn sections(figures: &Figures) -> Vec<Section<'_>> {
    vec![
        funnel(&figures.funnel),
        trend(figures),
        of_table("sales-by-platform", "Platforms", &figures.platforms),
        of_table("sales-by-category", "Categories", &figures.categories),
        newcomers(figures),
        of_table("top-lists", "Top lists", &figures.lists),
        of_table("best-products", "Best products", &figures.products),
        positions(figures),
        Section {
            id: "sessions-of-people",
            short: "Sessions",
            title: "Sessions",
            charts: charts_of(figures, |id| matches!(id, "sessions-a-day" | "conversion")),
            more: Some(("The numbers by day", bare(&[&figures.sessions]))),
            ..about(&figures.sessions)
        },
        of_table("promotion-clicks", "Promotions", &figures.promotions),
        quality(figures),
    ]
}

/// The lead of a table as that of a section, or the text shown if the table is empty.
fn about(table: &Table) -> Section<'_> {
    Section {
        empty: table.rows.is_empty().then_some(table.empty.as_str()),
        lead: Some(table.lead.clone()),
        ..Section::default()
    }
}

fn of_table<'a>(id: &'static str, short: &'static str, table: &'a Table) -> Section<'a> {
    Section {
        id,
        short,
        title: table.title,
        tables: vec![view(table, Heading::Lead)],
        ..Section::default()
    }
}

fn funnel(table: &Table) -> Section<'_> {
    let most = table.column(2).filter_map(Cell::number).fold(0.0, f64::max);
    let steps = table.rows.iter().filter_map(|row| Step::of(row, most));
    Section {
        id: "funnel-steps",
        short: "Funnel",
        title: table.title,
        steps: steps.collect(),
        ..about(table)
    }
}

fn trend(figures: &Figures) -> Section<'_> {
    let numbers = &figures.numbers;
    let mut charts = charts_of(figures, |id| id == "people");
    charts.push(Chart::by_day("events", "Events a day", numbers, |day| {
        Cell::Count(numbers.on(day).events)
    }));
    charts.extend(charts_of(figures, |id| id.starts_with("revenue-")));
    let tables = [&figures.days, &figures.money, &figures.revenue];
    Section {
        id: "trend",
        short: "Trend",
        title: "Trend",
        lead: Some(figures.days_in_words()),
        charts,
        more: Some(("The numbers by day and by currency", headed(&tables))),
        ..Section::default()
    }
}

fn newcomers(figures: &Figures) -> Section<'_> {
    let mut tiles = summary::newcomers(&figures.numbers);
    let charts = tiles.iter_mut().filter_map(|tile| tile.chart.take());
    let mut charts: Vec<Chart> = charts.collect();
    charts.truncate(2);
    Section {
        id: "new-and-returning",
        short: "New and returning",
        title: "New and returning people",
        tiles: Some(markup::tiles(tiles)),
        charts,
        more: Some(("The numbers by day", bare(&[&figures.newcomers]))),
        ..about(&figures.newcomers)
    }
}

fn positions(figures: &Figures) -> Section<'_> {
    let positions = &figures.positions;
    Section {
        id: "positions-in-lists",
        short: "List positions",
        title: "List positions",
        charts: vec![charts::positions(positions)],
        tables: headed(&[&positions.lists]),
        more: Some(("The numbers of the line", headed(&[&positions.everywhere]))),
        ..about(&positions.everywhere)
    }
}

fn quality(figures: &Figures) -> Section<'_> {
    let (rejected, late, duplicates) = (&figures.rejected, &figures.late, &figures.duplicates);
    let (facts, late_facts, early) = (late.sum(1), late.sum(2), late.sum(4));
    let (records, without) = (duplicates.sum(2), duplicates.sum(4));
    let of = |part: i64, all: i64, of: &str| match share(part, all) {
        Cell::Nothing => "nothing was read yet".to_owned(),
        rate => format!("{} of {of}", format::shown(&rate)),
    };
    let tile = |name, count, note| Tile::new(name, Cell::Count(count), note);
    let all = format::shown(&Cell::Count(rejected.sum(2)));
    let tiles = [
        tile(
            "Rejected",
            rejected.sum(1),
            format!("arrived in these days; {all} in all"),
        ),
        tile(
            "Late facts",
            late_facts,
            of(
                late_facts,
                facts,
                "facts, more than 24 hours after their event",
            ),
        ),
        tile(
            "Early facts",
            early,
            of(
                early,
                facts,
                "facts, dated more than 5 minutes after their arrival",
            ),
        ),
        tile(
            "Duplicates",
            without,
            of(without, records, "all records read added no rows"),
        ),
    ];
    Section {
        id: "quality",
        short: "Data quality",
        title: "Data quality",
        tiles: Some(markup::tiles(tiles)),
        tables: headed(&[rejected, duplicates]),
        more: Some(("Late and early facts by day", headed(&[late]))),
        ..Section::default()
    }
}

fn charts_of(figures: &Figures, is_wanted: impl Fn(&str) -> bool) -> Vec<Chart> {
    let metrics = figures.metrics.iter();
    metrics
        .filter(|metric| is_wanted(&metric.id))
        .filter_map(|metric| metric.tile.chart.clone())
        .collect()
}

/// A step of the funnel, with a bar in proportion to its sessions.
struct Step<'a> {
    name: String,
    event: String,
    sessions: &'a Cell,
    of_before: &'a Cell,
    of_first: &'a Cell,
    part: String,
}

impl<'a> Step<'a> {
    fn of(row: &'a [Cell], most: f64) -> Option<Self> {
        let [name, event, sessions, of_before, of_first] = row else {
            return None;
        };
        let part = match sessions.number() {
            Some(sessions) if most > 0.0 => sessions / most,
            _ => 0.0,
        };
        Some(Self {
            name: format::shown(name),
            event: format::shown(event),
            sessions,
            of_before,
            of_first,
            part: format!("{part:.4}"),
        })
    }
}
