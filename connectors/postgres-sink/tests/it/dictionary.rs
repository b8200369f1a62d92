//! Every table and column that analysts read has a comment, and the documents that are made from
//! the comments are up to date.

use std::path::{Path, PathBuf};

use crate::support::Tables;

const CATALOGUE: &str = include_str!("dictionary/catalogue.sql");
const UNEXPLAINED: &str = include_str!("dictionary/unexplained.sql");
const DIAGRAM: &str = include_str!("dictionary/diagram.sql");
const DICTIONARY: &str = include_str!("dictionary/dictionary.sql");
const DBT: &str = include_str!("dictionary/dbt.sql");

/// The lines around a diagram.
const MARKS: [&str; 2] = ["<!-- the tables -->\n", "<!-- end of the tables -->\n"];

const UPDATE: &str = "UPDATE_DICTIONARY";

async fn catalogue() -> Tables {
    let tables = Tables::new().await;
    tables.client.batch_execute(CATALOGUE).await.unwrap();
    tables
}

#[tokio::test]
async fn what_analysts_read_carries_comments() {
    let tables = catalogue().await;
    let rows = tables.client.query(UNEXPLAINED, &[]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, [""; 0], "these need a COMMENT in sql/migrations");
}

#[tokio::test]
async fn dictionary_and_diagrams_are_those_of_the_migrations() {
    let tables = catalogue().await;
    let dictionary = tables.client.query_one(DICTIONARY, &[]).await.unwrap();
    agree("sql/DICTIONARY.md", dictionary.get(0));
    let dbt = tables.client.query_one(DBT, &[]).await.unwrap();
    agree("deploy/dbt/models/comments.md", dbt.get(0));

    for (page, with_every_column) in [("docs/concepts.md", false), ("sql/README.md", true)] {
        let diagram = tables
            .client
            .query_one(DIAGRAM, &[&with_every_column])
            .await
            .unwrap();
        agree(page, between_the_marks(&read(page), diagram.get(0)));
    }
}

/// Fails unless the file has the content `wanted`, or writes it on request.
fn agree(file: &str, wanted: String) {
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path(file), wanted).unwrap();
    } else {
        assert!(
            read(file) == wanted,
            "{file} is not what the migrations say; write it anew:\n  \
             {UPDATE}=1 cargo test --release --workspace --test it -- dictionary"
        );
    }
}

fn between_the_marks(page: &str, text: &str) -> String {
    let (before, rest) = page.split_once(MARKS[0]).expect("the first mark");
    let (_, after) = rest.split_once(MARKS[1]).expect("the second mark");
    format!("{before}{}\n{text}\n{}{after}", MARKS[0], MARKS[1])
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_default()
}

/// `file` is relative to the repository.
fn path(file: &str) -> PathBuf {
    let sink = Path::new(env!("CARGO_MANIFEST_DIR"));
    sink.join("../..").join(file)
}
