//! The fields of the JSON that `etl` prints are described in `docs/etl.md` as in the structs' doc
//! comments; `UPDATE_DOCS=1` writes them.
#![allow(clippy::unwrap_used, reason = "tests")]

use config_docs::Package;

const PAGE: &str = "../docs/etl.md";

#[test]
fn the_fields_of_status_are_described() {
    let files = ["reading", "database", "sinks", "lake"];
    let files = files.map(|file| format!("src/status/{file}.rs"));
    let files = files.each_ref().map(String::as_str);
    let package = Package::of_files(env!("CARGO_MANIFEST_DIR"), &files).unwrap();
    package
        .check_json(PAGE, "etl status --json", "Reading")
        .unwrap();
}

#[test]
fn the_fields_of_lake_status_are_described() {
    let files = ["src/lake/status.rs"];
    let package = Package::of_files(env!("CARGO_MANIFEST_DIR"), &files).unwrap();
    package
        .check_json(PAGE, "etl lake status --json", "State")
        .unwrap();
}
