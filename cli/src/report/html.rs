//! The report as a page: one file that needs no network. Every figure stands in the HTML, so that it reads where scripts
//! don't run; the script sorts, copies and draws.

use serde_json::Value;

use crate::escape;
use crate::report::charts::{self, Chart};
use crate::report::file::MARK;
use crate::report::format;
use crate::report::read::Figures;
use crate::report::sections;

const PAGE: &str = include_str!("page/page.html");

/// The page.
pub fn render(figures: &Figures) -> String {
    let range = figures.range;
    let days = format::days(range.from, range.to);
    let about = format!(
        "UTC days, both ends included. Read from the database <bdi>{}</bdi> on {}.",
        escape::html(&figures.database),
        figures.read_at.format("%-d %b %Y at %H:%M UTC")
    );
    let sections = sections::all(figures);
    let drawn: Vec<Chart> = charts::trend(figures)
        .into_iter()
        .chain(charts::sessions(figures))
        .chain([charts::positions(figures)])
        .filter(|chart| !chart.is_empty())
        .collect();
    let points = Value::Array(drawn.iter().map(Chart::json).collect());
    // The one word that lets a script run: no other script of this page is the report's.
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    fill(PAGE, |name| match name {
        "mark" => MARK.to_owned(),
        "nonce" => nonce.clone(),
        "days" => days.clone(),
        "about" => about.clone(),
        "links" => sections
            .iter()
            .map(|section| {
                format!(
                    "<li><a href=\"#{}\">{}</a></li>\n",
                    section.id, section.short
                )
            })
            .collect(),
        "main" => {
            let summary = format!(
                "<div class=\"block\">\n{}</div>\n",
                sections::summary(figures)
            );
            sections
                .iter()
                .fold(summary, |main, section| main + &section.html())
        }
        "version" => env!("CARGO_PKG_VERSION").to_owned(),
        "database" => escape::html(&figures.database),
        "points" => escape::json(&points),
        "licence" => include_str!("vendor/LICENSE").to_owned(),
        "vendor_style" => include_str!("vendor/uPlot.min.css").to_owned(),
        "vendor_script" => include_str!("vendor/uPlot.iife.min.js").to_owned(),
        "style" => include_str!("page/style.css").to_owned(),
        "script" => include_str!("page/page.js").to_owned(),
        _ => String::new(),
    })
}

/// A template with `{{name}}` replaced, in one pass: what is put in may hold braces of its own.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        filled.push_str(&value(name));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        let filled = fill("a {{x}} b {{y}} c", |name| match name {
            "x" => "{{y}}".to_owned(),
            _ => "2".to_owned(),
        });
        assert_eq!(filled, "a {{y}} b 2 c");
    }

    #[test]
    fn the_mark_stands_where_it_is_looked_for() {
        assert!(PAGE.find("{{mark}}").unwrap() < 512);
    }
}
