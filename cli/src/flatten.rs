//! `etl flatten`: flattens message bodies without a server. It shows why an event is rejected, and
//! where.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use fact_model::{Arena, Envelope, Fact, Options, Rejection, Step, flatten_in};
use serde_json::{Map, Value, json};

use crate::arguments::Parameters;
use crate::{display, place, printer};

/// The columns of a fact in their order.
const COLUMNS: [&str; 49] = [
    "event_time",
    "event_name",
    "event_id",
    "user_id",
    "user_pseudo_id",
    "session_id",
    "platform",
    "traffic_source",
    "traffic_medium",
    "traffic_campaign",
    "device_category",
    "country",
    "app_version",
    "item_ordinal",
    "product_id",
    "product_name",
    "product_brand",
    "product_category",
    "product_category2",
    "product_category3",
    "product_category4",
    "product_category5",
    "product_variant",
    "list_id",
    "list_name",
    "list_position",
    "price",
    "quantity",
    "discount",
    "price_in_usd",
    "item_revenue",
    "item_revenue_in_usd",
    "item_refund",
    "item_refund_in_usd",
    "item_coupon",
    "affiliation",
    "location_id",
    "promotion_id",
    "promotion_name",
    "creative_name",
    "creative_slot",
    "currency",
    "value",
    "transaction_id",
    "tax",
    "shipping",
    "event_coupon",
    "extra",
    "fact_hash",
];

/// The longest value shown in the table, in characters.
const MAX_VALUE: usize = 48;
/// The longest detail and place of a rejection shown, in characters.
const MAX_DETAIL: usize = 400;

#[derive(clap::Args)]
pub struct Args {
    /// The file, a message body; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Each line of the file is a message body
    #[arg(long)]
    lines: bool,
    /// Print a JSON object for each fact or rejection, one a line, instead of a table
    #[arg(long)]
    json: bool,
    /// A tracking plan: a file with the JSON of the parameter `tracking-plan`
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print the path of each body: what was around it, its format, and changed values
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    parameters: Parameters,
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        let plan = self.plan.as_ref().map(|file| {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        });
        let plan = plan.transpose()?;
        let plan = plan.iter().map(|plan| ("tracking-plan", plan.as_str()));
        let pairs = self.parameters.pairs().iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Options::parse(pairs.chain(plan))?)
    }
}

/// Exits with 1 if anything is rejected.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = args.options()?;
    let mut printer: Box<dyn Printer> = if args.json {
        Box::new(JsonLines(printer::buffered_json()))
    } else {
        Box::new(Tables {
            out: printer::buffered_text(),
            rows: Vec::new(),
            rejected: 0,
            lines: args.lines,
        })
    };
    match flatten(args, &options, printer.as_mut()) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // The reader has closed the pipe.
        Err(error) if printer::is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn flatten(args: &Args, options: &Options, printer: &mut dyn Printer) -> anyhow::Result<bool> {
    let mut arena = if args.explain {
        Arena::explaining()
    } else {
        Arena::new()
    };
    let mut all_read = true;
    each_body(&args.file, args.lines, |line, body| {
        arena.reset();
        // The body is not in a topic, so the record's time is now.
        let envelope = flatten_in(&arena, options, body, now_millis());
        all_read &= envelope.rejected.is_empty();
        printer.print_path(line, &arena.take_path())?;
        printer.print(line, body, &envelope)
    })?;
    printer.finish()?;
    Ok(all_read)
}

/// Calls `with` for each body of the file and the number of its line. Skips empty lines, because
/// SQS refuses empty messages.
fn each_body(
    path: &Path,
    lines: bool,
    mut with: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shown = path.display();
    let mut reader: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(
            File::open(path).with_context(|| format!("cannot open {shown}"))?,
        ))
    };
    if !lines {
        let mut body = Vec::new();
        reader
            .read_to_end(&mut body)
            .with_context(|| format!("cannot read {shown}"))?;
        return with(1, &body);
    }
    for (index, line) in reader.split(b'\n').enumerate() {
        let line = line.with_context(|| format!("{shown}, line {}: cannot be read", index + 1))?;
        let body = line.strip_suffix(b"\r").unwrap_or(&line);
        if !body.is_empty() {
            with(index + 1, body)?;
        }
    }
    Ok(())
}

