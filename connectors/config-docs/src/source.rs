//! Reads structs and enums from Rust source in the layout of rustfmt: an item begins in the first
//! column, its fields or variants are indented by four spaces.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Titles of properties are cut to fit into a line.
const LONGEST_TITLE: usize = 90;

/// The sources of a crate, all files in one text.
pub struct Source {
    text: String,
}

/// A field of a struct, or a variant of an enum.
#[derive(Default)]
pub struct Field {
    /// The name in Rust.
    pub name: String,
    /// The name in YAML.
    pub key: String,
    /// The field's type, or what the variant holds.
    pub type_: String,
    /// The lines of the doc comment.
    pub doc: Vec<String>,
    /// The field may be left out, or the variant is the default.
    pub has_default: bool,
}

impl Source {
    pub fn read(folder: &Path) -> Result<Self> {
        let mut folders = vec![folder.to_owned()];
        let mut files: Vec<PathBuf> = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files.push(path);
                }
            }
        }
        files.sort();
        Self::of(&files)
    }

    /// The sources in these files alone.
    pub fn of(files: &[PathBuf]) -> Result<Self> {
        let text = |file: &PathBuf| {
            std::fs::read_to_string(file).with_context(|| file.display().to_string())
        };
        Ok(Self {
            text: files.iter().map(text).collect::<Result<String>>()?,
        })
    }

    /// The public fields of a struct.
    pub fn fields(&self, name: &str) -> Result<Vec<Field>> {
        let body = self
            .body(&format!("pub struct {name} {{\n"))
            .with_context(|| format!("no `pub struct {name}`"))?;
        members(body, |line| {
            let (name, type_) = line
                .strip_prefix("pub ")?
                .strip_suffix(',')?
                .split_once(": ")?;
            Some((name.to_owned(), type_.to_owned()))
        })
    }

    /// The fields of a struct that is serialized, also private ones, if there is one of this name.
    pub fn serialized_fields(&self, name: &str) -> Result<Option<Vec<Field>>> {
        let head = format!("struct {name} {{\n");
        let body = self.text.match_indices(&head).find_map(|(at, _)| {
            let (before, rest) = self.text.split_at_checked(at)?;
            let before = before.trim_end_matches("pub ").trim_end();
            let derived = before.lines().next_back()?;
            let (body, _) = rest.strip_prefix(&head)?.split_once("\n}\n")?;
            derived.contains("Serialize").then_some(body)
        });
        let declared = |line: &str| {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let (name, type_) = line.strip_suffix(',')?.split_once(": ")?;
            Some((name.to_owned(), type_.to_owned()))
        };
        body.map(|body| members(body, declared)).transpose()
    }

    /// The variants of an enum, if there is one of this name.
    pub fn variants(&self, name: &str) -> Result<Option<Vec<Field>>> {
        let Some(body) = self.body(&format!("pub enum {name} {{\n")) else {
            return Ok(None);
        };
        members(body, |line| {
            let variant = line.strip_suffix(',')?;
            let (name, holds) = variant.split_once('(').unwrap_or((variant, ""));
            Some((name.to_owned(), holds.trim_end_matches(')').to_owned()))
        })
        .map(Some)
    }

    fn body(&self, head: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(head)?;
        rest.split_once("\n}\n").map(|(body, _)| body)
    }
}

fn members(body: &str, declared: impl Fn(&str) -> Option<(String, String)>) -> Result<Vec<Field>> {
    let mut members = Vec::new();
    let mut next = Field::default();
    let mut attribute = false;
    let is_comment = |line: &&str| line.starts_with("//") && !line.starts_with("///");
    let lines = body.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !is_comment(line)) {
        if let Some(doc) = line.strip_prefix("///") {
            next.doc
                .push(doc.strip_prefix(' ').unwrap_or(doc).to_owned());
        } else if attribute || line.starts_with("#[") {
            next.has_default |= line.contains("default");
            attribute = !line.ends_with(']');
        } else if let Some((name, type_)) = declared(line) {
            next.key = kebab_case(&name);
            (next.name, next.type_) = (name, type_);
            members.push(std::mem::take(&mut next));
        } else if line.ends_with(',') {
            // A private field.
            next = Field::default();
        } else {
            bail!("cannot read `{line}`");
        }
    }
    Ok(members)
}

/// `maxRows`, `MaxRows` and `max_rows` are all `max-rows`, as with serde's `kebab-case`.
fn kebab_case(name: &str) -> String {
    let mut key = String::new();
    for letter in name.trim_end_matches('_').chars() {
        if letter.is_uppercase() && !key.is_empty() {
            key.push('-');
        }
        key.extend(letter.to_lowercase());
    }
    key.replace('_', "-")
}

impl Field {
    /// The type without `Option`.
    pub fn bare_type(&self) -> &str {
        self.type_
            .strip_prefix("Option<")
            .and_then(|rest| rest.strip_suffix('>'))
            .unwrap_or(&self.type_)
    }

    /// The type inside of generic ones, and true if there are several values.
    pub fn inner_type(&self) -> (&str, bool) {
        let (mut type_, mut is_list) = (self.type_.as_str(), false);
        while let Some((outer, inner)) = type_.split_once('<') {
            is_list |= outer == "Vec";
            type_ = inner.strip_suffix('>').unwrap_or(inner);
        }
        (type_, is_list)
    }

    /// The word that the doc comment gives as the default: `Default: 10s, …` or `body` (default).
    pub fn documented_default(&self) -> Option<String> {
        let doc = self.doc.join(" ");
        if let Some((before, _)) = doc.split_once("` (default)") {
            return before.rsplit_once('`').map(|(_, word)| word.to_owned());
        }
        let (_, after) = doc.rsplit_once("Default")?;
        let mut words = after.trim_start_matches(':').trim_start().split(' ');
        let first = words.next()?;
        let number_of_bytes = first.bytes().all(|byte| byte.is_ascii_digit());
        let unit = words.next().unwrap_or_default();
        let unit = unit.trim_end_matches(['.', ',', ';', ':']);
        let whole = if number_of_bytes && ["KiB", "MiB", "GiB"].contains(&unit) {
            format!("{first}{unit}")
        } else {
            first.to_owned()
        };
        Some(
            whole
                .trim_end_matches(['.', ',', ';', ':', ')'])
                .replace('`', ""),
        )
    }

    /// The default, where it is a value and not a description of one.
    pub fn literal_default(&self) -> Option<String> {
        let is_number = |text: &String| text.starts_with(|first: char| first.is_ascii_digit());
        let is_option = self.type_.starts_with("Option<");
        self.documented_default()
            .filter(|default| self.has_default && (!is_option || is_number(default)))
            .filter(|_| !self.type_.starts_with("Vec<"))
    }

    /// The first sentence or clause of the doc comment, cut at a comma if it is long.
    pub fn title(&self) -> String {
        let text = self.doc.join(" ");
        let title = first_clause(&text);
        let short = title.get(..LONGEST_TITLE).and_then(|start| {
            let (short, _) = start.rsplit_once(", ")?;
            Some(short)
        });
        short.unwrap_or(title).to_owned()
    }
}

/// The text before the first `.`, `:` or `;` that ends a word outside of code.
fn first_clause(text: &str) -> &str {
    let mut in_code = false;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        in_code ^= letter == '`';
        let ends_word = matches!(letters.peek(), None | Some((_, ' ')));
        if !in_code && ends_word && matches!(letter, '.' | ':' | ';') {
            return text.get(..at).unwrap_or(text);
        }
    }
    text
}
