-- For psql: makes the variables from, to and min the range and threshold of the files in queries/.
--
--   psql "$DATABASE_URL" -v from=2026-11-01 -v to=2026-11-30 -v min=100 \
--       -f sql/parameters.sql -f sql/queries/list_click_through.sql
--
-- Other clients: SET etl.first_day = '2026-11-01'; SET etl.last_day = ...; SET etl.at_least = ...;
-- or dates in the query itself.
\set QUIET on
\if :{?from}
SET etl.first_day = :'from';
\endif
\if :{?to}
SET etl.last_day = :'to';
\endif
\if :{?min}
SET etl.at_least = :'min';
\endif
\set reversed off
SELECT analytics.first_day() > analytics.last_day() AS reversed \gset
\if :reversed
\warn from is after to: no day is in the range
\endif
\set QUIET off
