-- The tables of the lake as views, and facts_distinct, for DuckDB. Replace the folder:
--
--   python3 -m venv lake-venv && . lake-venv/bin/activate
--   pip install duckdb-cli==1.5.5    # the program `duckdb`
--   sed 's|s3://my-bucket/lake|/path/of/etl-demo-lake|' duckdb.sql | duckdb lake.duckdb
--   duckdb lake.duckdb -c 'SELECT event_name, count(*) FROM shop.facts_distinct GROUP BY ALL'
--
-- INSTALL downloads an extension from duckdb.org once. Without internet, put
-- SET extension_directory = '…' before it, with the folder that dbt/README.md describes. Whoever
-- may read the facts only leaves the view rejected_events out.
--
-- A view reads the newest metadata at each query. On S3 run first, for the credentials:
--   INSTALL aws; LOAD aws; CREATE PERSISTENT SECRET lake (TYPE s3, PROVIDER credential_chain);
INSTALL iceberg;
LOAD iceberg;
CREATE SCHEMA IF NOT EXISTS shop;
CREATE OR REPLACE VIEW shop.facts AS
SELECT * FROM iceberg_scan('s3://my-bucket/lake/shop/facts');
CREATE OR REPLACE VIEW shop.rejected_events AS
SELECT * FROM iceberg_scan('s3://my-bucket/lake/shop/rejected_events');
-- A producer's repeat of an event is another record, so the table has its facts twice, with the
-- same fact_hash: of these the newest version. Metrics that count or sum read this view.
CREATE OR REPLACE VIEW shop.facts_distinct AS
SELECT * FROM shop.facts
QUALIFY row_number() OVER (
    PARTITION BY event_time, fact_hash
    ORDER BY event_version DESC NULLS LAST, source_partition, source_offset) = 1;
