//! Fuzzes a connector's file and the file of its secrets. No error shows a secret.
#![no_main]

use std::io::Write;

use connector_common::{Connector, Error, Secret, Validate};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use tempfile::NamedTempFile;

const PASSWORD: &str = "hunter2";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only read")]
struct Own {
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    rows: Option<u32>,
}

impl Validate for Own {
    fn validate(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(content.as_bytes()).expect("room for it");
    file
}

fuzz_target!(|parts: (&str, &str, &str)| {
    let (config, own, secrets) = parts;
    if [config, own, secrets]
        .iter()
        .any(|part| part.contains(PASSWORD))
    {
        return;
    }
    let sound = format!(
        "apiVersion: 0.1.0\nmeta:\n  name: shop\n  type: own-sink\n  version: 0.1.0\n  \
         topic: events\n  secrets:\n    - name: PASSWORD\nown:\n  \
         password: ${{{{ secrets.PASSWORD }}}}\n{own}"
    );
    let secrets = file(&format!("{secrets}\nPASSWORD={PASSWORD}\n"));
    for config in [config, &sound] {
        let config = file(config);
        let loaded = Connector::<Own>::load("own", config.path(), Some(secrets.path()));
        if let Err(error) = loaded {
            let error = error.to_string();
            assert!(!error.contains(PASSWORD), "{error}");
        }
    }
});
