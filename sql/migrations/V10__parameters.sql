-- The range and the threshold of the files in sql/queries. Whoever reads such a file in a BI tool writes a date in the place of
-- the call; with psql, parameters.sql makes settings of the variables from, to and min.

CREATE FUNCTION analytics.first_day() RETURNS date STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.first_day', true), '')::date, '-infinity');
CREATE FUNCTION analytics.last_day() RETURNS date STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.last_day', true), '')::date, 'infinity');
CREATE FUNCTION analytics.at_least(usually bigint) RETURNS bigint STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.at_least', true), '')::bigint, usually);
COMMENT ON FUNCTION analytics.first_day IS 'The first day asked for: the setting etl.first_day, else all.';
COMMENT ON FUNCTION analytics.last_day IS 'The last day asked for: the setting etl.last_day, else all.';
COMMENT ON FUNCTION analytics.at_least IS 'The volume below which rates are chance and left out: the setting etl.at_least, else the one given.';

SELECT etl_grant_roles();
