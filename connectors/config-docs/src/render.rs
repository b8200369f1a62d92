//! Writes Markdown and TOML from the fields of a struct.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::source::{Field, Source};

/// The type of a list of texts.
const LIST: &str = "Vec<String>";

/// A section of the reference: a heading, the type and default, and the doc comment for each key.
pub fn section(fields: &[Field], source: &Source, folder: &Path) -> Result<String> {
    let mut page = String::new();
    for field in fields {
        let variants = source.variants(field.bare_type())?.filter(|variants| {
            let is_plain =
                |variant: &Field| ["", "u32", "u64", LIST].contains(&variant.type_.as_str());
            variants.iter().all(is_plain)
        });
        let kind = match field.bare_type() {
            LIST => "text, or a list of texts",
            "bool" => "`true` or `false`",
            "Duration" => "duration",
            "ByteSize" => "size",
            "usize" | "u32" | "u64" => "whole number",
            "String" | "PathBuf" => "text",
            "Secret" => "text, best from a secret",
            "SocketAddr" => "address and port",
            _ => "",
        };
        let required = if field.has_default { "" } else { "required" };
        let default = field
            .literal_default()
            .map(|value| format!("default `{value}`"))
            .unwrap_or_default();
        let facts: Vec<&str> = [kind, required, &default]
            .into_iter()
            .filter(|fact| !fact.is_empty())
            .collect();
        writeln!(page, "### `{}`\n", field.key)?;
        if !facts.is_empty() {
            writeln!(page, "*{}*\n", facts.join("; "))?;
        }
        // The variants follow right here.
        let see = format!(" See [`{}`].", field.bare_type());
        let doc = field.doc.iter().map(|line| line.replace(&see, ""));
        writeln!(page, "{}\n", text(&doc.collect::<Vec<_>>(), folder)?)?;
        for variant in variants.iter().flatten() {
            let value = match variant.type_.as_str() {
                "" => variant.key.clone(),
                LIST => "[NAME, …]".to_owned(),
                _ => format!("{}: N", variant.key),
            };
            let default = if variant.has_default {
                " (default)"
            } else {
                ""
            };
            let doc = text(&variant.doc, folder)?.replace('\n', "\n  ");
            writeln!(
                page,
                "- `{value}`{default}: {}",
                doc.replace("\n  \n", "\n\n")
            )?;
        }
        if variants.is_some() {
            page.push('\n');
        }
    }
    Ok(page.trim_end().to_owned() + "\n")
}

/// A table of the fields of the JSON that a struct is printed as, with those of structs inside of it.
pub fn table(source: &Source, root: &str) -> Result<String> {
    let mut table = "| field | meaning |\n|---|---|\n".to_owned();
    let fields = source.serialized_fields(root)?;
    let fields = fields.with_context(|| format!("no `struct {root}` is serialized"))?;
    rows(source, &fields, "", &mut table)?;
    Ok(table)
}

fn rows(source: &Source, fields: &[Field], prefix: &str, table: &mut String) -> Result<()> {
    for field in fields {
        let (type_, is_list) = field.inner_type();
        let path = format!("{prefix}{}{}", field.name, if is_list { "[]" } else { "" });
        ensure!(!field.doc.is_empty(), "{path} has no description");
        let text = field.doc.join(" ");
        writeln!(table, "| `{path}` | {} |", text.trim_end_matches('.'))?;
        if let Some(inner) = source.serialized_fields(type_)? {
            rows(source, &inner, &format!("{path}."), table)?;
        }
    }
    Ok(())
}

/// A doc comment as Markdown: links of rustdoc become code or links to files.
fn text(doc: &[String], folder: &Path) -> Result<String> {
    let mut text = doc.join("\n");
    while let Some((before, rest)) = text.split_once("[`") {
        let Some((name, after)) = rest.split_once("`]") else {
            break;
        };
        let shown = match name.strip_prefix("crate::") {
            Some(module) => {
                let file = format!("src/{module}.rs");
                ensure!(
                    folder.join(&file).exists(),
                    "no {file} for the link `{name}`"
                );
                format!("[{file}]({})", crate::from_docs(folder, &file))
            }
            None => format!("`{name}`"),
        };
        text = format!("{before}{shown}{after}");
    }
    Ok(text)
}

/// The `[custom.properties.…]` tables of a `Connector.toml`.
pub fn properties(fields: &[Field]) -> String {
    let tables: Vec<String> = fields.iter().map(property).collect();
    tables.join("\n")
}

fn property(field: &Field) -> String {
    let kind = match field.bare_type() {
        "bool" => "boolean",
        "usize" | "u32" | "u64" => "integer",
        _ => "string",
    };
    let format = match field.bare_type() {
        "Secret" => "format = \"secret\"\n",
        _ => "",
    };
    let title = field.title().replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "[custom.properties.{}]\ntitle = \"{title}\"\ntype = \"{kind}\"\n{format}",
        field.key
    )
}
