//! The reference of the sections that all connectors share.
#![allow(clippy::unwrap_used, reason = "tests")]

use config_docs::Package;

#[test]
fn reference_is_made_from_the_structs() {
    let package = Package::read(env!("CARGO_MANIFEST_DIR")).unwrap();
    for (section, definition) in [
        ("meta.consumer", "Consumer"),
        ("meta.consumer.offset", "ConsumerOffset"),
        ("meta.producer", "Producer"),
        ("transforms", "Transform"),
        ("transforms.lookback", "Lookback"),
    ] {
        package.check_section(section, definition).unwrap();
    }
}
