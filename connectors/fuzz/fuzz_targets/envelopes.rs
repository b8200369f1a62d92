//! Fuzzes the sink's decoding of records, and the rows that it copies from them.
#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| warehouse::checks::check_envelope(value));
