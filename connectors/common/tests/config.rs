//! The configuration file: every part of the format, and the errors for mistakes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::path::PathBuf;
use std::time::Duration;

use connector_common::{Connector, Error, Partitions, Secret, Start, Validate, smartmodules};
use fluvio::{Compression, SmartModuleInvocationWasm};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Deserialize;
use tempfile::TempDir;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Own {
    password: Secret,
    #[serde(default)]
    rows: Option<u32>,
}

impl Validate for Own {
    fn validate(&self) -> Result<(), Error> {
        if self.rows == Some(0) {
            Err(Error::Invalid("`rows` must be at least 1".to_owned()))
        } else {
            Ok(())
        }
    }
}

struct Files {
    _folder: TempDir,
    config: PathBuf,
    secrets: PathBuf,
}

fn files(config: &str, secrets: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let files = Files {
        config: folder.path().join("connector.yaml"),
        secrets: folder.path().join("secrets.txt"),
        _folder: folder,
    };
    std::fs::write(&files.config, config).unwrap();
    std::fs::write(&files.secrets, secrets).unwrap();
    files
}

fn load(config: &str, secrets: &str) -> Result<Connector<Own>, String> {
    let files = files(config, secrets);
    Connector::load("own", &files.config, Some(&files.secrets)).map_err(|error| error.to_string())
}

fn error(config: &str, secrets: &str) -> String {
    load(config, secrets).expect_err("the file is wrong")
}

const SOUND: &str = r"
apiVersion: 0.1.0
meta:
  name: shop
  type: own-sink
  version: 0.1.0
  topic: events
  consumer:
    partition: [2, 0, 2]
    max_bytes: 8MB
  producer:
    linger: 20ms
    batch-size: 256KB
    compression: zstd
  secrets:
    - name: PASSWORD
transforms:
  - uses: flatten-items
    with:
      limit: 5
      names: [a, b]
own:
  password: ${{ secrets.PASSWORD }}
  rows: 3
";

#[test]
fn every_part_of_the_public_format_is_parsed() {
    let connector = load(SOUND, "OTHER=no\nPASSWORD = p: \"q\" #1 \n").unwrap();
    let meta = &connector.meta;
    assert_eq!(
        (
            meta.name.as_str(),
            meta.type_.as_str(),
            meta.topic.name.as_str()
        ),
        ("shop", "own-sink", "events")
    );
    assert_eq!(meta.consumer.partition, Partitions::Some(vec![0, 2]));
    assert_eq!(meta.consumer.max_bytes.unwrap().as_u64(), 8_000_000);
    assert_eq!(meta.producer.linger, Some(Duration::from_millis(20)));
    assert_eq!(meta.producer.compression, Some(Compression::Zstd));
    assert_eq!(connector.config.password.reveal(), "p: \"q\" #1");
    assert_eq!(connector.config.rows, Some(3));

    let chain = smartmodules(&connector.transforms);
    assert!(matches!(
        &chain[0].wasm,
        SmartModuleInvocationWasm::Predefined(name) if name == "flatten-items"
    ));
    assert_eq!(connector.transforms[0].with["limit"], "5");
    assert_eq!(connector.transforms[0].with["names"], "[\"a\",\"b\"]");
}

