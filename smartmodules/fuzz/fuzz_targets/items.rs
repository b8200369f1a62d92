//! Any text as the `items` of an event: every format that they are written in.
#![no_main]

#[path = "../../fact-model/tests/checked/mod.rs"]
mod checked;

libfuzzer_sys::fuzz_target!(|items: &str| checked::check_items(items));
