//! The connector's YAML document: Fluvio's `apiVersion`, `meta` and `transforms`, and the
//! connector's own section.
//!
//! This is Fluvio's public format, in both `apiVersion`s. In contrast to upstream's SDK an unknown
//! field is an error that names it: a misspelt `max-in-flight` must not silently mean the default.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fluvio::metadata::topic::TopicSpec;
use fluvio::metadata::topic::config::TopicConfig;
use fluvio::{
    SmartModuleContextData, SmartModuleExtraParams, SmartModuleInvocation,
    SmartModuleInvocationWasm, SmartModuleKind,
};
use fluvio_smartmodule::dataplane::smartmodule;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::meta::{Consumer, Meta, Producer, Topic};
use crate::secrets::{Secrets, is_used};

/// A validated configuration.
#[derive(Debug)]
pub struct Connector<C> {
    /// The section that every Fluvio connector has: name, topic, producer or consumer.
    pub meta: Meta,
    /// The SmartModules of the stream, in order.
    pub transforms: Vec<Transform>,
    /// The connector's own section.
    pub config: C,
}

/// Checks values and combinations that the types of the fields allow.
pub trait Validate {
    /// Checks the section.
    ///
    /// # Errors
    /// [`Error::Invalid`], with a sentence that names the field and the change.
    fn validate(&self) -> Result<(), Error>;

    /// Checks the document's `transforms` against the section. Default: allows all.
    ///
    /// # Errors
    /// As [`Validate::validate`].
    fn validate_transforms(&self, _transforms: &[Transform]) -> Result<(), Error> {
        Ok(())
    }
}

/// One step of `transforms`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// The name of a SmartModule loaded in the cluster.
    pub uses: String,
    /// Parameters for the SmartModule. Values other than strings are passed as JSON text.
    #[serde(default, deserialize_with = "as_json_text")]
    pub with: BTreeMap<String, String>,
    /// Earlier records that the SmartModule receives before it starts.
    #[serde(default)]
    pub lookback: Option<Lookback>,
}

impl Transform {
    /// The parameters, each a name and a value.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.with.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A limit on the earlier records that a SmartModule receives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookback {
    /// Number of records.
    #[serde(default)]
    pub last: u64,
    /// Only records younger than this.
    #[serde(default, with = "humantime_serde")]
    pub age: Option<Duration>,
}

/// The invocations to open a stream with, in the order of `transforms`.
#[must_use]
pub fn smartmodules(transforms: &[Transform]) -> Vec<SmartModuleInvocation> {
    transforms.iter().map(invocation).collect()
}

fn invocation(step: &Transform) -> SmartModuleInvocation {
    let lookback = step.lookback.as_ref().map(|lookback| match lookback.age {
        Some(age) => smartmodule::Lookback::age(age, Some(lookback.last)),
        None => smartmodule::Lookback::last(lookback.last),
    });
    SmartModuleInvocation {
        wasm: SmartModuleInvocationWasm::Predefined(step.uses.clone()),
        kind: SmartModuleKind::Generic(SmartModuleContextData::None),
        params: SmartModuleExtraParams::new(step.with.clone(), lookback),
        name: Some(step.uses.clone()),
    }
}

fn as_json_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    values
        .into_iter()
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            // Fluvio would cut the length and send all of the text.
            if text.len() > MAX_PARAMETER {
                return Err(D::Error::custom(format!(
                    "`{name}` has {} bytes, and Fluvio carries up to {MAX_PARAMETER}",
                    text.len()
                )));
            }
            Ok((name, text))
        })
        .collect()
}

/// The largest parameter of a SmartModule in bytes: Fluvio's texts have a length of 16 bits.
const MAX_PARAMETER: usize = u16::MAX as usize;

impl<C: DeserializeOwned + Validate> Connector<C> {
    /// Reads the document at `config`, in which the connector's own section is called `section`.
    ///
    /// # Errors
    /// The first fault found, with the file and the field.
    pub fn load(section: &str, config: &Path, secrets: Option<&Path>) -> Result<Self, Error> {
        Self::load_without(&[], section, config, secrets)
    }

    /// As [`Connector::load`], for a program that does not need the keys `unneeded` of the section.
    /// They are left out, the secrets that only they use may be missing, and `transforms` is not
    /// checked.
    ///
    /// # Errors
    /// As [`Connector::load`].
    pub fn load_without(
        unneeded: &[&str],
        section: &str,
        config: &Path,
        secrets: Option<&Path>,
    ) -> Result<Self, Error> {
        let text = std::fs::read_to_string(config).map_err(|source| Error::Read {
            what: "configuration",
            path: config.to_owned(),
            source,
        })?;
        let document = serde_saphyr::from_str(&text).map_err(|error| Error::Yaml {
            path: config.to_owned(),
            detail: error.to_string(),
        })?;
        Self::from_document(section, document, secrets, unneeded)
            .map_err(|error| error.at(&config.display().to_string()))
    }

