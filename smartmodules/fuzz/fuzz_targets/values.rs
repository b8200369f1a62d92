//! Fuzzes the time, amounts, currency and category of an event.
#![no_main]

#[path = "../../fact-model/tests/support/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|value: &str| checks::check_values(value));
