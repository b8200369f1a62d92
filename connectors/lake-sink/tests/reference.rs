//! The copies of the configuration are those of the struct.
#![allow(clippy::unwrap_used, reason = "tests")]

use config_docs::Package;
use lake_sink::Config;
use serde_json::Map;

#[test]
fn reference_manifest_and_sample_follow_the_struct() {
    let mut required = Map::new();
    required.insert("warehouse".to_owned(), "s3://bucket/lake".into());
    required.insert(
        "catalog-url".to_owned(),
        "postgres://user@host/database".into(),
    );
    let package = Package::read(env!("CARGO_MANIFEST_DIR")).unwrap();
    package
        .check_connector::<Config>("lake", &required)
        .unwrap();
}
