//! Fuzzes the engine's input to a SmartModule: parameters, and a batch of records. The first two
//! bytes are the version of the interface.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smartmodule_guest::batch::Flattener;
use smartmodule_guest::parameters;

fuzz_target!(|bytes: &[u8]| {
    let _ = parameters::read(bytes);
    if let Some((version, input)) = bytes.split_first_chunk() {
        let mut flattener = Flattener::new(|envelope, records| {
            records.put(|value| envelope.write_json(value));
        });
        let _ = flattener.flatten(input, u16::from_be_bytes(*version).into());
    }
});
