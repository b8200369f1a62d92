//! Any text as the time, the amounts, the currency and the category of an event.
#![no_main]

#[path = "../../fact-model/tests/checked/mod.rs"]
mod checked;

libfuzzer_sys::fuzz_target!(|value: &str| checked::check_values(value));