trait Printer {
    /// Prints the path of the body that is printed next, if there is one.
    fn print_path(&mut self, line: usize, path: &[Step]) -> anyhow::Result<()>;
    fn print(&mut self, line: usize, body: &[u8], envelope: &Envelope<'_>) -> anyhow::Result<()>;
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// Prints a JSON object a line.
struct JsonLines<W>(W);

impl<W: Write> Printer for JsonLines<W> {
    fn print_path(&mut self, _: usize, path: &[Step]) -> anyhow::Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let steps = path.iter();
        let steps = steps.map(|step| json!({"step": step.kind.as_str(), "detail": step.detail}));
        let path = Value::from_iter(steps);
        Ok(writeln!(self.0, r#"{{"path":{path}}}"#)?)
    }

    fn print(&mut self, _: usize, _: &[u8], envelope: &Envelope<'_>) -> anyhow::Result<()> {
        for fact in &envelope.facts {
            writeln!(self.0, "{}", serde_json::to_string(fact)?)?;
        }
        for rejection in &envelope.rejected {
            let Rejection {
                reason, detail, at, ..
            } = rejection;
            let [reason, detail, at] = [reason, detail, at].map(|text| Value::from(&**text));
            writeln!(
                self.0,
                r#"{{"rejected":{{"reason":{reason},"detail":{detail},"at":{at}}}}}"#
            )?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.0.flush()?)
    }
}

/// Prints rejections at once, and at the end a table of all facts.
struct Tables<W> {
    out: W,
    rows: Vec<(usize, Map<String, Value>)>,
    rejected: usize,
    lines: bool,
}

impl<W: Write> Printer for Tables<W> {
    fn print_path(&mut self, line: usize, path: &[Step]) -> anyhow::Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        if self.lines {
            writeln!(self.out, "line {line}:")?;
        }
        for Step { kind, detail } in path {
            let detail = display::terminal(detail, MAX_DETAIL);
            writeln!(self.out, "{:<8}  {detail}", kind.as_str())?;
        }
        Ok(writeln!(self.out)?)
    }

    fn print(&mut self, line: usize, body: &[u8], envelope: &Envelope<'_>) -> anyhow::Result<()> {
        for fact in &envelope.facts {
            self.rows.push((line, row(fact)?));
        }
        for rejection in &envelope.rejected {
            let of_line = if self.lines {
                format!("line {line}: ")
            } else {
                String::new()
            };
            let [detail, at] =
                [&rejection.detail, &rejection.at].map(|text| display::terminal(text, MAX_DETAIL));
            writeln!(
                self.out,
                "{of_line}rejected: {} at {at}\n  {detail}",
                rejection.reason
            )?;
            for shown in place::marked(body, rejection) {
                writeln!(self.out, "  {shown}")?;
            }
            writeln!(self.out)?;
        }
        self.rejected += envelope.rejected.len();
        if envelope.nuls_removed > 0 {
            writeln!(self.out, "U+0000 removed: {}\n", envelope.nuls_removed)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if !self.rows.is_empty() {
            writeln!(self.out, "{}", self.table())?;
        }
        let facts = display::counted(self.rows.len() as u64, "fact");
        writeln!(self.out, "{facts}, {} rejected", self.rejected)?;
        Ok(self.out.flush()?)
    }
}

impl<W> Tables<W> {
    /// The facts, without the columns that are empty in all of them.
    fn table(&self) -> display::Table {
        let columns: Vec<&str> = COLUMNS
            .into_iter()
            .filter(|column| self.rows.iter().any(|(_, row)| row.contains_key(*column)))
            .collect();
        let line = self.lines.then_some("line");
        let mut table = display::table();
        table.set_header(line.iter().chain(&columns));
        for (number, row) in &self.rows {
            let line = line.map(|_| number.to_string());
            let values = columns.iter().map(|column| match row.get(*column) {
                None => String::new(),
                Some(extra) if *column == "extra" => shown_extra(extra),
                Some(value) => shown(value),
            });
            table.add_row(line.into_iter().chain(values));
        }
        display::align_numbers(&mut table);
        table
    }
}

fn row(fact: &Fact<'_>) -> anyhow::Result<Map<String, Value>> {
    match serde_json::to_value(fact)? {
        Value::Object(row) => Ok(row),
        other => Err(anyhow!("a fact is not a JSON object: {other}")),
    }
}

/// The text of a value in the table.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => display::terminal(text, MAX_VALUE),
        other => display::terminal(&other.to_string(), MAX_VALUE),
    }
}

/// Formats `extra`, one key a line: `item.in_stock = 1`. Texts are quoted to distinguish them from
/// numbers. Violated rules of the tracking plan follow: `plan: currency: required`.
fn shown_extra(extra: &Value) -> String {
    let parts = extra.as_object().into_iter().flatten();
    let lines = parts.flat_map(|(part, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, value)| {
            let key = display::terminal(key, MAX_VALUE);
            let value = display::terminal(&value.to_string(), MAX_VALUE);
            format!("{part}.{key} = {value}")
        })
    });
    let rules = extra.get("plan").and_then(Value::as_array);
    let rules = rules.into_iter().flatten().filter_map(Value::as_str);
    let rules = rules.map(|rule| format!("plan: {}", display::terminal(rule, MAX_DETAIL)));
    Vec::from_iter(lines.chain(rules)).join("\n")
}

