//! Fuzzes message bodies in every format.
#![no_main]

#[path = "../../fact-model/tests/support/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|body: &[u8]| checks::check(body));
