//! Keeps the descriptions of JSON in `docs/etl.md` equal to the structs that are printed: their doc
//! comments are the text. With `UPDATE_DOCS=1` the tests write the descriptions instead.

use std::path::Path;
use std::sync::Mutex;

/// The tests change one file.
static FILE: Mutex<()> = Mutex::new(());

/// The sources that have the structs of an object.
struct Sources(&'static [&'static str]);

impl Sources {
    /// The lines of a struct that is serialized, if there is one of this name.
    fn body(&self, name: &str) -> Option<&'static str> {
        let head = format!("struct {name} {{\n");
        self.0.iter().find_map(|source| {
            let (before, rest) = source.split_once(&head)?;
            let before = before.trim_end_matches("pub ").trim_end();
            let derived = before.lines().next_back()?;
            let (body, _) = rest.split_once("\n}")?;
            derived.contains("Serialize").then_some(body)
        })
    }

    /// Adds a row for each field of the struct `name`, and for those inside of it.
    fn rows(&self, name: &str, prefix: &str, table: &mut String) {
        let mut doc: Vec<&str> = Vec::new();
        for line in self.body(name).unwrap().lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                doc.push(text.trim());
                continue;
            }
            let field = line.trim_start_matches("pub ").strip_suffix(',');
            let Some((field, type_)) = field.and_then(|field| field.split_once(": ")) else {
                continue;
            };
            let (type_, is_list) = inside(type_);
            let path = format!("{prefix}{field}{}", if is_list { "[]" } else { "" });
            assert!(!doc.is_empty(), "{path} has no description");
            let text = doc.join(" ");
            table.push_str(&format!("| `{path}` | {} |\n", text.trim_end_matches('.')));
            doc.clear();
            if self.body(type_).is_some() {
                self.rows(type_, &format!("{path}."), table);
            }
        }
    }

    /// Compares the table of the object `root` with the one between the marks `name`.
    fn check(&self, root: &str, name: &str) {
        let mut table = "\n| field | meaning |\n|---|---|\n".to_owned();
        self.rows(root, "", &mut table);
        table.push('\n');
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/etl.md");
        let _guard = FILE.lock().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let (begin, end) = (
            format!("<!-- fields of {name} -->\n"),
            format!("<!-- end of {name} -->\n"),
        );
        let (before, rest) = text.split_once(&begin).unwrap();
        let (written, after) = rest.split_once(&end).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let text = format!("{before}{begin}{table}{end}{after}");
            std::fs::write(&file, text).unwrap();
        } else {
            assert_eq!(
                written, table,
                "UPDATE_DOCS=1 cargo test -p etl fields writes it"
            );
        }
    }
}

/// The type inside of generic types, and true if there are several values.
fn inside(mut type_: &str) -> (&str, bool) {
    let mut is_list = false;
    while let Some((outer, inner)) = type_.split_once('<') {
        is_list |= outer == "Vec";
        type_ = inner.strip_suffix('>').unwrap_or(inner);
    }
    (type_, is_list)
}

#[test]
fn the_fields_of_status_are_described() {
    let sources = Sources(&[
        include_str!("status/reading.rs"),
        include_str!("status/database.rs"),
        include_str!("status/sinks.rs"),
        include_str!("status/lake.rs"),
    ]);
    sources.check("Reading", "etl status --json");
}

#[test]
fn the_fields_of_lake_status_are_described() {
    Sources(&[include_str!("lake/status.rs")]).check("State", "etl lake status --json");
}