fn now_millis() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use connector_common::escape::escaped;

    use super::*;

    #[test]
    fn every_column_of_a_fact_is_shown() {
        let body = r#"{
            "event_id": "e", "event_name": "n", "ts": 1795382400, "user_id": "u", "client_id": "c",
            "session_id": "s", "platform": "IOS", "utm_source": "s", "utm_medium": "m",
            "utm_campaign": "c", "device_category": "d", "country": "c", "app_version": "1",
            "currency": "EUR", "value": 1, "transaction_id": "t", "tax": 1, "shipping": 1,
            "coupon": "c", "x": 1,
            "items": [{
                "item_id": "i", "item_name": "n", "item_brand": "b", "category": "a/b/c/d/e",
                "item_variant": "v", "item_list_id": "l", "item_list_name": "l", "index": 1,
                "price": 1, "quantity": 1, "discount": 1, "price_in_usd": 1, "item_revenue": 1,
                "item_revenue_in_usd": 1, "item_refund": 1, "item_refund_in_usd": 1, "coupon": "c",
                "affiliation": "a", "location_id": "l", "promotion_id": "p", "promotion_name": "p",
                "creative_name": "c", "creative_slot": "s"
            }]
        }"#;
        let envelope = fact_model::flatten(body.as_bytes());
        let row = row(&envelope.facts[0]).unwrap();
        let mut columns = COLUMNS.to_vec();
        columns.sort_unstable();
        let mut keys: Vec<_> = row.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, columns);
    }

    fn printed(body: &str) -> String {
        let mut tables = Tables {
            out: Vec::new(),
            rows: Vec::new(),
            rejected: 0,
            lines: true,
        };
        tables
            .print(7, body.as_bytes(), &fact_model::flatten(body.as_bytes()))
            .unwrap();
        tables.finish().unwrap();
        String::from_utf8(tables.out).unwrap()
    }

    #[test]
    fn a_rejection_shows_its_place() {
        assert_eq!(
            printed(r#"{"name":"a","ts":1795382400,"items":[{},7]}"#),
            "line 7: rejected: bad-items at $.items[1]\n  item 2 of 2 is not an object\n  \
             {\"name\":\"a\",\"ts\":1795382400,\"items\":[{},7]}\n                                          ^\n\n0 facts, 1 rejected\n"
        );
    }

    #[test]
    fn a_table_has_the_columns_that_have_values() {
        let printed =
            printed(r#"{"name":"a","ts":1795382400,"event_id":"e","items":[{"item_id":"x\ny"}]}"#);
        let header = printed
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>();
        assert_eq!(
            header,
            [
                "│",
                "line",
                "event_time",
                "event_name",
                "event_id",
                "item_ordinal",
                "product_id",
                "fact_hash",
                "│"
            ]
        );
        assert!(printed.contains(" x y "), "{printed}");
        assert!(printed.ends_with("1 fact, 0 rejected\n"));
    }

    #[test]
    fn each_extra_key_has_a_line() {
        let printed = printed(
            r#"{"name":"a","ts":1795382400,"replay_timestamp":"2026-02-03T10:11:12Z","items":[{"item_id":"x","in_stock":1,"number_of_installments":"12","color":null}]}"#,
        );
        for line in [
            r#"event.replay_timestamp = "2026-02-03T10:11:12Z""#,
            "item.in_stock = 1 ",
            r#"item.number_of_installments = "12""#,
        ] {
            assert!(printed.contains(line), "no «{line}» in\n{printed}");
        }
    }

    #[test]
    fn a_row_of_a_queue_shows_its_params_and_its_truncation() {
        let body = r#"{"event_timestamp":1762101121131069,"event_name":"view_item","items":"[{item_id=A1, item_name=Sartén, 24 cm, item_params=[{key=in_stock, value={string_value=null, int_value=1, float_value=null, double_value=null}}, {key=discounts, value={string_value=A|B, int_value=null, float_value=null, double_value=null}}]}]"}"#;
        let whole = printed(body);
        for part in [
            " Sartén, 24 cm ",
            r#"item.discounts = "A|B" "#,
            "item.in_stock = 1 ",
        ] {
            assert!(whole.contains(part), "no «{part}» in\n{whole}");
        }
        let cut = printed(&body.replace("double_value=null}}]}]", "double_value=nu"));
        let lines: Vec<&str> = cut.lines().collect();
        assert!(
            lines[0].starts_with("line 7: rejected: bad-items at $.items"),
            "{cut}"
        );
        assert!(
            lines[2].ends_with("float_value=null, double_value=nu"),
            "{cut}"
        );
        // Below the end of the text, where the value should have ended.
        assert_eq!(lines[3].trim(), "^");
        assert_eq!(lines[3].chars().count(), lines[2].chars().count() + 1);
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        for body in [
            "{\"name\":\"a\",\"ts\":1795382400,\"k\u{9b}31m\u{202e}\":\"\u{85}v\",\"items\":[{\"item_id\":\"\\u001b]0;x\\u0007\"}]}",
            "{\"name\":\"a\",\"ts\":\"\\u001b[31m\u{9b}1m\"}",
            "{\"name\":\"a\",\"ts\":1795382400,\"items\":[{\"\\u001b[31m\":1},\"\u{9b}\"]}",
            "no event \u{1b}[31m",
            "{\"name\":\"a\u{2066}\",\"ts\":1795382400,\"items\":[{\"item_name\":\"\u{200b}x\u{2028}\"}]}",
            "{\"name\":\"a\",\"ts\":1795382400,\"items\":\"[{item_id=\\u001b[31m, item_name=\u{9b}31m\"}",
        ] {
            let printed = printed(body);
            let raw: Vec<char> = printed
                .chars()
                .filter(|c| *c != '\n' && escaped(&c.to_string()) != c.to_string())
                .collect();
            assert!(raw.is_empty(), "{raw:?} of {body:?} in\n{printed:?}");
        }
    }
}
