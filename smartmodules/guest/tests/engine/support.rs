//! Opens the built modules in the SPU's engine and makes events for them.

use std::path::PathBuf;

use fluvio_protocol::record::Record;
use fluvio_smartengine::{
    DEFAULT_SMARTENGINE_VERSION, SmartEngine, SmartModuleChainBuilder, SmartModuleChainInstance,
    SmartModuleConfig,
};
use fluvio_smartmodule::dataplane::smartmodule::SmartModuleInput;

/// Reads the module that the build script puts beside the binaries.
pub fn module(name: &str) -> Vec<u8> {
    let test = std::env::current_exe().unwrap();
    let path: PathBuf = test.ancestors().nth(2).unwrap().join(name);
    let path = path.with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run smartmodules/build.sh first",
            path.display()
        )
    })
}

/// Opens a chain of one module with `parameters`, like a stream, with at most `memory` bytes.
pub fn open(
    name: &str,
    parameters: &[(&str, &str)],
    memory: usize,
) -> Result<SmartModuleChainInstance, String> {
    let mut config = SmartModuleConfig::builder();
    config.smartmodule_names(&[name.to_owned()]);
    for (name, value) in parameters {
        config.param(*name, *value);
    }
    let mut builder = SmartModuleChainBuilder::default();
    builder.set_store_memory_limit(memory);
    builder.add_smart_module(config.build().unwrap(), module(name));
    builder
        .initialize(&SmartEngine::new())
        .map_err(|error| error.to_string())
}

/// Opens a chain without parameters, with the SPU's memory limit.
pub fn chain(name: &str) -> SmartModuleChainInstance {
    open(name, &[], 1_000_000_000).unwrap()
}

/// Makes a batch of records that were written at 2026-11-22T21:20:00Z.
pub fn input(records: Vec<Record>) -> SmartModuleInput {
    let mut input =
        SmartModuleInput::try_from_records(records, DEFAULT_SMARTENGINE_VERSION).unwrap();
    input.set_base_offset(4711);
    input.set_base_timestamp(1_795_382_400_000);
    input
}

/// Makes an event of about 1 KB with five items.
pub fn event(number: usize) -> String {
    let items: Vec<String> = (1..=5)
        .map(|item| {
            format!(
                "{{\"item_id\":\"SKU-{number}-{item}\",\"item_name\":\"Stan and Friends Tee\",\
                 \"item_brand\":\"Google\",\"item_category\":\"Apparel/Adult/Shirts\",\
                 \"price\":{}.90,\"quantity\":1,\"index\":{item}}}",
                number % 100
            )
        })
        .collect();
    format!(
        "{{\"event_id\":\"e-{number}\",\"event_name\":\"view_item_list\",\
         \"event_time\":\"2026-11-22T21:20:00.123456Z\",\"user_pseudo_id\":\"u-{}\",\
         \"session_id\":\"s-{}\",\"platform\":\"IOS\",\"item_list_id\":\"l-1\",\
         \"item_list_name\":\"Related products\",\"currency\":\"USD\",\"app_version\":\"3.1.4\",\
         \"items\":[{}]}}",
        number % 977,
        number % 1999,
        items.join(",")
    )
}
