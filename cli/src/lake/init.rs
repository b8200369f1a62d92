//! `etl lake init`: creates the tables, and shows how to read them.

use std::process::ExitCode;

use lake_sink::config::CatalogKind;

use crate::lake::{Opened, statements};

pub async fn run(opened: &Opened) -> anyhow::Result<ExitCode> {
    let tables = opened.lake.init(opened.topic()).await?;
    outln!("The tables exist, with all columns that the sink writes:");
    for table in &tables {
        outln!("  {}  {}", table.identifier(), table.metadata().location());
    }
    let Some(table) = tables.first() else {
        return Ok(ExitCode::SUCCESS);
    };
    outln!("\nDuckDB:\n");
    outln!("{}", statements::duckdb(table, &opened.connector.config));
    let config = &opened.connector.config;
    let (extra, needs) = match config.catalog() {
        CatalogKind::Postgres => (
            "sql-postgres",
            ", with the\nURL of the catalog's database in the variable \
             CATALOG_URL\n(postgresql+psycopg2://user:password@host/database)",
        ),
        CatalogKind::Rest => (
            "s3fs",
            match (&config.catalog_token, &config.catalog_credential) {
                (Some(_), _) => {
                    ", with the\nURL of the catalog in the variable CATALOG_URL, and its token in \
                     CATALOG_TOKEN"
                }
                (None, Some(_)) => {
                    ", with the\nURL of the catalog in the variable CATALOG_URL, and \
                     `catalog-credential` in CATALOG_CREDENTIAL"
                }
                (None, None) => ", with the\nURL of the catalog in the variable CATALOG_URL",
            },
        ),
        CatalogKind::Glue { .. } => ("glue", ""),
    };
    outln!("\nPyIceberg (pip install 'pyiceberg[pyarrow,pyiceberg-core,{extra}]'){needs}:\n");
    outln!("{}", statements::pyiceberg(config));
    outln!(
        "print(catalog.load_table({:?}).scan(limit=10).to_arrow())",
        table.identifier().to_string()
    );
    Ok(ExitCode::SUCCESS)
}
