//! Fuzzes the `items` of an event in every format.
#![no_main]

#[path = "../../fact-model/tests/support/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|items: &str| checks::check_items(items));
