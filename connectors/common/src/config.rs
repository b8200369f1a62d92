//! The connector's YAML document: Fluvio's `apiVersion`, `meta` and `transforms`, and the
//! connector's own section.
//!
//! Fluvio's public format, both `apiVersion`s. Unlike upstream's SDK, a field that nobody reads is
//! an error that names it: a misspelt `max-in-flight` must not silently mean the default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use fluvio::Compression;
use fluvio::metadata::topic::TopicSpec;
use fluvio::metadata::topic::config::TopicConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::offset::ConsumerOffset;
use crate::secrets::Secrets;
use crate::transforms::Transform;

/// A configuration, read and found sound.
#[derive(Debug)]
pub struct Connector<C> {
    /// What every Fluvio connector has: name, topic, producer or consumer.
    pub meta: Meta,
    /// The SmartModules of the stream, in order.
    pub transforms: Vec<Transform>,
    /// The connector's own section.
    pub config: C,
}

/// Refuses combinations that each field alone allows.
pub trait Validate {
    /// # Errors
    /// The reason, as a sentence that says what to change.
    fn validate(&self) -> Result<(), String>;
}

/// The section `meta`.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The connector's name, unique in its cluster.
    pub name: String,
    /// The kind of connector, `sqs-source` for example.
    pub type_: String,
    /// The connector's version, which `cdk` picks the package by.
    pub version: String,
    /// The topic at the Fluvio end.
    pub topic: Topic,
    /// How records are read from the topic.
    pub consumer: Consumer,
    /// How records are written to the topic.
    pub producer: Producer,
}

/// `meta.topic`: a name (`apiVersion: 0.1.0`) or a whole topic (`0.2.0`).
#[derive(Clone, Debug)]
pub struct Topic {
    /// The topic's name.
    pub name: String,
    /// What to create where the topic does not exist yet: one partition unless the file says more.
    pub spec: TopicSpec,
}

/// `meta.consumer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Consumer {
    /// Which partitions to read: `all` (default), a number or a list of numbers.
    #[serde(default)]
    pub partition: Partitions,
    /// The largest response to ask the cluster for (`8MB`, `1MiB`).
    #[serde(default, alias = "max_bytes")]
    pub max_bytes: Option<ByteSize>,
    /// The name that the offsets reached are kept under; the connector's name unless given.
    #[serde(default)]
    pub id: Option<String>,
    /// Where to begin.
    #[serde(default)]
    pub offset: ConsumerOffset,
}

/// The partitions a consumer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Partitions {
    /// Every partition that the topic has.
    #[default]
    All,
    /// These.
    Some(Vec<u32>),
}

impl<'de> Deserialize<'de> for Partitions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected `all`, a partition number or a list of them"
        )]
        enum Form {
            Word(String),
            One(u32),
            Many(Vec<u32>),
        }
        match Form::deserialize(deserializer)? {
            Form::Word(word) if word == "all" => Ok(Self::All),
            Form::One(partition) => Ok(Self::Some(vec![partition])),
            Form::Many(mut partitions) if !partitions.is_empty() => {
                partitions.sort_unstable();
                partitions.dedup();
                Ok(Self::Some(partitions))
            }
            Form::Word(_) | Form::Many(_) => Err(serde::de::Error::custom(
                "expected `all`, a partition number or a list of them",
            )),
        }
    }
}

/// `meta.producer`. What is absent is the Fluvio client's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Producer {
    /// How long a batch waits for more records before it is sent (`50ms`).
    #[serde(default, with = "humantime_serde")]
    pub linger: Option<Duration>,
    /// The size at which a batch is sent without waiting (`256KB`).
    #[serde(default, alias = "batch_size")]
    pub batch_size: Option<ByteSize>,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    pub compression: Option<Compression>,
}

/// Why a configuration can't be used. No variant shows a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that can't be read.
    #[error("cannot read the {what} file {}", path.display())]
    Read {
        /// Which file it is.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file that is no YAML.
    #[error("{}: not valid YAML: {detail}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and what, from the parser.
        detail: String,
    },
    /// A field that is missing, unknown or of another type.
    #[error("{detail}")]
    Field {
        /// Which field and what is wrong with it.
        detail: String,
    },
    /// A value or a combination that can't work.
    #[error("{0}")]
    Invalid(String),
    /// A declared secret without a value.
    #[error("the secret `{name}` has no value; looked in {looked_in}")]
    SecretMissing {
        /// The secret's name.
        name: String,
        /// Where a value was expected.
        looked_in: String,
    },
    /// A name that Fluvio's packages don't allow.
    #[error(
        "the secret name `{0}` is not allowed: ASCII letters, digits and `_`, not starting with a digit"
    )]
    SecretName(String),
    /// A `${{ … }}` that can't be filled in.
    #[error("{0}")]
    Template(String),
}

