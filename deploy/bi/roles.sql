-- Creates the roles of the BI tools, and with SINK_PASSWORD that of the sink. Run it as a role that
-- may create roles:
--
--   READER_PASSWORD=... DBT_PASSWORD=... psql "$DATABASE_URL" -f deploy/bi/roles.sql
--
-- Run it before or after the migrations: they give etl_reader its rights if the group exists or if
-- they may create it. Otherwise run SELECT etl_grant_roles() afterwards.
\set ON_ERROR_STOP on

-- The server gets what it stores of a password, a SCRAM verifier (RFC 5803), which perl makes here:
-- in a statement the password itself could end up in the server's log.
\set scram 'use Digest::SHA qw(hmac_sha256 sha256); use MIME::Base64; my $p = $ENV{+shift}; '
\set scram :scram 'die qq(READER_PASSWORD, DBT_PASSWORD: none in ASCII) if $p !~ /^[ -~]+$/;'
\set scram :scram ' open my $r, q(<), q(/dev/urandom) or die; read $r, my $salt, 16; '
\set scram :scram 'my $u = my $s = hmac_sha256($salt . pack(q(N), 1), $p); '
\set scram :scram '$u = hmac_sha256($u, $p), $s ^= $u for 2 .. 4096; '
\set scram :scram 'print q(SCRAM-SHA-256$4096:), encode_base64($salt, q()), q($), '
\set scram :scram 'encode_base64(sha256(hmac_sha256(q(Client Key), $s)), q()), q(:), '
\set scram :scram 'encode_base64(hmac_sha256(q(Server Key), $s), q())'
\setenv SCRAM :scram
\set reader_verifier `perl -e "$SCRAM" READER_PASSWORD`
\set dbt_verifier `perl -e "$SCRAM" DBT_PASSWORD`
\set sink_verifier none
\getenv sink_password SINK_PASSWORD
\if :{?sink_password}
    \set sink_verifier `perl -e "$SCRAM" SINK_PASSWORD`
\endif
SELECT $$DO 'BEGIN RAISE ''a password is missing, see above''; END'$$
WHERE '' IN (:'reader_verifier', :'dbt_verifier', :'sink_verifier') \gexec

SELECT 'CREATE ROLE etl_reader NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_reader') \gexec

-- Dashboards: read-only, in UTC, with a limit on each query.
CREATE ROLE bi_reader LOGIN PASSWORD :'reader_verifier' IN ROLE etl_reader;
ALTER ROLE bi_reader SET timezone = 'UTC';
ALTER ROLE bi_reader SET statement_timeout = '60s';
ALTER ROLE bi_reader SET default_transaction_read_only = on;

-- dbt: reads the same, and builds in its own schema, which readers see.
CREATE ROLE dbt LOGIN PASSWORD :'dbt_verifier' IN ROLE etl_reader;
ALTER ROLE dbt SET timezone = 'UTC';
CREATE SCHEMA marts;
GRANT USAGE, CREATE ON SCHEMA marts TO dbt;
GRANT USAGE ON SCHEMA marts TO etl_reader;

-- The sink: writes what etl_writer may write. Tables and migrations belong to another role.
\if :{?sink_password}
    SELECT 'CREATE ROLE etl_writer NOLOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_writer') \gexec
    CREATE ROLE sink LOGIN PASSWORD :'sink_verifier' IN ROLE etl_writer;
\endif
