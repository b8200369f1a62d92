//! A short fuzz run without a special compiler: it changes the fuzz targets' samples at random,
//! with a fixed seed. `FUZZ_ROUNDS` makes it longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/checks.rs"]
mod checks;

use std::path::Path;
use std::time::{Duration, Instant};

/// The number of bodies made of each sample.
const ROUNDS: usize = 300;

/// Tokens that parsers often mishandle.
const TOKENS: [&str; 27] = [
    "\"",
    "\\",
    "\\\"",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    ",",
    "~",
    "~~",
    "&",
    "=",
    "%",
    "%00",
    "null",
    "1e999",
    "Bundle[{",
    "\u{feff}",
    "\0",
    ", price=",
    "}, {item_id=",
    "}]}",
];

#[test]
fn changed_bodies() {
    run("body", checks::check);
}

#[test]
fn changed_items() {
    run("items", |items| {
        checks::check_items(&String::from_utf8_lossy(items));
    });
}

#[test]
fn changed_values() {
    let samples = [
        "2026-11-22T21:20:00.123456+02:00",
        "1795382400000",
        "1.234,56",
        "€ 9,99",
        "1\u{a0}299,50",
        "9.90 EUR",
        "usd",
        "-0.5e-3",
        "Apparel/Adult/ Shirts",
        "(not set)",
    ];
    let samples: Vec<Vec<u8>> = samples
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    change(&samples, |value| {
        checks::check_values(&String::from_utf8_lossy(value))
    });
}

fn run(corpus: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(corpus);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // Samples that a long fuzz run has added are named by a hash.
    files.retain(|file| file.file_name().is_some_and(|name| name.len() < 40));
    files.sort();
    let samples: Vec<Vec<u8>> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(samples.len() > 9, "{}: too few samples", folder.display());
    change(&samples, check);
}

fn change(samples: &[Vec<u8>], check: impl Fn(&[u8])) {
    let rounds = std::env::var("FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut random = Random(0x5eed);
    for sample in samples {
        check(sample);
        for _ in 0..rounds {
            let mut body = sample.clone();
            for _ in 0..=random.below(4) {
                random.change(&mut body, samples);
            }
            let start = Instant::now();
            check(&body);
            // It takes microseconds. The limit leaves room for a debug build on a busy machine, but
            // not for quadratic code.
            let took = start.elapsed();
            assert!(took < Duration::from_secs(5), "{took:?} for {body:?}");
        }
    }
}

/// The next number of xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn change(&mut self, body: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.below(body.len() + 1);
        let end = (at + self.below(20)).min(body.len());
        match self.below(6) {
            0 if at < body.len() => body[at] = self.below(256) as u8,
            1 => drop(body.drain(at..end)),
            2 => {
                let twice = body[at..end].to_vec();
                body.splice(at..at, twice);
            }
            3 => body.truncate(at),
            4 => {
                let other = &samples[self.below(samples.len())];
                let from = self.below(other.len());
                let to = (from + self.below(40)).min(other.len());
                body.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                body.splice(at..at, token.bytes());
            }
        }
    }
}
