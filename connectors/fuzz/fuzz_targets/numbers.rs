//! Fuzzes the numbers of rows: each is the same in PostgreSQL's binary form.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| warehouse::checks::check_number(text));
