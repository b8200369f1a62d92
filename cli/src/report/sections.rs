//! What the page says in which order: its tiles and its sections.

use crate::report::charts::{self, Chart};
use crate::report::format;
use crate::report::markup::{self, Heading};
use crate::report::read::Figures;
use crate::report::summary::{Tile, share};
use crate::report::table::{Cell, Table};

/// A section and its anchor.
pub struct Section {
    pub id: &'static str,
    /// Its name among the links at the top.
    pub short: &'static str,
    title: &'static str,
    body: String,
}

impl Section {
    /// The section as HTML.
    pub fn html(&self) -> String {
        format!(
            "<section id=\"{}\" aria-labelledby=\"{0}-title\">\n<h2 id=\"{0}-title\">{}</h2>\n{}</section>\n",
            self.id, self.title, self.body
        )
    }
}

/// All sections, in their order.
pub fn all(figures: &Figures) -> Vec<Section> {
    vec![
        of_table("funnel-steps", "Funnel", &figures.funnel, markup::steps),
        trend(figures),
        of_table("top-lists", "Top lists", &figures.lists, markup::table),
        of_table(
            "best-products",
            "Best products",
            &figures.products,
            markup::table,
        ),
        positions(figures),
        sessions(figures),
        of_table(
            "promotion-clicks",
            "Promotions",
            &figures.promotions,
            markup::table,
        ),
        quality(figures),
    ]
}

/// The range in a few numbers, beside the days before.
pub fn summary(figures: &Figures) -> String {
    let tiles = markup::tiles(&figures.tiles());
    match figures.compared_with() {
        Some(days) => markup::lead(&format!("Changes are against {days}.")) + &tiles,
        None => tiles,
    }
}

fn of_table(
    id: &'static str,
    short: &'static str,
    table: &Table,
    draw: fn(&Table, Heading) -> String,
) -> Section {
    Section {
        id,
        short,
        title: table.title,
        body: draw(table, Heading::Above),
    }
}

fn trend(figures: &Figures) -> Section {
    let range = figures.range;
    let mut lead = "By UTC day.".to_owned();
    if range.to >= range.today {
        lead.push_str(&format!(
            " {} is not over yet.",
            format::long_day(range.today)
        ));
    }
    let charts = charts::trend(figures);
    let tables = [&figures.days, &figures.money, &figures.revenue]
        .map(|table| markup::table(table, Heading::Own))
        .concat();
    Section {
        id: "trend",
        short: "Trend",
        title: "Trend",
        body: markup::lead(&lead)
            + &drawn(&charts)
            + &markup::more("The numbers by day and by currency", &tables),
    }
}

fn positions(figures: &Figures) -> Section {
    let positions = &figures.positions;
    let body = if positions.everywhere.rows.is_empty() {
        markup::empty(&positions.everywhere.empty)
    } else {
        let table = markup::table(&positions.everywhere, Heading::Own);
        markup::lead(&positions.everywhere.lead)
            + &drawn(&[charts::positions(figures)])
            + &markup::table(&positions.lists, Heading::Own)
            + &markup::more("The numbers of the line", &table)
    };
    Section {
        id: "positions-in-lists",
        short: "List positions",
        title: "List positions",
        body,
    }
}

fn sessions(figures: &Figures) -> Section {
    let table = &figures.sessions;
    let body = if table.rows.is_empty() {
        markup::empty(&table.empty)
    } else {
        markup::lead(&table.lead)
            + &drawn(&charts::sessions(figures))
            + &markup::more("The numbers by day", &markup::table(table, Heading::None))
    };
    Section {
        id: "sessions-of-people",
        short: "Sessions",
        title: "Sessions",
        body,
    }
}

fn quality(figures: &Figures) -> Section {
    let (rejected, late, twice) = (&figures.rejected, &figures.late, &figures.duplicates);
    let (facts, late_facts, early) = (late.sum(1), late.sum(2), late.sum(4));
    let (records, without) = (twice.sum(2), twice.sum(4));
    let of = |part: i64, all: i64, of: &str| match share(part, all) {
        Cell::Nothing => "nothing was read yet".to_owned(),
        rate => format!("{} of {of}", format::shown(&rate)),
    };
    let tiles = markup::tiles(&[
        Tile::new(
            "Rejected",
            Cell::Count(rejected.sum(1)),
            format!(
                "arrived in these days; {} in all",
                format::shown(&Cell::Count(rejected.sum(2)))
            ),
        ),
        Tile::new(
            "Late facts",
            Cell::Count(late_facts),
            of(
                late_facts,
                facts,
                "facts, more than 24 hours after their event",
            ),
        ),
        Tile::new(
            "Early facts",
            Cell::Count(early),
            of(
                early,
                facts,
                "facts, dated more than 5 minutes after their arrival",
            ),
        ),
        Tile::new(
            "Duplicates",
            Cell::Count(without),
            of(without, records, "all records read brought nothing new"),
        ),
    ]);
    let tables = [rejected, twice]
        .map(|table| markup::table(table, Heading::Own))
        .concat();
    let by_day = markup::table(late, Heading::Own);
    Section {
        id: "quality",
        short: "Data quality",
        title: "Data quality",
        body: format!("<div class=\"block\">\n{tiles}</div>\n{tables}")
            + &markup::more("Late and early facts by day", &by_day),
    }
}

fn drawn(charts: &[Chart]) -> String {
    let class = if charts.len() == 3 {
        "charts three"
    } else {
        "charts"
    };
    let figures: String = charts.iter().map(markup::figure).collect();
    format!("<div class=\"{class}\">\n{figures}</div>\n")
}