#[test]
fn a_response_has_at_least_a_byte_and_less_than_2_gib() {
    let with = |size: &str| SOUND.replace("max_bytes: 8MB", &format!("max_bytes: {size}"));
    let secrets = "PASSWORD=p";
    let largest = load(&with("2147483647B"), secrets).unwrap();
    assert_eq!(largest.meta.consumer.response_bytes(), Some(i32::MAX));
    for size in ["0B", "2GiB"] {
        let error = error(&with(size), secrets);
        assert!(
            error.contains("`meta.consumer.max-bytes`"),
            "{size}: {error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_file_that_is_changed_anywhere_is_parsed_or_refused_without_the_secret(
        at in any::<Index>(),
        removed in 0..40_usize,
        inserted in r#"[a-z:${}\[\]"'&*!|>#, \n-]{0,12}"#,
    ) {
        let at = at.index(SOUND.len());
        let end = SOUND.len().min(at + removed);
        let changed = format!("{}{inserted}{}", &SOUND[..at], &SOUND[end..]);
        if let Err(error) = load(&changed, "PASSWORD=hunter2\n") {
            prop_assert!(!error.contains("hunter2"), "{}: {}", changed, error);
        }
    }
}

#[test]
fn a_consumer_starts_at_the_configured_offset() {
    assert_eq!(
        load(SOUND, "PASSWORD=x")
            .unwrap()
            .meta
            .consumer
            .offset
            .start,
        Start::Beginning
    );
    for (written, expected) in [
        ("beginning", Start::Beginning),
        ("end", Start::End),
        ("{ absolute: 7 }", Start::Absolute(7)),
        ("{ from-beginning: 7 }", Start::FromBeginning(7)),
        ("{ from-end: 7 }", Start::FromEnd(7)),
    ] {
        let offset = format!("id: nightly\n    offset: {{ start: {written}, strategy: none }}");
        let config = SOUND.replace("max_bytes: 8MB", &offset);
        let consumer = load(&config, "PASSWORD=x").unwrap().meta.consumer;
        assert_eq!(consumer.offset.start, expected);
        assert_eq!(consumer.id.as_deref(), Some("nightly"));
    }
    for wrong in [
        "middle",
        "{ absolute: -1 }",
        "{ from-end: 1, absolute: 2 }",
        "{}",
    ] {
        let offset = format!("offset: {{ start: {wrong} }}");
        let message = error(&SOUND.replace("max_bytes: 8MB", &offset), "PASSWORD=x");
        assert!(message.contains("meta.consumer.offset.start"), "{message}");
    }
}

#[test]
fn a_topic_in_full_has_the_settings_to_create_it_with() {
    let config = SOUND.replace("0.1.0\nmeta", "0.2.0\nmeta").replace(
        "topic: events",
        "topic: { meta: { name: events }, partition: { count: 3 }, retention: { time: 7d } }",
    );
    let topic = load(&config, "PASSWORD=hunter2").unwrap().meta.topic;
    assert_eq!(
        (topic.name.as_str(), topic.spec.partitions()),
        ("events", 3)
    );
}

#[test]
fn a_misspelt_field_is_named_with_its_place() {
    for (right, wrong, expected) in [
        ("rows: 3", "row: 3", "`own.row`: unknown field `row`"),
        ("linger:", "lingr:", "unknown field `lingr`"),
        (
            "topic: events",
            "topic: events\n  topics: more",
            "unknown field `topics`",
        ),
        ("transforms:", "transform:", "unknown section `transform`"),
        (
            "partition: [2, 0, 2]",
            "partition: some",
            "expected `all`, a partition number or a list of them",
        ),
        ("rows: 3", "rows: many", "`own.rows`: invalid type"),
        (
            "limit: 5",
            format!("limit: {}", "x".repeat(65_536)).as_str(),
            "`limit` has 65536 bytes, and Fluvio carries up to 65535",
        ),
    ] {
        let message = error(&SOUND.replace(right, wrong), "PASSWORD=hunter2");
        assert!(message.contains(expected), "{wrong}: {message}");
        assert!(message.contains("connector.yaml"), "{message}");
    }
}

#[test]
fn an_unknown_field_deep_in_a_topic_is_named() {
    let config = SOUND.replace("0.1.0\nmeta", "0.2.0\nmeta").replace(
        "topic: events",
        "topic: { meta: { name: events }, partition: { cuont: 3 } }",
    );
    assert!(
        error(&config, "PASSWORD=hunter2").contains("unknown field `meta.topic.partition.cuont`")
    );
}

#[test]
fn settings_that_would_lose_data_are_refused_with_the_reason() {
    for refused in ["strategy: auto", "strategy: manual", "flush-period"] {
        let value = if refused == "flush-period" {
            ": 5s"
        } else {
            ""
        };
        let offset = format!("offset: {{ start: end, {refused}{value} }}");
        let message = error(
            &SOUND.replace("max_bytes: 8MB", &offset),
            "PASSWORD=hunter2",
        );
        assert!(
            message.contains(&format!("`meta.consumer.offset.{refused}` is refused")),
            "{message}"
        );
    }
    assert!(
        error(&SOUND.replace("rows: 3", "rows: 0"), "PASSWORD=hunter2")
            .contains("`rows` must be at least 1")
    );
}

#[test]
fn a_secret_is_missing_undeclared_or_misnamed() {
    assert!(error(SOUND, "PASSWORT=x").contains("the secret `PASSWORD` has no value"));
    assert!(
        error(&SOUND.replace("name: PASSWORD", "name: OTHER"), "OTHER=x")
            .contains("used but not declared")
    );
    assert!(
        error(&SOUND.replace("name: PASSWORD", "name: 1X"), "")
            .contains("secret name `1X` is not allowed")
    );
    assert!(
        error(
            &SOUND.replace("secrets.PASSWORD", "env.PASSWORD"),
            "PASSWORD=hunter2"
        )
        .contains("only `${{ secrets.NAME }}`")
    );
}

#[test]
fn a_secret_of_a_key_that_is_not_needed_may_be_missing() {
    let config = SOUND
        .replace(
            "    - name: PASSWORD",
            "    - name: PASSWORD\n    - name: ROWS",
        )
        .replace("rows: 3", "rows: ${{ secrets.ROWS }}");
    let files = files(&config, "PASSWORD=x");
    let load = |unneeded: &[&str]| -> Result<Connector<Own>, Error> {
        Connector::load_without(unneeded, "own", &files.config, Some(&files.secrets))
    };
    assert_eq!(load(&["rows"]).unwrap().config.rows, None);
    for unneeded in [&[][..], &["password"]] {
        let error = load(unneeded).unwrap_err().to_string();
        assert!(error.contains("the secret `ROWS` has no value"), "{error}");
    }
}

#[test]
fn a_secret_is_not_shown_in_any_message() {
    let config = SOUND.replace("rows: 3", "rows: ${{ secrets.PASSWORD }}");
    let message = error(&config, "PASSWORD=hunter2");
    assert!(
        message.contains("own.rows") && !message.contains("hunter2"),
        "{message}"
    );
    let connector = load(SOUND, "PASSWORD=hunter2").unwrap();
    assert!(!format!("{connector:?}").contains("hunter2"));
}

#[test]
fn a_file_that_is_missing_or_not_yaml_is_named() {
    let missing = Connector::<Own>::load("own", "/nowhere/connector.yaml".as_ref(), None)
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("cannot read the configuration file /nowhere/connector.yaml"),
        "{missing}"
    );
    assert!(error("meta: [", "").contains("not valid YAML"));
    assert!(error("just text", "").contains("expected a mapping"));
}
