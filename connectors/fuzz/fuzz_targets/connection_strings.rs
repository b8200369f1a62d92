//! Fuzzes connection strings, in which a password can be anywhere. No error shows it, unless it is
//! the name of a service.
#![no_main]

use connector_common::Secret;
use libfuzzer_sys::fuzz_target;
use warehouse::Settings;

const PASSWORD: &str = "hunter2";

fuzz_target!(|parts: (&str, &str)| {
    let (before, behind) = parts;
    if [before, behind]
        .iter()
        .any(|part| part.contains(PASSWORD) || part.contains("service"))
    {
        return;
    }
    for url in [
        format!("{before}{behind}"),
        format!("{before}password={PASSWORD}{behind}"),
        format!("postgres://{before}:{PASSWORD}{behind}"),
        format!("postgres://u@db/x?{before}password={PASSWORD}{behind}"),
    ] {
        let settings = Settings::new(Secret::from(url.clone()), "fuzz");
        assert!(!format!("{settings:?}").contains(PASSWORD));
        if let Err(error) = settings.validate() {
            let error = error.chain();
            assert!(!error.contains(PASSWORD), "{url}: {error}");
        }
    }
});