    fn from_document(
        section: &str,
        mut document: Value,
        secrets: Option<&Path>,
        unneeded: &[&str],
    ) -> Result<Self, Error> {
        let mut declared = declared_secrets(&document);
        let own = document.get_mut(section).and_then(Value::as_object_mut);
        if let (Some(own), false) = (own, unneeded.is_empty()) {
            own.retain(|key, _| !unneeded.contains(&key.as_str()));
            declared.retain(|name| is_used(name, &document));
        }
        let secrets = Secrets::read(&declared, secrets)?;
        secrets.fill_in(&mut document)?;
        let parsed = Self::parse(section, document).and_then(|parsed| {
            // A program that leaves keys out does not read the topic.
            if unneeded.is_empty() {
                parsed.config.validate_transforms(&parsed.transforms)?;
            }
            Ok(parsed)
        });
        parsed.map_err(|error| error.map_detail(|detail| secrets.redact(detail)))
    }

    fn parse(section: &str, document: Value) -> Result<Self, Error> {
        let Value::Object(mut fields) = document else {
            return Err(Error::Field(
                "expected a mapping with `apiVersion` and `meta`".to_owned(),
            ));
        };
        let version = ApiVersion::parse(fields.remove("apiVersion"))?;
        let meta = parse_meta(version, fields.remove("meta").unwrap_or_default())?;
        if meta.name.is_empty() {
            return Err(Error::Invalid("`meta.name` is empty".to_owned()));
        }
        if !meta.type_.starts_with(section) {
            return Err(Error::Invalid(format!(
                "`meta.type` is `{}`, which is another connector's file; the type of this one \
                 begins with `{section}`",
                meta.type_
            )));
        }
        let transforms = match fields.remove("transforms") {
            None | Some(Value::Null) => Vec::new(),
            Some(steps) => read("transforms", steps)?,
        };
        let own = fields
            .remove(section)
            .unwrap_or_else(|| Value::Object(Map::new()));
        if let Some(unknown) = fields.keys().next() {
            return Err(Error::Field(format!(
                "unknown section `{unknown}`; expected `apiVersion`, `meta`, `transforms` and \
                 `{section}`"
            )));
        }
        let config: C = read(section, own)?;
        config.validate().map_err(|error| error.at(section))?;
        Ok(Self {
            meta,
            transforms,
            config,
        })
    }
}

#[derive(Clone, Copy)]
enum ApiVersion {
    /// `meta.topic` is a name.
    TopicByName,
    /// `meta.topic` is a whole topic.
    TopicInFull,
}

impl ApiVersion {
    fn parse(value: Option<Value>) -> Result<Self, Error> {
        match value.as_ref().map(Value::as_str) {
            None | Some(Some("0.0.0" | "0.1.0")) => Ok(Self::TopicByName),
            Some(Some("0.2.0")) => Ok(Self::TopicInFull),
            Some(_) => Err(Error::Field(
                "`apiVersion` must be 0.1.0 or 0.2.0".to_owned(),
            )),
        }
    }
}

fn parse_meta(version: ApiVersion, meta: Value) -> Result<Meta, Error> {
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
    form.consumer.validate()?;
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
    Ok(Meta {
        name: form.name,
        type_: form.type_,
        version: form.version,
        topic,
        consumer: form.consumer,
        producer: form.producer,
    })
}

/// The names under `meta.secrets`. They are needed before the rest can be parsed.
fn declared_secrets(document: &Value) -> Vec<String> {
    let entries = document.pointer("/meta/secrets").and_then(Value::as_array);
    let names = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// Deserializes `value`, the part of the document at `place`. A field that would be ignored is an
/// error.
fn read<T: DeserializeOwned>(place: &str, value: Value) -> Result<T, Error> {
    let mut ignored = None;
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| {
        ignored.get_or_insert_with(|| path.to_string());
    });
    match (parsed, ignored) {
        (Ok(parsed), None) => Ok(parsed),
        (Ok(_), Some(field)) => Err(Error::Field(format!("unknown field `{place}.{field}`"))),
        (Err(error), _) => {
            let path = track.path().to_string();
            let at = if path == "." {
                place.to_owned()
            } else {
                format!("{place}.{path}")
            };
            Err(Error::Field(format!("`{at}`: {error}")))
        }
    }
}
