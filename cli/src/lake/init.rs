//! `etl lake init`: creates the tables, and shows how to read them.

use std::process::ExitCode;

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
    outln!("\nPyIceberg (pip install 'pyiceberg[pyarrow,pyiceberg-core,sql-postgres]'), with the");
    outln!("URL of the catalog's database in the variable CATALOG_URL");
    outln!("(postgresql+psycopg2://user:password@host/database):\n");
    outln!("{}", statements::pyiceberg(&opened.connector.config));
    outln!(
        "print(catalog.load_table({:?}).scan(limit=10).to_arrow())",
        table.identifier().to_string()
    );
    Ok(ExitCode::SUCCESS)
}