impl<C: DeserializeOwned + Validate> Connector<C> {
    /// Reads the document at `config`, in which the connector's own section is called `section`.
    ///
    /// # Errors
    /// The first thing found wrong, naming the file and the field.
    pub fn load(section: &str, config: &Path, secrets: Option<&Path>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(config).map_err(|source| ConfigError::Read {
            what: "configuration",
            path: config.to_owned(),
            source,
        })?;
        let in_file = |error: ConfigError| match error {
            ConfigError::Field { detail } => ConfigError::Field {
                detail: format!("{}: {detail}", config.display()),
            },
            ConfigError::Invalid(detail) => {
                ConfigError::Invalid(format!("{}: {detail}", config.display()))
            }
            ConfigError::Template(detail) => {
                ConfigError::Template(format!("{}: {detail}", config.display()))
            }
            other => other,
        };
        let document = serde_saphyr::from_str(&text).map_err(|error| ConfigError::Yaml {
            path: config.to_owned(),
            detail: error.to_string(),
        })?;
        Self::from_document(section, document, secrets).map_err(in_file)
    }

    fn from_document(
        section: &str,
        mut document: Value,
        secrets: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let declared = declared_secrets(&document);
        let secrets = Secrets::read(&declared, secrets)?;
        secrets.fill_in(&mut document)?;
        Self::parse(section, document).map_err(|error| match error {
            ConfigError::Field { detail } => ConfigError::Field {
                detail: secrets.redact(&detail),
            },
            ConfigError::Invalid(detail) => ConfigError::Invalid(secrets.redact(&detail)),
            other => other,
        })
    }

    fn parse(section: &str, document: Value) -> Result<Self, ConfigError> {
        let Value::Object(mut fields) = document else {
            return Err(ConfigError::Field {
                detail: "expected a mapping with `apiVersion` and `meta`".to_owned(),
            });
        };
        let version = ApiVersion::of(fields.remove("apiVersion"))?;
        let meta = Meta::parse(version, fields.remove("meta").unwrap_or_default())?;
        let transforms = match fields.remove("transforms") {
            None | Some(Value::Null) => Vec::new(),
            Some(steps) => read("transforms", steps)?,
        };
        let own = fields
            .remove(section)
            .unwrap_or_else(|| Value::Object(Map::new()));
        if let Some(unknown) = fields.keys().next() {
            return Err(ConfigError::Field {
                detail: format!(
                    "unknown section `{unknown}`; expected `apiVersion`, `meta`, `transforms` and `{section}`"
                ),
            });
        }
        let config: C = read(section, own)?;
        config
            .validate()
            .map_err(|reason| ConfigError::Invalid(format!("{section}: {reason}")))?;
        Ok(Self {
            meta,
            transforms,
            config,
        })
    }
}

#[derive(Clone, Copy)]
enum ApiVersion {
    TopicByName,
    TopicInFull,
}

impl ApiVersion {
    fn of(value: Option<Value>) -> Result<Self, ConfigError> {
        match value.as_ref().map(Value::as_str) {
            None | Some(Some("0.0.0" | "0.1.0")) => Ok(Self::TopicByName),
            Some(Some("0.2.0")) => Ok(Self::TopicInFull),
            Some(_) => Err(ConfigError::Field {
                detail: "`apiVersion` must be 0.1.0 or 0.2.0".to_owned(),
            }),
        }
    }
}

impl Meta {
    fn parse(version: ApiVersion, meta: Value) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Form {
            name: String,
            #[serde(rename = "type")]
            type_: String,
            version: String,
            topic: Value,
            #[serde(default)]
            consumer: Consumer,
            #[serde(default)]
            producer: Producer,
            #[serde(default, rename = "secrets")]
            _secrets: Value,
        }
        let form: Form = read("meta", meta)?;
        form.consumer.offset.check().map_err(ConfigError::Invalid)?;
        let topic = match version {
            ApiVersion::TopicByName => Topic {
                name: read("meta.topic", form.topic)?,
                spec: TopicSpec::new_computed(1, 1, None),
            },
            ApiVersion::TopicInFull => {
                let topic: TopicConfig = read("meta.topic", form.topic)?;
                Topic {
                    name: topic.meta.name.clone(),
                    spec: topic.into(),
                }
            }
        };
        Ok(Self {
            name: form.name,
            type_: form.type_,
            version: form.version,
            topic,
            consumer: form.consumer,
            producer: form.producer,
        })
    }
}

/// The names under `meta.secrets`, read before the document is whole.
fn declared_secrets(document: &Value) -> Vec<String> {
    let entries = document.pointer("/meta/secrets").and_then(Value::as_array);
    let names = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// Reads `value`, the part of the document at `place`, refusing what it would leave unread.
fn read<T: DeserializeOwned>(place: &str, value: Value) -> Result<T, ConfigError> {
    let mut unread = None;
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| {
        unread.get_or_insert_with(|| path.to_string());
    });
    match (parsed, unread) {
        (Ok(parsed), None) => Ok(parsed),
        (Ok(_), Some(field)) => Err(ConfigError::Field {
            detail: format!("unknown field `{place}.{field}`"),
        }),
        (Err(error), _) => {
            let path = track.path().to_string();
            let at = if path == "." {
                place.to_owned()
            } else {
                format!("{place}.{path}")
            };
            Err(ConfigError::Field {
                detail: format!("`{at}`: {error}"),
            })
        }
    }
}
