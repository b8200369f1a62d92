-- Daily rollups in a schema of their own: counts, units, revenue by event, product and list. People don't add up over days;
-- V6 is about them. sql/README.md is the guide.
--
-- All that writing a fact costs is its number, written_in: the transaction that wrote it. Below the number of the oldest
-- transaction that still runs, all facts are written for good: these are folded into the rollups once, many at a time. The
-- rest are counted whenever somebody asks. So the answers are exact at every moment, and no writer waits for another.

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
    'Metrics with definitions: each view and function states its formula, its grain and the GA4 metric it equals or replaces. Days are UTC and ranges include both ends. Rates are fractions, NULL where nothing can be divided by. A person is user_id, or user_pseudo_id where nobody is signed in.';

CREATE FUNCTION analytics.day_of(moment timestamptz) RETURNS date
    IMMUTABLE PARALLEL SAFE RETURN (moment AT TIME ZONE interval '0')::date;
COMMENT ON FUNCTION analytics.day_of IS 'The UTC day of a moment.';

CREATE FUNCTION analytics.start_of(day date) RETURNS timestamptz
    IMMUTABLE PARALLEL SAFE RETURN day::timestamp AT TIME ZONE interval '0';
COMMENT ON FUNCTION analytics.start_of IS 'The moment a UTC day begins.';

-- Facts that are there already get 0 without being rewritten.
ALTER TABLE fact_events ADD COLUMN written_in bigint NOT NULL DEFAULT 0;
ALTER TABLE fact_events ALTER COLUMN written_in SET DEFAULT pg_current_xact_id()::text::bigint;
COMMENT ON COLUMN fact_events.written_in IS
    'Number of the transaction that wrote the row. By it the rollups of the schema analytics know what is new; leave it to its default.';
CREATE INDEX fact_events_written_in ON fact_events USING brin (written_in) WITH (autosummarize = on);

CREATE TABLE analytics.fold_state (
    folded_to bigint NOT NULL,
    folded_at timestamptz NOT NULL,
    shift     bigint NOT NULL
);
CREATE UNIQUE INDEX fold_state_is_one_row ON analytics.fold_state ((true));
INSERT INTO analytics.fold_state VALUES (0, '-infinity', 0);
COMMENT ON TABLE analytics.fold_state IS 'How far the facts are folded into the rollups. One row; whoever folds locks it.';
COMMENT ON COLUMN analytics.fold_state.folded_to IS 'Facts with a lower written_in are in the rollups, the others are not.';
COMMENT ON COLUMN analytics.fold_state.folded_at IS 'When facts were folded last.';
COMMENT ON COLUMN analytics.fold_state.shift IS
    'Added to the server''s transaction numbers. Not 0 where the tables came from another server, whose numbers were higher.';

CREATE TABLE analytics.removed (
    removed_in    bigint NOT NULL,
    written_in    bigint NOT NULL,
    event_time    timestamptz NOT NULL,
    day           date NOT NULL,
    event_name    text NOT NULL,
    currency      text NOT NULL,
    product_key   bigint,
    list_key      bigint,
    list_position integer,
    events        integer NOT NULL,
    units         numeric NOT NULL,
    revenue       numeric
);
COMMENT ON TABLE analytics.removed IS 'Facts that were deleted or replaced since the last fold, as analytics.countable has them.';
COMMENT ON COLUMN analytics.removed.removed_in IS 'The transaction that removed the fact, as fact_events.written_in.';
COMMENT ON COLUMN analytics.removed.written_in IS 'As on the fact; the other columns are those of analytics.countable.';

CREATE TABLE analytics.day_state (
    day        date PRIMARY KEY,
    changed_to bigint NOT NULL,
    sealed_to  bigint NOT NULL
);
COMMENT ON TABLE analytics.day_state IS 'Days with facts, and whether what the sealed tables hold of them is still true: where sealed_to is not below changed_to.';
COMMENT ON COLUMN analytics.day_state.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.day_state.changed_to IS 'fold_state.folded_to after the last fold that changed the day, or a neighbour within half an hour of it.';
COMMENT ON COLUMN analytics.day_state.sealed_to IS 'fold_state.folded_to when analytics.seal_days sealed the day last; -1: never.';

