//! The memory that one body takes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::flatten;

/// The most memory that this process has used, in KiB. No other test runs in it.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn repeated_amounts_take_no_more_than_their_size() {
    let keys = (0..2000).map(|n| format!(r#""k{n}":1"#));
    let keys = Vec::from_iter(keys).join(",");
    let before = peak();
    for currency in ["JPY", "EUR"] {
        for price in [r#""price":"1,234""#, r#""price":"1.234""#] {
            let prices = vec![price; 5000].join(",");
            let body = format!(
                r#"{{"event_name":"a","ts":1795382400,"currency":"{currency}",
                    "items":[{{{keys},{prices}}}]}}"#
            );
            assert_eq!(flatten(body.as_bytes()).facts.len(), 1);
        }
    }
    let grown = peak() - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
}
