//! The copies of the configuration are those of the struct.
#![allow(clippy::unwrap_used, reason = "tests")]

use config_docs::Package;
use serde_json::Map;
use sqs_source::Config;

#[test]
fn reference_manifest_and_sample_follow_the_struct() {
    let package = Package::read(env!("CARGO_MANIFEST_DIR")).unwrap();
    package
        .check_connector::<Config>("sqs", &Map::new())
        .unwrap();
}