-- What follows on an impression may be in the next day.
CREATE FUNCTION analytics.days_touched(day date, first_at timestamptz, last_at timestamptz) RETURNS SETOF date ROWS 1 STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT day + next FROM generate_series(
        -(first_at < analytics.start_of(day) + interval '30 minutes')::int,
        (last_at >= analytics.start_of(day) + interval '23 hours 30 minutes')::int
    ) AS next;
END;
COMMENT ON FUNCTION analytics.days_touched IS
    'Which days facts of one day change, the first and last of them at these moments: their own; those of its first half hour the day before, too, those of its last the day after.';

CREATE TABLE analytics.rollup_event (
    day          date NOT NULL,
    event_name   text NOT NULL,
    currency     text NOT NULL,
    interactions bigint NOT NULL,
    events       bigint NOT NULL,
    units        numeric NOT NULL,
    revenue      numeric NOT NULL,
    PRIMARY KEY (day, event_name, currency)
) WITH (fillfactor = 50);

CREATE TABLE analytics.rollup_product (
    day          date NOT NULL,
    product_key  bigint NOT NULL,
    event_name   text NOT NULL,
    currency     text NOT NULL,
    interactions bigint NOT NULL,
    units        numeric NOT NULL,
    revenue      numeric NOT NULL,
    PRIMARY KEY (day, product_key, event_name, currency)
) WITH (fillfactor = 70);

CREATE TABLE analytics.rollup_list (
    day           date NOT NULL,
    list_key      bigint NOT NULL,
    event_name    text NOT NULL,
    list_position integer NOT NULL,
    interactions  bigint NOT NULL,
    units         numeric NOT NULL,
    PRIMARY KEY (day, list_key, event_name, list_position)
) WITH (fillfactor = 70);

COMMENT ON TABLE analytics.rollup_event IS 'Facts of a day by event name and currency, as far as they are folded: read analytics.event_counts, which adds the rest.';
COMMENT ON TABLE analytics.rollup_product IS
    'Facts of a day by product, event name and currency, without view_item_list, which would be most of the rows; as far as they are folded: read analytics.product_counts.';
COMMENT ON TABLE analytics.rollup_list IS 'Facts of a day by list, event name and position, as far as they are folded: read analytics.list_counts.';
COMMENT ON COLUMN analytics.rollup_event.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.rollup_event.event_name IS 'GA4 event name.';
COMMENT ON COLUMN analytics.rollup_event.currency IS 'Currency; empty where none was sent.';
COMMENT ON COLUMN analytics.rollup_event.interactions IS 'Facts: items of events.';
COMMENT ON COLUMN analytics.rollup_event.events IS 'Events, each counted by its first item (item_ordinal 0 or 1).';
COMMENT ON COLUMN analytics.rollup_event.units IS 'Sum of quantity, one where none was sent.';
COMMENT ON COLUMN analytics.rollup_event.revenue IS
    'Sum of price times quantity; 0 for view_item_list, which sells nothing. An order sent twice under two event ids counts twice; analytics.purchase_lines counts it once.';
COMMENT ON COLUMN analytics.rollup_product.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.rollup_product.product_key IS 'The product, dim_product.product_key.';
COMMENT ON COLUMN analytics.rollup_product.event_name IS 'GA4 event name, never view_item_list.';
COMMENT ON COLUMN analytics.rollup_product.currency IS 'Currency; empty where none was sent.';
COMMENT ON COLUMN analytics.rollup_product.interactions IS 'Facts: items of events.';
COMMENT ON COLUMN analytics.rollup_product.units IS 'Sum of quantity, one where none was sent.';
COMMENT ON COLUMN analytics.rollup_product.revenue IS 'Sum of price times quantity; orders sent twice count twice.';
COMMENT ON COLUMN analytics.rollup_list.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.rollup_list.list_key IS 'The list, dim_list.list_key.';
COMMENT ON COLUMN analytics.rollup_list.event_name IS 'GA4 event name.';
COMMENT ON COLUMN analytics.rollup_list.list_position IS 'Position in the list as sent; -1 where none or a negative one was sent, 1000 for all from there on.';
COMMENT ON COLUMN analytics.rollup_list.interactions IS 'Facts: items of events.';
COMMENT ON COLUMN analytics.rollup_list.units IS 'Sum of quantity, one where none was sent.';

