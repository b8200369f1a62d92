//! Keeps every copy of a configuration equal to its struct, and descriptions of JSON equal to the
//! structs that are printed.
//!
//! The struct's source is the reference: its doc comments, field names, types and serde attributes.
//! From it come a section of `docs/configuration.md` and the properties in `Connector.toml`;
//! `sample-config.yaml` is written by hand and has to name every key, with its default where the
//! line is commented out. Each connector has a test that compares. With `UPDATE_DOCS=1` the test
//! writes what is generated instead.

mod render;
mod source;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::source::{Field, Source};

const UPDATE: &str = "UPDATE_DOCS";
const REFERENCE: &str = "../../docs/configuration.md";

/// A crate whose configuration is documented.
pub struct Package {
    folder: PathBuf,
    source: Source,
}

impl Package {
    /// Reads the sources of the crate in `folder`, its `CARGO_MANIFEST_DIR`.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(folder: &str) -> Result<Self> {
        let folder = PathBuf::from(folder);
        let source = Source::read(&folder.join("src"))?;
        Ok(Self { folder, source })
    }

    /// Reads these files of the crate alone: the names of structs are unique in them only.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn of_files(folder: &str, files: &[&str]) -> Result<Self> {
        let folder = PathBuf::from(folder);
        let files: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
        let source = Source::of(&files)?;
        Ok(Self { folder, source })
    }

    /// Compares the part `name` of `file` with the fields of the JSON that the struct `definition` is
    /// printed as.
    ///
    /// # Errors
    /// They differ, or a field has no doc comment.
    pub fn check_json(&self, file: &str, name: &str, definition: &str) -> Result<()> {
        let table = render::table(&self.source, definition)?;
        self.compare_part(file, name, &table)
    }

    /// Compares the section `name` of the reference with the struct that defines it.
    ///
    /// # Errors
    /// They differ.
    pub fn check_section(&self, name: &str, definition: &str) -> Result<()> {
        let fields = self.source.fields(definition)?;
        let section = render::section(&fields, &self.source, &self.folder)?;
        self.compare_part(REFERENCE, name, &section)
    }

    /// Compares all copies of a connector's own section `name`, whose struct is `Config`.
    /// `required` holds a valid value for each key without a default.
    ///
    /// # Errors
    /// A copy differs, or a doc comment names a default that the code does not have.
    pub fn check_connector<C>(&self, name: &str, required: &Map<String, Value>) -> Result<()>
    where
        C: DeserializeOwned + Debug,
    {
        let fields = self.source.fields("Config")?;
        check_defaults::<C>(&fields, required)?;
        self.check_section(name, "Config")?;
        let properties = render::properties(&fields);
        let manifest = self.text("Connector.toml")?;
        let (head, _) = manifest
            .split_once("[custom.properties.")
            .context("Connector.toml has no properties")?;
        self.compare("Connector.toml", &format!("{head}{properties}"))?;
        check_sample(&self.text("sample-config.yaml")?, name, &fields)
    }

    /// Compares what stands between the marks `<!-- NAME -->` and `<!-- end of NAME -->`.
    fn compare_part(&self, file: &str, name: &str, part: &str) -> Result<()> {
        let text = self.text(file)?;
        let (begin, end) = (
            format!("<!-- {name} -->\n"),
            format!("<!-- end of {name} -->\n"),
        );
        let (before, rest) = text.split_once(&begin).context(begin.clone())?;
        let (_, after) = rest.split_once(&end).context(end.clone())?;
        self.compare(file, &format!("{before}{begin}\n{part}\n{end}{after}"))
    }

    /// Fails unless the file holds `wanted`, or writes it if asked to.
    fn compare(&self, file: &str, wanted: &str) -> Result<()> {
        let path = self.folder.join(file);
        if std::env::var_os(UPDATE).is_some() {
            return Ok(std::fs::write(path, wanted)?);
        }
        ensure!(
            self.text(file)? == wanted,
            "{} differs from the struct; run this test again with {UPDATE}=1",
            path.display()
        );
        Ok(())
    }

    fn text(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

/// Checks that each default in a doc comment is the one that the code applies.
fn check_defaults<C>(fields: &[Field], required: &Map<String, Value>) -> Result<()>
where
    C: DeserializeOwned + Debug,
{
    let show = |config: Map<String, Value>| -> Result<String> {
        Ok(format!(
            "{:#?}",
            serde_json::from_value::<C>(Value::Object(config))?
        ))
    };
    let defaults = show(required.clone())?;
    for field in fields {
        let Field { key, name, .. } = field;
        ensure!(
            field.has_default != required.contains_key(key),
            "`{key}` has no default and needs a value in the test"
        );
        let is_absent = ["None", "[]"]
            .iter()
            .any(|absent| defaults.contains(&format!("\n    {name}: {absent},\n")));
        if is_absent || !field.has_default {
            continue;
        }
        let written = field.documented_default().with_context(|| {
            format!("the doc comment of `{key}` must say `Default: VALUE.` or `VALUE` (default)")
        })?;
        let mut config = required.clone();
        config.insert(key.clone(), as_yaml(&written));
        ensure!(
            show(config)? == defaults,
            "the doc comment of `{key}` says {written} and the code has another default"
        );
    }
    Ok(())
}

/// The value that YAML reads in a plain scalar.
fn as_yaml(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Checks that the sample names each key of the section once, and shows defaults in comments.
fn check_sample(sample: &str, section: &str, fields: &[Field]) -> Result<()> {
    let lines = sample
        .lines()
        .skip_while(|line| *line != format!("{section}:"));
    let mut found = BTreeSet::new();
    for line in lines
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
    {
        let active = line.trim_start();
        let comment = active.strip_prefix("# ");
        let Some((key, value)) = comment.unwrap_or(active).split_once(':') else {
            continue;
        };
        if key.contains(' ') {
            continue;
        }
        let field = fields
            .iter()
            .find(|field| field.key == key)
            .with_context(|| format!("sample-config.yaml: `{key}` is not a key of {section}"))?;
        let value = value.split(" #").next().unwrap_or_default().trim();
        if let (Some(_), Some(default)) = (comment, field.literal_default()) {
            ensure!(
                value == default,
                "sample-config.yaml: the default of `{key}` is {default}"
            );
        }
        ensure!(found.insert(key), "sample-config.yaml names `{key}` twice");
    }
    for Field { key, .. } in fields {
        ensure!(
            found.contains(key.as_str()),
            "sample-config.yaml does not name `{key}`"
        );
    }
    Ok(())
}

/// The path of `file` below the repository's root, for links from `docs/`.
fn from_docs(folder: &Path, file: &str) -> String {
    let package = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("../connectors/{package}/{file}")
}
