-- Daily rollups in a schema of their own: counts, units, revenue by event, product and list. People don't add up over days;
-- V6 is about them. sql/README.md is the guide.
--
-- Whoever inserts facts says in the same transaction what they add up to, in one row of analytics.pending: no writer waits
-- for another. Every few seconds these rows are folded into the rollups. Until then they are counted whenever somebody
-- asks, so that the answers are exact at every moment.

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
    'Metrics with definitions: each view and function states its formula, its grain and the GA4 metric it equals or replaces. Days are UTC and ranges include both ends. Rates are fractions, NULL where nothing can be divided by. A person is user_id, or user_pseudo_id where nobody is signed in.';

CREATE FUNCTION analytics.day_of(moment timestamptz) RETURNS date
    IMMUTABLE PARALLEL SAFE RETURN (moment AT TIME ZONE interval '0')::date;
COMMENT ON FUNCTION analytics.day_of IS 'The UTC day of a moment.';

CREATE FUNCTION analytics.start_of(day date) RETURNS timestamptz
    IMMUTABLE PARALLEL SAFE RETURN day::timestamp AT TIME ZONE interval '0';
COMMENT ON FUNCTION analytics.start_of IS 'The moment a UTC day begins.';

CREATE TABLE analytics.pending (
    touched       date[] NOT NULL,
    day           date[] NOT NULL,
    event_name    text[] NOT NULL,
    currency      text[] NOT NULL,
    product_key   bigint[] NOT NULL,
    list_key      bigint[] NOT NULL,
    list_position integer[] NOT NULL,
    interactions  bigint[] NOT NULL,
    events        bigint[] NOT NULL,
    units         numeric[] NOT NULL,
    revenue       numeric[] NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
-- Large rows last for seconds: not worth packing.
ALTER TABLE analytics.pending
    ALTER day SET STORAGE EXTERNAL, ALTER event_name SET STORAGE EXTERNAL, ALTER currency SET STORAGE EXTERNAL,
    ALTER product_key SET STORAGE EXTERNAL, ALTER list_key SET STORAGE EXTERNAL, ALTER list_position SET STORAGE EXTERNAL,
    ALTER interactions SET STORAGE EXTERNAL, ALTER events SET STORAGE EXTERNAL, ALTER units SET STORAGE EXTERNAL,
    ALTER revenue SET STORAGE EXTERNAL;
COMMENT ON TABLE analytics.pending IS
    'What transactions have added to the rollups since the last fold, each one row of arrays of the same length: read analytics.unfolded. An element with a product_key is of rollup_product, one without is of the other two. What a transaction took away is negative.';
COMMENT ON COLUMN analytics.pending.touched IS
    'The days of all moments within half an hour of one of the facts: what the sealed tables hold of them is no longer true. What follows on an impression may be in the next day.';
COMMENT ON COLUMN analytics.pending.day IS 'This and the other columns are those of analytics.rollup_event, rollup_product and rollup_list.';

CREATE TABLE analytics.fold_state (
    folds     bigint NOT NULL,
    folded_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX fold_state_is_one_row ON analytics.fold_state ((true));
INSERT INTO analytics.fold_state VALUES (0, '-infinity');
COMMENT ON TABLE analytics.fold_state IS 'One row; whoever changes the rollups locks it.';
COMMENT ON COLUMN analytics.fold_state.folds IS 'How often facts were folded.';
COMMENT ON COLUMN analytics.fold_state.folded_at IS 'When that was last.';

CREATE TABLE analytics.day_state (
    day          date PRIMARY KEY,
    changed_in   bigint NOT NULL,
    sealed_after bigint NOT NULL
);
COMMENT ON TABLE analytics.day_state IS 'Days with facts, and whether what the sealed tables hold of them is still true: where sealed_after is not below changed_in.';
COMMENT ON COLUMN analytics.day_state.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.day_state.changed_in IS 'The last fold (fold_state.folds) that touched the day.';
COMMENT ON COLUMN analytics.day_state.sealed_after IS 'The last fold before analytics.seal_days sealed the day; -1: the sealed tables hold nothing of it.';

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
) WITH (fillfactor = 50);

CREATE TABLE analytics.rollup_list (
    day           date NOT NULL,
    list_key      bigint NOT NULL,
    event_name    text NOT NULL,
    list_position integer NOT NULL,
    interactions  bigint NOT NULL,
    units         numeric NOT NULL,
    PRIMARY KEY (day, list_key, event_name, list_position)
) WITH (fillfactor = 50);

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

-- What the rollups are made of. postgres-sink counts by the same rule (counts.rs).
CREATE FUNCTION analytics.counted(fact fact_events)
RETURNS TABLE (day date, event_name text, currency text, product_key bigint, list_key bigint, list_position integer,
               events integer, units numeric, revenue numeric) IMMUTABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT analytics.day_of(fact.event_time), fact.event_name, coalesce(fact.currency, ''),
           CASE WHEN fact.event_name <> 'view_item_list' THEN fact.product_key END, fact.list_key,
           CASE WHEN fact.list_key IS NOT NULL THEN greatest(-1, least(1000, coalesce(fact.list_position, -1))) END,
           (fact.item_ordinal <= 1)::int, coalesce(fact.quantity, 1),
           CASE WHEN fact.event_name <> 'view_item_list' THEN fact.price * coalesce(fact.quantity, 1) END;
END;
COMMENT ON FUNCTION analytics.counted IS 'A fact as the rollups count it.';

-- Not unnested in FROM, which would keep each of the ten arrays in a table of its own first.
CREATE VIEW analytics.unfolded AS
SELECT unnest(p.day) AS day, unnest(p.event_name) AS event_name, unnest(p.currency) AS currency, unnest(p.product_key) AS product_key,
       unnest(p.list_key) AS list_key, unnest(p.list_position) AS list_position, unnest(p.interactions) AS interactions,
       unnest(p.events) AS events, unnest(p.units) AS units, unnest(p.revenue) AS revenue
FROM analytics.pending p;
COMMENT ON VIEW analytics.unfolded IS 'What is not in the rollups yet, as analytics.pending has it.';

CREATE VIEW analytics.event_counts AS
SELECT day, event_name, currency, interactions, events, units, revenue FROM analytics.rollup_event
UNION ALL
SELECT day, event_name, currency, interactions, events, units, revenue FROM analytics.unfolded WHERE product_key IS NULL;

CREATE VIEW analytics.product_counts AS
SELECT day, product_key, event_name, currency, interactions, units, revenue FROM analytics.rollup_product
UNION ALL
SELECT day, product_key, event_name, currency, interactions, units, revenue FROM analytics.unfolded WHERE product_key IS NOT NULL;

CREATE VIEW analytics.list_counts AS
SELECT day, list_key, event_name, list_position, interactions, units FROM analytics.rollup_list
UNION ALL
SELECT day, list_key, event_name, list_position, interactions, units FROM analytics.unfolded
WHERE product_key IS NULL AND list_key IS NOT NULL;

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
