//! Benchmarks the built modules in Fluvio's engine and the same code natively.
//!
//! It measures the CPU time of its thread, so a busy machine has little effect. Each figure is the
//! best of several interleaved rounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::time::Duration;

use fact_model::Envelope;
use fluvio_protocol::Encoder as _;
use fluvio_protocol::record::Record;
use fluvio_smartengine::{DEFAULT_SMARTENGINE_VERSION, SmartModuleChainInstance};
use fluvio_smartmodule::dataplane::smartmodule::SmartModuleInput;
use smartmodule_guest::batch::{Flattener, Records};

/// Makes the event with a number.
type Event = fn(usize) -> String;

/// The kinds of events. Without an id the whole content is hashed; items in a string are unescaped
/// first. The last two have the same items as Java prints rows and as JSON in a string.
const KINDS: [(&str, Event); 5] = [
    ("with an event id", support::event),
    ("without", |number| {
        support::event(number).replacen("event_id", "other_id", 1)
    }),
    ("items in a string", |number| {
        let mut event: serde_json::Value = serde_json::from_str(&support::event(number)).unwrap();
        event["items"] = event["items"].to_string().into();
        event.to_string()
    }),
    ("rows as Java prints them", |number| {
        queue_event(number, ROW)
    }),
    ("the same as JSON in a string", |number| {
        queue_event(number, JSON)
    }),
];

/// The tokens around a name, between name and value, and around a text.
type Print = [&'static str; 3];
const ROW: Print = ["", "=", ""];
const JSON: Print = ["\"", "\":", "\""];

/// Makes an event with three items, each with all columns of GA4's export and three parameters.
fn queue_event(number: usize, [quote, is, quoted]: Print) -> String {
    let row = |fields: &[(&str, &str)]| {
        let is_bare = |value: &str| value == "null" || value.starts_with(['[', '{', '1', '8']);
        let print = |(name, value): &(&str, &str)| {
            let mark = if is_bare(value) { "" } else { quoted };
            format!("{quote}{name}{is}{mark}{value}{mark}")
        };
        let fields: Vec<String> = fields.iter().map(print).collect();
        format!("{{{}}}", fields.join(", "))
    };
    let nothing = "(not set)";
    let param = |key: &str, int: &str, double: &str| {
        let values = [
            ("string_value", "null"),
            ("int_value", int),
            ("float_value", "null"),
            ("double_value", double),
        ];
        row(&[("key", key), ("value", &row(&values))])
    };
    let item = |place: usize| {
        let params = [
            param("in_stock", "1", "null"),
            param("discountt", "null", "150.5"),
            param("totalPrice", "null", "899.0"),
        ];
        row(&[
            ("item_id", &format!("prod_{number}_{place}")),
            ("item_name", "Audífonos Lira 520, con Micrófono (negro)"),
            ("item_brand", nothing),
            ("item_variant", nothing),
            ("item_category", nothing),
            ("item_category2", nothing),
            ("item_category3", nothing),
            ("item_category4", nothing),
            ("item_category5", nothing),
            ("price_in_usd", "null"),
            ("price", "899.0"),
            ("quantity", "null"),
            ("item_revenue_in_usd", "null"),
            ("item_revenue", "null"),
            ("item_refund_in_usd", "null"),
            ("item_refund", "null"),
            ("coupon", nothing),
            ("affiliation", nothing),
            ("location_id", nothing),
            ("item_list_id", "list_0"),
            ("item_list_name", "Audífonos"),
            ("item_list_index", nothing),
            ("promotion_id", nothing),
            ("promotion_name", nothing),
            ("creative_name", nothing),
            ("creative_slot", nothing),
            ("item_params", &format!("[{}]", params.join(", "))),
        ])
    };
    let items: Vec<String> = (1..=3).map(item).collect();
    serde_json::json!({
        "event_timestamp": 1_762_101_113_131_045_usize + number, "user_id": "user_0001",
        "event_name": "view_item_list", "platform": "ANDROID",
        "items": format!("[{}]", items.join(", ")), "replay_timestamp": "2025-11-02T16:40:07.512Z",
    })
    .to_string()
}
const EVENTS: usize = 1000;
const BATCH: usize = 16 * 1024;
const ROUNDS: usize = 7;
/// The number of times that a round processes all events.
const REPEATS: usize = 10;

fn main() {
    // `cargo test` runs a bench without `--bench`: one round shows that it works.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        1
    };
    println!("| events | | µs of CPU a record | records/s a core | of native |");
    println!("|---|---|---:|---:|---:|");
    for (kind, event) in KINDS {
        let batches = batches(event);
        let mut native = [
            Flattener::new(put_envelope as fn(&Envelope<'_>, &mut Records<'_>)),
            Flattener::new(put_facts),
        ];
        let mut chains = ["flatten-items", "list-items"].map(support::chain);
        let mut best = [[Duration::MAX; 2]; 2];
        for _ in 0..rounds {
            for module in 0..2 {
                let times = [
                    time_native(&mut native[module], &batches),
                    time_engine(&mut chains[module], &batches),
                ];
                for (best, time) in best[module].iter_mut().zip(times) {
                    *best = time.min(*best);
                }
            }
        }
        for (name, [native, engine]) in ["flatten-items", "list-items"].into_iter().zip(best) {
            for (place, time) in [("native", native), ("in the engine", engine)] {
                let micros = time.as_secs_f64() * 1e6 / (EVENTS * REPEATS) as f64;
                println!(
                    "| {kind} | `{name}` {place} | {micros:.2} | {:.0} | {:.0}% |",
                    1e6 / micros,
                    100.0 * native.as_secs_f64() / time.as_secs_f64()
                );
            }
        }
    }
}

fn put_envelope(envelope: &Envelope<'_>, records: &mut Records<'_>) {
    records.put(|value| envelope.write_json(value));
}

fn put_facts(envelope: &Envelope<'_>, records: &mut Records<'_>) {
    for fact in &envelope.facts {
        records.put(|value| fact.write_json(value));
    }
}

/// Makes all events, in batches of a producer's default size.
fn batches(event: fn(usize) -> String) -> Vec<SmartModuleInput> {
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    let in_a_batch = BATCH / events[0].len();
    events
        .chunks(in_a_batch)
        .map(|events| support::input(events.iter().cloned().map(Record::new).collect()))
        .collect()
}

fn time_native(flattener: &mut Flattener, batches: &[SmartModuleInput]) -> Duration {
    let version = DEFAULT_SMARTENGINE_VERSION;
    let encoded: Vec<Vec<u8>> = batches
        .iter()
        .map(|batch| {
            let mut bytes = Vec::new();
            batch.encode(&mut bytes, version).unwrap();
            bytes
        })
        .collect();
    let start = cpu_time();
    for _ in 0..REPEATS {
        for batch in &encoded {
            assert!(flattener.flatten(batch, version.into()).unwrap() > 0);
        }
    }
    cpu_time() - start
}

fn time_engine(chain: &mut SmartModuleChainInstance, batches: &[SmartModuleInput]) -> Duration {
    let start = cpu_time();
    for _ in 0..REPEATS {
        for batch in batches {
            let output = chain.process(batch.clone()).unwrap();
            assert!(output.error.is_none() && !output.successes.is_empty());
        }
    }
    cpu_time() - start
}

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}
