//! Any bytes as a message body: every format that events arrive in.
#![no_main]

#[path = "../../fact-model/tests/checked/mod.rs"]
mod checked;

libfuzzer_sys::fuzz_target!(|body: &[u8]| checked::check(body));