-- What the rollups are made of.
CREATE VIEW analytics.countable AS
SELECT f.written_in, f.event_time, analytics.day_of(f.event_time) AS day, f.event_name, coalesce(f.currency, '') AS currency,
       CASE WHEN f.event_name <> 'view_item_list' THEN f.product_key END AS product_key,
       f.list_key, CASE WHEN f.list_key IS NOT NULL THEN greatest(-1, least(1000, coalesce(f.list_position, -1))) END AS list_position,
       (f.item_ordinal <= 1)::int AS events, coalesce(f.quantity, 1) AS units,
       CASE WHEN f.event_name <> 'view_item_list' THEN f.price * coalesce(f.quantity, 1) END AS revenue
FROM fact_events f;
COMMENT ON VIEW analytics.countable IS 'Facts as the rollups count them.';

CREATE VIEW analytics.folded AS
SELECT c.event_time, c.day, c.event_name, c.currency, c.product_key, c.list_key, c.list_position, c.events, c.units, c.revenue
FROM analytics.countable c WHERE c.written_in < (SELECT s.folded_to FROM analytics.fold_state s)
UNION ALL
SELECT r.event_time, r.day, r.event_name, r.currency, r.product_key, r.list_key, r.list_position, r.events, r.units, r.revenue
FROM analytics.removed r WHERE r.written_in < (SELECT s.folded_to FROM analytics.fold_state s);
COMMENT ON VIEW analytics.folded IS 'The facts that the rollups must hold, one by one.';

CREATE FUNCTION analytics.unfolded()
RETURNS TABLE (day date, event_name text, currency text, product_key bigint, list_key bigint, list_position integer,
               interactions bigint, events bigint, units numeric, revenue numeric)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET plan_cache_mode = force_custom_plan SET jit = off SET enable_sort = off SET work_mem = '64MB' AS $$
DECLARE
    since bigint := (SELECT s.folded_to FROM analytics.fold_state s);  -- planned with its value: few rows are above it
BEGIN
    RETURN QUERY
    SELECT c.day, c.event_name, c.currency, c.product_key, c.list_key, c.list_position,
           count(*), sum(c.events), sum(c.units), coalesce(sum(c.revenue), 0)
    FROM analytics.countable c WHERE c.written_in >= since
    GROUP BY 1, 2, 3, 4, 5, 6
    UNION ALL
    SELECT r.day, r.event_name, r.currency, r.product_key, r.list_key, r.list_position,
           -count(*), -sum(r.events), -sum(r.units), -coalesce(sum(r.revenue), 0)
    FROM analytics.removed r WHERE r.written_in < since
    GROUP BY 1, 2, 3, 4, 5, 6;
END $$;
COMMENT ON FUNCTION analytics.unfolded IS 'What is not in the rollups yet: facts since the last fold, less those removed since.';

CREATE VIEW analytics.event_counts AS
SELECT day, event_name, currency, interactions, events, units, revenue FROM analytics.rollup_event
UNION ALL
SELECT day, event_name, currency, interactions, events, units, revenue FROM analytics.unfolded();

CREATE VIEW analytics.product_counts AS
SELECT day, product_key, event_name, currency, interactions, units, revenue FROM analytics.rollup_product
UNION ALL
SELECT day, product_key, event_name, currency, interactions, units, revenue FROM analytics.unfolded() WHERE product_key IS NOT NULL;

CREATE VIEW analytics.list_counts AS
SELECT day, list_key, event_name, list_position, interactions, units FROM analytics.rollup_list
UNION ALL
SELECT day, list_key, event_name, list_position, interactions, units FROM analytics.unfolded() WHERE list_key IS NOT NULL;

COMMENT ON VIEW analytics.event_counts IS 'rollup_event up to this moment: sum its rows over what you group by.';
COMMENT ON VIEW analytics.product_counts IS 'rollup_product up to this moment: sum its rows over what you group by.';
COMMENT ON VIEW analytics.list_counts IS 'rollup_list up to this moment: sum its rows over what you group by.';

DO $$
DECLARE
    shown record;
BEGIN
    FOR shown IN
        SELECT v.view, a.attname AS name, col_description(v.of, o.attnum) AS comment
        FROM (VALUES ('analytics.event_counts'::regclass, 'analytics.rollup_event'::regclass),
                     ('analytics.product_counts', 'analytics.rollup_product'),
                     ('analytics.list_counts', 'analytics.rollup_list')) AS v (view, of)
        JOIN pg_attribute a ON a.attrelid = v.view AND a.attnum > 0
        JOIN pg_attribute o ON o.attrelid = v.of AND o.attname = a.attname
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', shown.view, shown.name, shown.comment);
    END LOOP;
END $$;
