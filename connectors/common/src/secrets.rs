//! Secrets: reads them, fills them into the configuration, and keeps them out of logs and errors.
//!
//! The YAML refers to a secret as `${{ secrets.NAME }}`. `meta.secrets` declares the names in use;
//! the values come from the file that `--secrets` names, else from the environment. They are put
//! into the parsed document, not into its text, so a password full of colons and quotes stays one
//! value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// A value that is shown as `***` in logs and errors; [`Secret::reveal`] returns it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself. Never put it into a log, an error or a metric.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// The declared secrets of one connector, by name.
#[derive(Default)]
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Reads the secrets that `declared` names from `file`, or from the environment without one.
    pub(crate) fn read(declared: &[String], file: Option<&Path>) -> Result<Self, Error> {
        let in_file = file.map(read_file).transpose()?;
        let mut values = BTreeMap::new();
        for name in declared {
            check_name(name)?;
            let value = match &in_file {
                Some(entries) => entries.get(name).cloned(),
                None => std::env::var(name).ok(),
            };
            let value = value.ok_or_else(|| Error::SecretMissing {
                name: name.clone(),
                looked_in: file.map_or_else(
                    || "the environment (no --secrets FILE was given)".to_owned(),
                    |path| path.display().to_string(),
                ),
            })?;
            values.insert(name.clone(), value);
        }
        Ok(Self(values))
    }

    /// Replaces every `${{ secrets.NAME }}` in the document's strings.
    pub(crate) fn fill_in(&self, document: &mut Value) -> Result<(), Error> {
        match document {
            Value::String(text) if text.contains("${{") => *text = self.render(text)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill_in(item))?,
            Value::Object(fields) => fields
                .values_mut()
                .try_for_each(|value| self.fill_in(value))?,
            _ => {}
        }
        Ok(())
    }

    /// Replaces every secret's value in `message`: parsers quote the values that they refuse.
    pub(crate) fn redact(&self, message: &str) -> String {
        self.0
            .values()
            .filter(|value| !value.is_empty())
            .fold(message.to_owned(), |text, value| {
                text.replace(value.as_str(), "***")
            })
    }

    fn render(&self, text: &str) -> Result<String, Error> {
        let mut rendered = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, behind) = after
                .split_once("}}")
                .ok_or_else(|| Error::Template("a `${{` is not closed by `}}`".to_owned()))?;
            let expression = expression.trim();
            let name = expression.strip_prefix("secrets.").ok_or_else(|| {
                Error::Template(format!(
                    "`${{{{ {expression} }}}}` is not known; only `${{{{ secrets.NAME }}}}` is"
                ))
            })?;
            let value = self.0.get(name).ok_or_else(|| {
                Error::Template(format!(
                    "the secret `{name}` is used but not declared; add `- name: {name}` to \
                     `meta.secrets`"
                ))
            })?;
            rendered.push_str(before);
            rendered.push_str(value);
            rest = behind;
        }
        rendered.push_str(rest);
        Ok(rendered)
    }
}

/// Returns true if a string of the document refers to the secret `name`.
pub(crate) fn is_used(name: &str, document: &Value) -> bool {
    match document {
        Value::String(text) => text.split("${{").skip(1).any(|rest| {
            let expression = rest.split("}}").next().unwrap_or_default().trim();
            expression.strip_prefix("secrets.") == Some(name)
        }),
        Value::Array(items) => items.iter().any(|item| is_used(name, item)),
        Value::Object(fields) => fields.values().any(|value| is_used(name, value)),
        _ => false,
    }
}

/// Reads Fluvio's secrets file: `NAME=value` lines, spaces around both trimmed, the first entry of
/// a name wins.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        what: "secrets",
        path: path.to_owned(),
        source,
    })?;
    let mut entries = BTreeMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        entries
            .entry(name.trim().to_owned())
            .or_insert_with(|| value.trim().to_owned());
    }
    Ok(entries)
}

/// Checks the rule of Fluvio's connector packages: ASCII letters, digits and `_`, not starting with
/// a digit.
fn check_name(name: &str) -> Result<(), Error> {
    let well_formed = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name
            .chars()
            .next()
            .is_some_and(|first| !first.is_ascii_digit());
    if well_formed {
        Ok(())
    } else {
        Err(Error::SecretName(name.to_owned()))
    }
}
