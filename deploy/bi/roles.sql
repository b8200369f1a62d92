-- The roles of the BI tools, for psql as the owner of the tables or whoever may make roles:
--
--   READER_PASSWORD=... DBT_PASSWORD=... psql "$DATABASE_URL" -f deploy/bi/roles.sql
--
-- Before the tables are made or after: the migrations give the group etl_reader its rights when they find it or may
-- make it. Where they did neither, SELECT etl_grant_roles() afterwards.
\set ON_ERROR_STOP on
\getenv reader_password READER_PASSWORD
\getenv dbt_password DBT_PASSWORD

SELECT 'CREATE ROLE etl_reader NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_reader') \gexec

-- Dashboards: reads, in UTC, and a question that is too big ends by itself.
CREATE ROLE bi_reader LOGIN PASSWORD :'reader_password' IN ROLE etl_reader;
ALTER ROLE bi_reader SET timezone = 'UTC';
ALTER ROLE bi_reader SET statement_timeout = '60s';
ALTER ROLE bi_reader SET default_transaction_read_only = on;

-- dbt: reads the same, and builds in a schema of its own that readers see.
CREATE ROLE dbt LOGIN PASSWORD :'dbt_password' IN ROLE etl_reader;
ALTER ROLE dbt SET timezone = 'UTC';
CREATE SCHEMA marts;
GRANT USAGE, CREATE ON SCHEMA marts TO dbt;
GRANT USAGE ON SCHEMA marts TO etl_reader;
