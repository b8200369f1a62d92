-- The metrics, in a schema of their own: daily rollups that the writing transaction keeps exact,
-- and views and functions that define each metric once. sql/README.md is the guide to them.
--
-- Days are UTC and ranges include both ends. Rates are fractions, NULL where nothing can be divided by.
-- A person is user_id, or user_pseudo_id where nobody is signed in.

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
    'Metrics with definitions: each view and function states its formula, its grain and the GA4 metric it equals or replaces.';

-- Purchases are few among the facts, so these cost writing little and save reading everything.
CREATE INDEX fact_events_purchase_time ON fact_events (event_time) WHERE event_name = 'purchase';
CREATE INDEX fact_events_purchase_transaction ON fact_events (transaction_id)
    WHERE event_name = 'purchase' AND transaction_id IS NOT NULL;

CREATE FUNCTION analytics.day_of(moment timestamptz) RETURNS date
    IMMUTABLE PARALLEL SAFE RETURN (moment AT TIME ZONE 'UTC')::date;
COMMENT ON FUNCTION analytics.day_of IS 'The UTC day of a moment.';

CREATE FUNCTION analytics.start_of(day date) RETURNS timestamptz
    IMMUTABLE PARALLEL SAFE RETURN day::timestamp AT TIME ZONE 'UTC';
COMMENT ON FUNCTION analytics.start_of IS 'The moment a UTC day begins.';

-- ---------------------------------------------------------------------------------------------
-- Rollups. Only what adds up is kept: counts, units, revenue. People don't add up over days and
-- are counted from the facts.
--
-- shard is the partition of the topic, modulo 16: each partition has one writer, so two sinks
-- hardly ever change the same row, and neither waits for the other's commit. Those that share a
-- shard take their rows in key order.

CREATE TABLE analytics.rollup_event (
    day          date NOT NULL,
    event_name   text NOT NULL,
    currency     text NOT NULL,
    shard        smallint NOT NULL,
    interactions bigint NOT NULL,
    events       bigint NOT NULL,
    units        numeric NOT NULL,
    revenue      numeric NOT NULL,
    PRIMARY KEY (day, event_name, currency, shard)
) WITH (fillfactor = 50);

CREATE TABLE analytics.rollup_product (
    day          date NOT NULL,
    product_key  bigint NOT NULL,
    event_name   text NOT NULL,
    currency     text NOT NULL,
    shard        smallint NOT NULL,
    interactions bigint NOT NULL,
    units        numeric NOT NULL,
    revenue      numeric NOT NULL,
    PRIMARY KEY (day, product_key, event_name, currency, shard)
) WITH (fillfactor = 70);

CREATE TABLE analytics.rollup_list (
    day           date NOT NULL,
    list_key      bigint NOT NULL,
    event_name    text NOT NULL,
    list_position integer NOT NULL,
    shard         smallint NOT NULL,
    interactions  bigint NOT NULL,
    units         numeric NOT NULL,
    PRIMARY KEY (day, list_key, event_name, list_position, shard)
) WITH (fillfactor = 70);

COMMENT ON TABLE analytics.rollup_event IS 'Facts of a day by event name and currency. Kept by triggers on fact_events; sum over shard.';
COMMENT ON TABLE analytics.rollup_product IS
    'Facts of a day by product, event name and currency; without view_item_list, which would be most of the rows. Kept by triggers on fact_events; sum over shard.';
COMMENT ON TABLE analytics.rollup_list IS 'Facts of a day by list, event name and position. Kept by triggers on fact_events; sum over shard.';
COMMENT ON COLUMN analytics.rollup_event.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.rollup_event.event_name IS 'GA4 event name.';
COMMENT ON COLUMN analytics.rollup_event.currency IS 'Currency; empty where none was sent.';
COMMENT ON COLUMN analytics.rollup_event.shard IS 'source_partition modulo 16, so that writers don''t wait for each other.';
COMMENT ON COLUMN analytics.rollup_event.interactions IS 'Facts: items of events.';
COMMENT ON COLUMN analytics.rollup_event.events IS 'Events, each counted by its first item (item_ordinal 0 or 1).';
COMMENT ON COLUMN analytics.rollup_event.units IS 'Sum of quantity, one where none was sent.';
COMMENT ON COLUMN analytics.rollup_event.revenue IS 'Sum of price times quantity. An order sent twice under two event ids counts twice; analytics.purchase_lines counts it once.';
COMMENT ON COLUMN analytics.rollup_product.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.rollup_product.product_key IS 'The product, dim_product.product_key.';
COMMENT ON COLUMN analytics.rollup_product.event_name IS 'GA4 event name, never view_item_list.';
COMMENT ON COLUMN analytics.rollup_product.currency IS 'Currency; empty where none was sent.';
COMMENT ON COLUMN analytics.rollup_product.shard IS 'source_partition modulo 16.';
COMMENT ON COLUMN analytics.rollup_product.interactions IS 'Facts: items of events.';
COMMENT ON COLUMN analytics.rollup_product.units IS 'Sum of quantity, one where none was sent.';
COMMENT ON COLUMN analytics.rollup_product.revenue IS 'Sum of price times quantity; orders sent twice count twice.';
COMMENT ON COLUMN analytics.rollup_list.day IS 'UTC day of event_time.';
COMMENT ON COLUMN analytics.rollup_list.list_key IS 'The list, dim_list.list_key.';
COMMENT ON COLUMN analytics.rollup_list.event_name IS 'GA4 event name.';
COMMENT ON COLUMN analytics.rollup_list.list_position IS 'Position in the list as sent; -1 where none or a negative one was sent, 1000 for all from there on.';
COMMENT ON COLUMN analytics.rollup_list.shard IS 'source_partition modulo 16.';
COMMENT ON COLUMN analytics.rollup_list.interactions IS 'Facts: items of events.';
COMMENT ON COLUMN analytics.rollup_list.units IS 'Sum of quantity, one where none was sent.';

-- One definition for the three triggers: facts that come count +1, facts that go count -1. A
-- statement that inserts ON CONFLICT DO NOTHING hands over the new rows alone, so a replay adds nothing.
DO $make$
DECLARE
    kind record;
BEGIN
    FOR kind IN VALUES
        ('insert', 'SELECT 1 AS sign, * FROM added'),
        ('delete', 'SELECT -1 AS sign, * FROM removed'),
        ('update', 'SELECT 1 AS sign, * FROM added UNION ALL SELECT -1, * FROM removed')
    LOOP
        EXECUTE format($template$
CREATE FUNCTION analytics.roll_up_%1$s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
BEGIN
    INSERT INTO analytics.rollup_event AS r
    SELECT analytics.day_of(event_time), event_name, coalesce(currency, ''), source_partition %% 16,
           sum(sign), coalesce(sum(sign) FILTER (WHERE item_ordinal <= 1), 0),
           sum(sign * coalesce(quantity, 1)), coalesce(sum(sign * price * coalesce(quantity, 1)), 0)
    FROM (%2$s) f
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (day, event_name, currency, shard) DO UPDATE SET
        interactions = r.interactions + excluded.interactions, events = r.events + excluded.events,
        units = r.units + excluded.units, revenue = r.revenue + excluded.revenue;

    INSERT INTO analytics.rollup_product AS r
    SELECT analytics.day_of(event_time), product_key, event_name, coalesce(currency, ''), source_partition %% 16,
           sum(sign), sum(sign * coalesce(quantity, 1)), coalesce(sum(sign * price * coalesce(quantity, 1)), 0)
    FROM (%2$s) f
    WHERE product_key IS NOT NULL AND event_name <> 'view_item_list'
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (day, product_key, event_name, currency, shard) DO UPDATE SET
        interactions = r.interactions + excluded.interactions,
        units = r.units + excluded.units, revenue = r.revenue + excluded.revenue;

    INSERT INTO analytics.rollup_list AS r
    SELECT analytics.day_of(event_time), list_key, event_name, greatest(-1, least(1000, coalesce(list_position, -1))),
           source_partition %% 16, sum(sign), sum(sign * coalesce(quantity, 1))
    FROM (%2$s) f
    WHERE list_key IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (day, list_key, event_name, list_position, shard) DO UPDATE SET
        interactions = r.interactions + excluded.interactions, units = r.units + excluded.units;
    RETURN NULL;
END $body$ $template$, kind.column1, kind.column2);
    END LOOP;
END $make$;

CREATE FUNCTION analytics.roll_up_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    TRUNCATE analytics.rollup_event, analytics.rollup_product, analytics.rollup_list;
    RETURN NULL;
END $$;

COMMENT ON FUNCTION analytics.roll_up_insert IS 'Adds new facts to the rollups, in the transaction that writes them.';
COMMENT ON FUNCTION analytics.roll_up_delete IS 'Takes deleted facts out of the rollups.';
COMMENT ON FUNCTION analytics.roll_up_update IS 'Moves changed facts within the rollups.';
COMMENT ON FUNCTION analytics.roll_up_truncate IS 'Empties the rollups with the facts.';

-- On the parent: a month that is made, detached or dropped moves no numbers.
CREATE TRIGGER roll_up_insert AFTER INSERT ON fact_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION analytics.roll_up_insert();
CREATE TRIGGER roll_up_delete AFTER DELETE ON fact_events
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION analytics.roll_up_delete();
CREATE TRIGGER roll_up_update AFTER UPDATE ON fact_events
    REFERENCING NEW TABLE AS added OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION analytics.roll_up_update();
CREATE TRIGGER roll_up_truncate AFTER TRUNCATE ON fact_events
    FOR EACH STATEMENT EXECUTE FUNCTION analytics.roll_up_truncate();

-- What the rollups must hold, from the facts.
CREATE VIEW analytics.rollup_event_from_facts AS
SELECT analytics.day_of(event_time) AS day, event_name, coalesce(currency, '') AS currency,
       (source_partition % 16)::smallint AS shard, count(*) AS interactions,
       count(*) FILTER (WHERE item_ordinal <= 1) AS events, sum(coalesce(quantity, 1)) AS units,
       coalesce(sum(price * coalesce(quantity, 1)), 0) AS revenue
FROM fact_events
GROUP BY 1, 2, 3, 4;

CREATE VIEW analytics.rollup_product_from_facts AS
SELECT analytics.day_of(event_time) AS day, product_key, event_name, coalesce(currency, '') AS currency,
       (source_partition % 16)::smallint AS shard, count(*) AS interactions, sum(coalesce(quantity, 1)) AS units,
       coalesce(sum(price * coalesce(quantity, 1)), 0) AS revenue
FROM fact_events
WHERE product_key IS NOT NULL AND event_name <> 'view_item_list'
GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW analytics.rollup_list_from_facts AS
SELECT analytics.day_of(event_time) AS day, list_key, event_name,
       greatest(-1, least(1000, coalesce(list_position, -1))) AS list_position,
       (source_partition % 16)::smallint AS shard, count(*) AS interactions, sum(coalesce(quantity, 1)) AS units
FROM fact_events
WHERE list_key IS NOT NULL
GROUP BY 1, 2, 3, 4, 5;

COMMENT ON VIEW analytics.rollup_event_from_facts IS 'What rollup_event must hold, counted anew.';
COMMENT ON VIEW analytics.rollup_product_from_facts IS 'What rollup_product must hold, counted anew.';
COMMENT ON VIEW analytics.rollup_list_from_facts IS 'What rollup_list must hold, counted anew.';

CREATE FUNCTION analytics.has_facts_of_month(day date) RETURNS boolean STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM fact_events
    WHERE event_time >= date_trunc('month', day::timestamp) AT TIME ZONE 'UTC'
      AND event_time < (date_trunc('month', day::timestamp) + interval '1 month') AT TIME ZONE 'UTC'
);
COMMENT ON FUNCTION analytics.has_facts_of_month IS
    'Whether facts of the day''s month are there. Where a month was detached or dropped, its rollups are all that is left and are kept.';

CREATE FUNCTION analytics.rollup_differences(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (rollup text, day date, key text, counted bigint, stored bigint) STABLE
BEGIN ATOMIC
    WITH kept AS (
        SELECT m.month FROM (SELECT DISTINCT date_trunc('month', r.day::timestamp)::date AS month FROM analytics.rollup_event r
                             WHERE r.day BETWEEN from_day AND to_day) m
        WHERE NOT analytics.has_facts_of_month(m.month)
    ), rows AS (
        SELECT 'event' AS rollup, r.day, concat_ws(' ', r.event_name, r.currency, 'shard', r.shard) AS key, 1 AS side,
               r.interactions, r.events, r.units, r.revenue FROM analytics.rollup_event r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'event', r.day, concat_ws(' ', r.event_name, r.currency, 'shard', r.shard), 0,
               r.interactions, r.events, r.units, r.revenue FROM analytics.rollup_event_from_facts r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'product', r.day, concat_ws(' ', r.product_key, r.event_name, r.currency, 'shard', r.shard), 1,
               r.interactions, 0, r.units, r.revenue FROM analytics.rollup_product r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'product', r.day, concat_ws(' ', r.product_key, r.event_name, r.currency, 'shard', r.shard), 0,
               r.interactions, 0, r.units, r.revenue FROM analytics.rollup_product_from_facts r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'list', r.day, concat_ws(' ', r.list_key, r.event_name, r.list_position, 'shard', r.shard), 1,
               r.interactions, 0, r.units, 0 FROM analytics.rollup_list r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'list', r.day, concat_ws(' ', r.list_key, r.event_name, r.list_position, 'shard', r.shard), 0,
               r.interactions, 0, r.units, 0 FROM analytics.rollup_list_from_facts r WHERE r.day BETWEEN from_day AND to_day
    )
    SELECT r.rollup, r.day, r.key,
           coalesce(sum(r.interactions) FILTER (WHERE r.side = 0), 0)::bigint,
           coalesce(sum(r.interactions) FILTER (WHERE r.side = 1), 0)::bigint
    FROM rows r
    WHERE date_trunc('month', r.day::timestamp)::date NOT IN (SELECT kept.month FROM kept)
    GROUP BY r.rollup, r.day, r.key
    HAVING (coalesce(sum(r.interactions) FILTER (WHERE r.side = 0), 0), coalesce(sum(r.events) FILTER (WHERE r.side = 0), 0),
            coalesce(sum(r.units) FILTER (WHERE r.side = 0), 0), coalesce(sum(r.revenue) FILTER (WHERE r.side = 0), 0))
        <> (coalesce(sum(r.interactions) FILTER (WHERE r.side = 1), 0), coalesce(sum(r.events) FILTER (WHERE r.side = 1), 0),
            coalesce(sum(r.units) FILTER (WHERE r.side = 1), 0), coalesce(sum(r.revenue) FILTER (WHERE r.side = 1), 0))
    ORDER BY 1, 2, 3;
END;
COMMENT ON FUNCTION analytics.rollup_differences IS
    'Where the rollups differ from the facts: the facts counted anew and what is stored. No row means that they agree. Days of months whose facts are gone are not compared.';

CREATE FUNCTION analytics.rebuild_rollups(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', forget boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    kept date[];
    made bigint;
    total bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'rebuild_rollups needs the isolation level read committed: it has to see what was committed while it waited for the writers';
    END IF;
    -- Waits for the writers under way and holds up the next ones: what they write is counted by
    -- this or by their own trigger, never by both.
    LOCK TABLE analytics.rollup_event, analytics.rollup_product, analytics.rollup_list IN SHARE ROW EXCLUSIVE MODE;
    SELECT coalesce(array_agg(m.month), '{}') INTO kept
    FROM (SELECT DISTINCT date_trunc('month', r.day::timestamp)::date AS month FROM analytics.rollup_event r
          WHERE r.day BETWEEN from_day AND to_day) m
    WHERE NOT forget AND NOT analytics.has_facts_of_month(m.month);

    DELETE FROM analytics.rollup_event r
    WHERE r.day BETWEEN from_day AND to_day AND date_trunc('month', r.day::timestamp)::date <> ALL (kept);
    DELETE FROM analytics.rollup_product r
    WHERE r.day BETWEEN from_day AND to_day AND date_trunc('month', r.day::timestamp)::date <> ALL (kept);
    DELETE FROM analytics.rollup_list r
    WHERE r.day BETWEEN from_day AND to_day AND date_trunc('month', r.day::timestamp)::date <> ALL (kept);

    INSERT INTO analytics.rollup_event SELECT * FROM analytics.rollup_event_from_facts r WHERE r.day BETWEEN from_day AND to_day;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    INSERT INTO analytics.rollup_product SELECT * FROM analytics.rollup_product_from_facts r WHERE r.day BETWEEN from_day AND to_day;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    INSERT INTO analytics.rollup_list SELECT * FROM analytics.rollup_list_from_facts r WHERE r.day BETWEEN from_day AND to_day;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    RETURN total;
END $$;
COMMENT ON FUNCTION analytics.rebuild_rollups IS
    'Counts the rollups of these days anew from the facts; returns the rows made. Days of months whose facts are gone are kept, unless forget is true. Writers wait meanwhile.';

-- Migrations run in a transaction, and the triggers above hold writers up until its end.
SELECT analytics.rebuild_rollups();

-- ---------------------------------------------------------------------------------------------
-- Purchases, each counted once.

CREATE VIEW analytics.purchase_lines AS
SELECT f.event_time, analytics.day_of(f.event_time) AS day,
       coalesce(f.transaction_id, f.event_id, f.fact_hash::text) AS order_id,
       f.transaction_id, coalesce(f.user_id, f.user_pseudo_id) AS person, f.session_id, f.platform,
       f.product_key, f.product_variant, f.list_key, f.item_ordinal,
       coalesce(f.quantity, 1) AS units, f.price * coalesce(f.quantity, 1) AS revenue, f.currency,
       f.value, f.tax, f.shipping, f.event_coupon, f.fact_hash
FROM fact_events f
WHERE f.event_name = 'purchase'
  AND NOT EXISTS (
      SELECT FROM fact_events e
      WHERE e.event_name = 'purchase' AND f.transaction_id IS NOT NULL AND e.transaction_id = f.transaction_id
        AND e.item_ordinal = f.item_ordinal AND e.product_key IS NOT DISTINCT FROM f.product_key
        AND (e.event_time, e.fact_hash) < (f.event_time, f.fact_hash)
  );
COMMENT ON VIEW analytics.purchase_lines IS
    'Grain: one product at one place of one order. An order that was sent under several event ids counts once: of the purchase facts with the same transaction_id, product and item_ordinal the earliest. revenue = price x units, without tax and shipping (GA4 gross item revenue; dbt-ga4''s event_purchase_deduplicated by lines).';

CREATE VIEW analytics.purchases AS
SELECT order_id, min(event_time) AS event_time, min(day) AS day, min(person) AS person, min(platform) AS platform,
       count(product_key) AS lines, sum(units) FILTER (WHERE product_key IS NOT NULL) AS units,
       CASE WHEN count(DISTINCT currency) <= 1 THEN sum(revenue) END AS item_revenue,
       CASE WHEN count(DISTINCT currency) <= 1 THEN min(currency) END AS currency,
       (array_agg(value ORDER BY event_time, fact_hash))[1] AS value,
       (array_agg(tax ORDER BY event_time, fact_hash))[1] AS tax,
       (array_agg(shipping ORDER BY event_time, fact_hash))[1] AS shipping
FROM analytics.purchase_lines
GROUP BY order_id;
COMMENT ON VIEW analytics.purchases IS
    'Grain: one order, GA4 transactions (purchases deduplicated by transaction_id; without one, by event). value, tax and shipping are of the earliest event. Amounts are NULL where currencies are mixed.';

-- ---------------------------------------------------------------------------------------------
-- Funnel.

CREATE VIEW analytics.daily_funnel AS
SELECT day,
       coalesce(sum(interactions) FILTER (WHERE event_name = 'view_item_list'), 0)::bigint AS impressions,
       coalesce(sum(events) FILTER (WHERE event_name = 'view_item_list'), 0)::bigint AS list_views,
       coalesce(sum(events) FILTER (WHERE event_name = 'select_item'), 0)::bigint AS selects,
       coalesce(sum(events) FILTER (WHERE event_name = 'view_item'), 0)::bigint AS views,
       coalesce(sum(events) FILTER (WHERE event_name = 'add_to_cart'), 0)::bigint AS add_to_carts,
       coalesce(sum(events) FILTER (WHERE event_name = 'begin_checkout'), 0)::bigint AS checkouts,
       coalesce(sum(events) FILTER (WHERE event_name = 'purchase'), 0)::bigint AS purchases
FROM analytics.rollup_event
GROUP BY day;
COMMENT ON VIEW analytics.daily_funnel IS
    'Grain: one UTC day, from the rollups. Events of each step (GA4 itemListViewEvents, itemListClickEvents, itemViewEvents, addToCarts, checkouts, ecommercePurchases); impressions are the products shown in lists. purchases counts events: analytics.purchases counts orders.';

CREATE VIEW analytics.daily_revenue AS
SELECT day, nullif(currency, '') AS currency, sum(events)::bigint AS purchase_events, sum(units) AS units, sum(revenue) AS revenue
FROM analytics.rollup_event
WHERE event_name = 'purchase'
GROUP BY day, currency
HAVING sum(interactions) <> 0;
COMMENT ON VIEW analytics.daily_revenue IS
    'Grain: one UTC day and currency, from the rollups. revenue = sum of price x quantity over purchase items (GA4 gross item revenue). Orders sent twice count twice here; for one count of each order sum analytics.purchase_lines.';

CREATE FUNCTION analytics.funnel_people(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, list_viewers bigint, viewers bigint, cart_adders bigint, checkout_starters bigint, buyers bigint,
               list_to_view_rate numeric, view_to_checkout_rate numeric, checkout_to_purchase_rate numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH people AS (
        SELECT analytics.day_of(f.event_time) AS day, f.event_name, coalesce(f.user_id, f.user_pseudo_id) AS person
        FROM fact_events f
        WHERE f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
          AND f.event_name IN ('view_item_list', 'view_item', 'add_to_cart', 'begin_checkout', 'purchase')
          AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
        GROUP BY 1, 2, 3
    ), counts AS (
        SELECT p.day,
               count(*) FILTER (WHERE p.event_name = 'view_item_list') AS list_viewers,
               count(*) FILTER (WHERE p.event_name = 'view_item') AS viewers,
               count(*) FILTER (WHERE p.event_name = 'add_to_cart') AS cart_adders,
               count(*) FILTER (WHERE p.event_name = 'begin_checkout') AS checkout_starters,
               count(*) FILTER (WHERE p.event_name = 'purchase') AS buyers
        FROM people p GROUP BY p.day
    )
    SELECT c.day, c.list_viewers, c.viewers, c.cart_adders, c.checkout_starters, c.buyers,
           c.viewers::numeric / nullif(c.list_viewers, 0), c.checkout_starters::numeric / nullif(c.viewers, 0),
           c.buyers::numeric / nullif(c.checkout_starters, 0)
    FROM counts c ORDER BY c.day;
END;
COMMENT ON FUNCTION analytics.funnel_people IS
    'Grain: one UTC day. People with at least one event of each step that day (GA4 active users by event name), and each step''s people / those of the step before. An open funnel: as in GA4 nobody has to pass the steps in order.';

-- ---------------------------------------------------------------------------------------------
-- Products.

CREATE VIEW analytics.daily_products AS
SELECT r.day, r.product_key, p.product_id, p.product_name, p.product_brand, p.product_category,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'view_item'), 0)::bigint AS views,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'add_to_cart'), 0)::bigint AS add_to_carts,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'begin_checkout'), 0)::bigint AS checkouts,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'purchase'), 0)::bigint AS purchases,
       coalesce(sum(r.units) FILTER (WHERE r.event_name = 'purchase'), 0) AS units_sold,
       CASE WHEN count(DISTINCT r.currency) FILTER (WHERE r.event_name = 'purchase' AND r.currency <> '') <= 1
            THEN coalesce(sum(r.revenue) FILTER (WHERE r.event_name = 'purchase'), 0) END AS revenue
FROM analytics.rollup_product r
LEFT JOIN dim_product p USING (product_key)
GROUP BY r.day, r.product_key, p.product_id, p.product_name, p.product_brand, p.product_category;
COMMENT ON VIEW analytics.daily_products IS
    'Grain: one product on one UTC day, from the rollups. Items of each event (GA4 item view events, add to carts, checkouts, purchases by item), units_sold (GA4 items purchased), revenue (GA4 gross item revenue; NULL where currencies are mixed). Orders sent twice count twice.';

CREATE FUNCTION analytics.product_performance(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_viewers bigint DEFAULT 0
) RETURNS TABLE (product_key bigint, product_id text, product text, brand text, category text,
                 viewers bigint, cart_adders bigint, checkout_starters bigint, buyers bigint,
                 views bigint, add_to_carts bigint, checkouts bigint, purchases bigint,
                 units_sold numeric, revenue numeric, currency text,
                 cart_to_view_user_rate numeric, view_to_purchase_user_rate numeric, view_to_purchase_event_rate numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH people AS (
        SELECT f.product_key, f.event_name, coalesce(f.user_id, f.user_pseudo_id) AS person, count(*) AS interactions
        FROM fact_events f
        WHERE f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
          AND f.event_name IN ('view_item', 'add_to_cart', 'begin_checkout', 'purchase')
          AND f.product_key IS NOT NULL
        GROUP BY 1, 2, 3
    ), counts AS (
        SELECT p.product_key,
               count(p.person) FILTER (WHERE p.event_name = 'view_item') AS viewers,
               count(p.person) FILTER (WHERE p.event_name = 'add_to_cart') AS cart_adders,
               count(p.person) FILTER (WHERE p.event_name = 'begin_checkout') AS checkout_starters,
               count(p.person) FILTER (WHERE p.event_name = 'purchase') AS buyers,
               coalesce(sum(p.interactions) FILTER (WHERE p.event_name = 'view_item'), 0)::bigint AS views,
               coalesce(sum(p.interactions) FILTER (WHERE p.event_name = 'add_to_cart'), 0)::bigint AS add_to_carts,
               coalesce(sum(p.interactions) FILTER (WHERE p.event_name = 'begin_checkout'), 0)::bigint AS checkouts
        FROM people p GROUP BY p.product_key
    ), sales AS (
        SELECT l.product_key, count(DISTINCT l.order_id) AS purchases, sum(l.units) AS units,
               CASE WHEN count(DISTINCT l.currency) <= 1 THEN sum(l.revenue) END AS revenue,
               CASE WHEN count(DISTINCT l.currency) <= 1 THEN min(l.currency) END AS currency
        FROM analytics.purchase_lines l
        WHERE l.event_time >= analytics.start_of(from_day) AND l.event_time < analytics.start_of(to_day + 1)
        GROUP BY l.product_key
    )
    SELECT c.product_key, d.product_id, coalesce(d.product_name, d.product_id, d.natural_key), d.product_brand, d.product_category,
           c.viewers, c.cart_adders, c.checkout_starters, c.buyers, c.views, c.add_to_carts, c.checkouts,
           coalesce(s.purchases, 0), coalesce(s.units, 0), s.revenue, s.currency,
           c.cart_adders::numeric / nullif(c.viewers, 0), c.buyers::numeric / nullif(c.viewers, 0),
           coalesce(s.purchases, 0)::numeric / nullif(c.views, 0)
    FROM counts c
    JOIN dim_product d USING (product_key)
    LEFT JOIN sales s USING (product_key)
    WHERE c.viewers >= min_viewers;
END;
COMMENT ON FUNCTION analytics.product_performance IS
    'Grain: one product. viewers/buyers = people with view_item/purchase of it. cart_to_view_user_rate = cart_adders / viewers (GA4 cartToViewRate); view_to_purchase_user_rate = buyers / viewers (GA4 purchaseToViewRate); view_to_purchase_event_rate = orders with it / view_item items, for data without people. purchases are orders, each once; revenue as in purchase_lines, NULL where currencies are mixed.';

CREATE FUNCTION analytics.product_pairs(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_orders bigint DEFAULT 2
) RETURNS TABLE (product_key_a bigint, product_a text, product_key_b bigint, product_b text,
                 orders bigint, orders_a bigint, orders_b bigint, confidence_a_to_b numeric, lift numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH baskets AS MATERIALIZED (
        SELECT DISTINCT l.order_id, l.product_key
        FROM analytics.purchase_lines l
        WHERE l.event_time >= analytics.start_of(from_day) AND l.event_time < analytics.start_of(to_day + 1)
          AND l.product_key IS NOT NULL
    ), singles AS (
        SELECT b.product_key, count(*) AS orders FROM baskets b GROUP BY b.product_key
    ), pairs AS (
        SELECT a.product_key AS a, b.product_key AS b, count(*) AS orders
        FROM baskets a JOIN baskets b ON b.order_id = a.order_id AND b.product_key > a.product_key
        GROUP BY 1, 2
        HAVING count(*) >= min_orders
    )
    SELECT p.a, coalesce(da.product_name, da.product_id, da.natural_key), p.b, coalesce(db.product_name, db.product_id, db.natural_key),
           p.orders, sa.orders, sb.orders, p.orders::numeric / nullif(sa.orders, 0),
           p.orders::numeric * (SELECT count(DISTINCT t.order_id) FROM baskets t) / nullif(sa.orders * sb.orders, 0)
    FROM pairs p
    JOIN singles sa ON sa.product_key = p.a
    JOIN singles sb ON sb.product_key = p.b
    LEFT JOIN dim_product da ON da.product_key = p.a
    LEFT JOIN dim_product db ON db.product_key = p.b;
END;
COMMENT ON FUNCTION analytics.product_pairs IS
    'Grain: two different products bought in one order. orders = orders with both; confidence_a_to_b = orders with both / orders with a; lift = orders with both x all orders / (orders with a x orders with b): above 1, they are bought together more often than by chance. GA4 has no such metric.';

-- ---------------------------------------------------------------------------------------------
-- Lists.

CREATE VIEW analytics.daily_lists AS
SELECT r.day, r.list_key, l.list_id, l.list_name,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'view_item_list'), 0)::bigint AS impressions,
       coalesce(sum(r.units) FILTER (WHERE r.event_name = 'view_item_list'), 0) AS items_viewed_in_list,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'select_item'), 0)::bigint AS selects,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'view_item'), 0)::bigint AS views_from_list
FROM analytics.rollup_list r
LEFT JOIN dim_list l USING (list_key)
GROUP BY r.day, r.list_key, l.list_id, l.list_name;
COMMENT ON VIEW analytics.daily_lists IS
    'Grain: one list on one UTC day, from the rollups. impressions = products shown; items_viewed_in_list = their units (GA4 itemsViewedInList); selects = select_item items (GA4 itemListClickEvents by item); views_from_list = view_item items that name the list.';

CREATE FUNCTION analytics.list_clicks(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (event_time timestamptz, fact_hash uuid, person text, product_key bigint, list_key bigint, list_position integer, is_substitute boolean)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH selecting AS MATERIALIZED (
        SELECT DISTINCT r.list_key FROM analytics.rollup_list r
        WHERE r.event_name = 'select_item' AND r.interactions > 0 AND r.day BETWEEN from_day AND to_day
    ), led AS (
        SELECT DISTINCT ON (v.event_time, v.fact_hash)
               v.event_time, v.fact_hash, coalesce(v.user_id, v.user_pseudo_id) AS person, v.product_key, i.list_key, i.list_position
        FROM fact_events v
        JOIN fact_events i
          ON i.product_key = v.product_key
         AND coalesce(i.user_id, i.user_pseudo_id) = coalesce(v.user_id, v.user_pseudo_id)
         AND i.event_time <= v.event_time AND i.event_time >= v.event_time - interval '30 minutes'
        WHERE v.event_name = 'view_item'
          AND v.event_time >= analytics.start_of(from_day) AND v.event_time < analytics.start_of(to_day + 1)
          AND i.event_name = 'view_item_list' AND i.list_key IS NOT NULL
          AND i.event_time >= analytics.start_of(from_day) - interval '30 minutes' AND i.event_time < analytics.start_of(to_day + 1)
        ORDER BY v.event_time, v.fact_hash, i.event_time DESC, i.list_key DESC, i.fact_hash DESC
    )
    SELECT s.event_time, s.fact_hash, coalesce(s.user_id, s.user_pseudo_id), s.product_key, s.list_key, s.list_position, false
    FROM fact_events s
    WHERE s.event_name = 'select_item' AND s.list_key IN (SELECT selecting.list_key FROM selecting)
      AND s.event_time >= analytics.start_of(from_day) AND s.event_time < analytics.start_of(to_day + 1)
    UNION ALL
    SELECT led.event_time, led.fact_hash, led.person, led.product_key, led.list_key, led.list_position, true
    FROM led
    WHERE led.list_key NOT IN (SELECT selecting.list_key FROM selecting);
END;
COMMENT ON FUNCTION analytics.list_clicks IS
    'Grain: one click on a product in a list. For a list that sends select_item in the range, its select_item items (GA4). For the others the substitute: a view_item of a product by a person to whom it was shown in the list (view_item_list) within the 30 minutes before; of several lists the one that showed it last. list_position is the position clicked, or shown.';

CREATE FUNCTION analytics.list_sales(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (event_time timestamptz, order_id text, product_key bigint, units numeric, revenue numeric, currency text, list_key bigint)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT DISTINCT ON (l.event_time, l.fact_hash)
           l.event_time, l.order_id, l.product_key, l.units, l.revenue, l.currency, coalesce(l.list_key, c.list_key)
    FROM analytics.purchase_lines l
    LEFT JOIN analytics.list_clicks(from_day - 1, to_day) c
      ON l.list_key IS NULL AND c.person = l.person AND c.product_key = l.product_key
     AND c.event_time <= l.event_time AND c.event_time >= l.event_time - interval '24 hours'
    WHERE l.event_time >= analytics.start_of(from_day) AND l.event_time < analytics.start_of(to_day + 1)
      AND coalesce(l.list_key, c.list_key) IS NOT NULL
    ORDER BY l.event_time, l.fact_hash, c.event_time DESC, c.list_key DESC;
END;
COMMENT ON FUNCTION analytics.list_sales IS
    'Grain: one line of an order that a list led to: the list that the purchase''s item names, else the list of the person''s last click on the product (list_clicks) in the 24 hours before. GA4 item-list attribution.';

CREATE FUNCTION analytics.list_engagement(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (list_key bigint, impressions bigint, shown bigint, engaged bigint, viewers bigint, engaged_viewers bigint)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH impressions AS (
        SELECT f.list_key, f.product_key, coalesce(f.user_id, f.user_pseudo_id) AS person, min(f.event_time) AS seen_at, count(*) AS times
        FROM fact_events f
        WHERE f.event_name = 'view_item_list' AND f.list_key IS NOT NULL AND f.product_key IS NOT NULL
          AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
          AND f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
        GROUP BY 1, 2, 3
    ), engagements AS (
        SELECT f.product_key, coalesce(f.user_id, f.user_pseudo_id) AS person, max(f.event_time) AS engaged_at
        FROM fact_events f
        WHERE f.event_name IN ('select_item', 'view_item', 'add_to_cart', 'begin_checkout', 'purchase')
          AND f.product_key IS NOT NULL AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
          AND f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
        GROUP BY 1, 2
    ), people AS (
        SELECT i.list_key, i.person, sum(i.times) AS impressions, count(*) AS shown,
               count(*) FILTER (WHERE e.engaged_at >= i.seen_at) AS engaged
        FROM impressions i LEFT JOIN engagements e USING (product_key, person)
        GROUP BY i.list_key, i.person
    )
    SELECT p.list_key, sum(p.impressions)::bigint, sum(p.shown)::bigint, sum(p.engaged)::bigint,
           count(*), count(*) FILTER (WHERE p.engaged > 0)
    FROM people p GROUP BY p.list_key;
END;
COMMENT ON FUNCTION analytics.list_engagement IS
    'Grain: one list. impressions = products shown to known people; shown = distinct products and people among them; engaged = those where the person went on to select, view, add, check out or buy the product, at the time first shown or later, within the range; viewers = people who saw the list. GA4 defines no engagement rate of lists: it is engaged / shown.';

CREATE FUNCTION analytics.list_performance(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0
) RETURNS TABLE (list_key bigint, list_id text, list text, impressions bigint, viewers bigint, clicks bigint, clickers bigint,
                 click_through_user_rate numeric, click_through_event_rate numeric, engagement_rate numeric, engaged_user_rate numeric,
                 purchases bigint, units_sold numeric, revenue numeric, currency text, clicks_are_substitute boolean)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH seen AS (
        SELECT r.list_key, sum(r.interactions)::bigint AS impressions
        FROM analytics.rollup_list r
        WHERE r.event_name = 'view_item_list' AND r.day BETWEEN from_day AND to_day
        GROUP BY r.list_key
    ), engagement AS (
        SELECT * FROM analytics.list_engagement(from_day, to_day)
    ), clicked AS (
        SELECT c.list_key, count(*) AS clicks, count(DISTINCT c.person) AS clickers, bool_or(c.is_substitute) AS is_substitute
        FROM analytics.list_clicks(from_day, to_day) c GROUP BY c.list_key
    ), sold AS (
        SELECT s.list_key, count(DISTINCT s.order_id) AS purchases, sum(s.units) AS units,
               CASE WHEN count(DISTINCT s.currency) <= 1 THEN sum(s.revenue) END AS revenue,
               CASE WHEN count(DISTINCT s.currency) <= 1 THEN min(s.currency) END AS currency
        FROM analytics.list_sales(from_day, to_day) s GROUP BY s.list_key
    )
    SELECT s.list_key, d.list_id, coalesce(d.list_name, d.list_id, d.natural_key), s.impressions, coalesce(e.viewers, 0),
           coalesce(c.clicks, 0), coalesce(c.clickers, 0),
           coalesce(c.clickers, 0)::numeric / nullif(e.viewers, 0), coalesce(c.clicks, 0)::numeric / nullif(s.impressions, 0),
           e.engaged::numeric / nullif(e.shown, 0), e.engaged_viewers::numeric / nullif(e.viewers, 0),
           coalesce(b.purchases, 0), coalesce(b.units, 0), b.revenue, b.currency, c.is_substitute
    FROM seen s
    JOIN dim_list d USING (list_key)
    LEFT JOIN engagement e USING (list_key)
    LEFT JOIN clicked c USING (list_key)
    LEFT JOIN sold b USING (list_key)
    WHERE s.impressions >= min_impressions;
END;
COMMENT ON FUNCTION analytics.list_performance IS
    'Grain: one list. impressions = products shown; click_through_user_rate = people who clicked / people who saw the list (GA4 itemListClickThroughRate, with the clicks of list_clicks); click_through_event_rate = clicks / impressions, for data without people; engagement_rate = engaged / shown of list_engagement; purchases, units and revenue are those of list_sales. clicks_are_substitute tells whether select_item was missing.';

CREATE FUNCTION analytics.list_positions(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0
) RETURNS TABLE (list_key bigint, list text, list_position integer, impressions bigint, clicks bigint, click_through_event_rate numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH seen AS (
        SELECT r.list_key, r.list_position, sum(r.interactions)::bigint AS impressions
        FROM analytics.rollup_list r
        WHERE r.event_name = 'view_item_list' AND r.list_position >= 0 AND r.day BETWEEN from_day AND to_day
        GROUP BY r.list_key, r.list_position
        HAVING sum(r.interactions) >= greatest(min_impressions, 1)
    ), clicked AS (
        SELECT c.list_key, least(c.list_position, 1000) AS list_position, count(*) AS clicks
        FROM analytics.list_clicks(from_day, to_day) c GROUP BY 1, 2
    )
    SELECT s.list_key, coalesce(d.list_name, d.list_id, d.natural_key), s.list_position, s.impressions,
           coalesce(c.clicks, 0), coalesce(c.clicks, 0)::numeric / nullif(s.impressions, 0)
    FROM seen s JOIN dim_list d USING (list_key) LEFT JOIN clicked c USING (list_key, list_position);
END;
COMMENT ON FUNCTION analytics.list_positions IS
    'Grain: one position of one list, as sent (GA4 index). click_through_event_rate = clicks at the position / products shown there; the curve of a list. Positions from 1000 on are one.';

-- ---------------------------------------------------------------------------------------------
-- Sessions and promotions.

CREATE FUNCTION analytics.sessions(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (person text, session_id text, started_at timestamptz, ended_at timestamptz, day date, platform text,
               views bigint, is_engaged boolean, is_converted boolean)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(f.user_pseudo_id, f.user_id), f.session_id, min(f.event_time), max(f.event_time),
           analytics.day_of(min(f.event_time)), min(f.platform),
           count(*) FILTER (WHERE f.item_ordinal <= 1 AND f.event_name IN ('view_item_list', 'view_item', 'page_view', 'screen_view')),
           max(f.event_time) - min(f.event_time) > interval '10 seconds' OR bool_or(f.event_name = 'purchase')
               OR count(*) FILTER (WHERE f.item_ordinal <= 1 AND f.event_name IN ('view_item_list', 'view_item', 'page_view', 'screen_view')) >= 2,
           bool_or(f.event_name = 'purchase')
    FROM fact_events f
    WHERE f.session_id IS NOT NULL
      AND f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
    GROUP BY 1, 2;
END;
COMMENT ON FUNCTION analytics.sessions IS
    'Grain: one session: user_pseudo_id (or user_id where there is none) and session_id, since a session id is only unique for an installation; a sign-in within a session doesn''t split it. is_engaged as in GA4: longer than 10 seconds, or a purchase, or two views or more. The part of a session outside the range is not seen.';

CREATE FUNCTION analytics.daily_sessions(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, sessions bigint, engaged_sessions bigint, converted_sessions bigint, engagement_rate numeric, conversion_rate numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT s.day, count(*), count(*) FILTER (WHERE s.is_engaged), count(*) FILTER (WHERE s.is_converted),
           count(*) FILTER (WHERE s.is_engaged)::numeric / nullif(count(*), 0),
           count(*) FILTER (WHERE s.is_converted)::numeric / nullif(count(*), 0)
    FROM analytics.sessions(from_day, to_day) s
    GROUP BY s.day ORDER BY s.day;
END;
COMMENT ON FUNCTION analytics.daily_sessions IS
    'Grain: the UTC day a session began. engagement_rate = engaged sessions / sessions (GA4 engagementRate); conversion_rate = sessions with a purchase / sessions (GA4 sessionKeyEventRate:purchase).';

CREATE FUNCTION analytics.promotions(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_views bigint DEFAULT 0
) RETURNS TABLE (promotion_id text, promotion_name text, views bigint, clicks bigint, viewers bigint, clickers bigint,
                 click_through_user_rate numeric, click_through_event_rate numeric)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH counts AS (
        SELECT f.promotion_id, max(f.promotion_name) AS promotion_name,
               count(*) FILTER (WHERE f.event_name = 'view_promotion') AS views,
               count(*) FILTER (WHERE f.event_name = 'select_promotion') AS clicks,
               count(DISTINCT coalesce(f.user_id, f.user_pseudo_id)) FILTER (WHERE f.event_name = 'view_promotion') AS viewers,
               count(DISTINCT coalesce(f.user_id, f.user_pseudo_id)) FILTER (WHERE f.event_name = 'select_promotion') AS clickers
        FROM fact_events f
        WHERE f.event_name IN ('view_promotion', 'select_promotion')
          AND f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
        GROUP BY f.promotion_id, CASE WHEN f.promotion_id IS NULL THEN f.promotion_name END
    )
    SELECT c.promotion_id, c.promotion_name, c.views, c.clicks, c.viewers, c.clickers,
           c.clickers::numeric / nullif(c.viewers, 0), c.clicks::numeric / nullif(c.views, 0)
    FROM counts c WHERE c.views >= min_views;
END;
COMMENT ON FUNCTION analytics.promotions IS
    'Grain: one promotion, by id, or by name where no id was sent. views and clicks are items of view_promotion and select_promotion (GA4 promotionViews, promotionClicks); click_through_user_rate = people who clicked / people who saw it (GA4 itemPromotionClickThroughRate); click_through_event_rate = clicks / views.';

-- ---------------------------------------------------------------------------------------------
-- Data quality.

CREATE VIEW analytics.rejections AS
SELECT analytics.day_of(first_seen) AS day, reason, count(*) AS rejected
FROM rejected_events GROUP BY 1, 2;
COMMENT ON VIEW analytics.rejections IS 'Grain: one UTC day of arrival and reason. Events, or parts of events, that could not become facts.';

CREATE FUNCTION analytics.lateness(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, facts bigint, late_facts bigint, early_facts bigint, median_delay interval)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.day_of(f.ingested_at), count(*), count(*) FILTER (WHERE f.ingested_at - f.event_time > interval '24 hours'),
           count(*) FILTER (WHERE f.event_time - f.ingested_at > interval '5 minutes'),
           make_interval(secs => percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM f.ingested_at - f.event_time)::float8))
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
    GROUP BY 1 ORDER BY 1;
END;
COMMENT ON FUNCTION analytics.lateness IS
    'Grain: one UTC day of arrival, of facts whose event is in the range. late_facts arrived more than 24 hours after the event; early_facts are dated more than 5 minutes after their arrival (a clock that is wrong).';

CREATE VIEW analytics.duplicates AS
WITH reached AS (
    SELECT topic, partition, max(next_offset) AS next_offset FROM sink_offsets GROUP BY 1, 2
), brought AS (
    SELECT source_topic AS topic, source_partition AS partition, source_offset FROM fact_events
    UNION SELECT source_topic, source_partition, source_offset FROM rejected_events
), counts AS (
    SELECT topic, partition, count(*) AS records_with_rows, min(source_offset) AS first_offset FROM brought GROUP BY 1, 2
)
SELECT r.topic, r.partition, r.next_offset - c.first_offset AS records, c.records_with_rows,
       r.next_offset - c.first_offset - c.records_with_rows AS records_without_rows
FROM reached r JOIN counts c USING (topic, partition);
COMMENT ON VIEW analytics.duplicates IS
    'Grain: one partition of a topic. records = read since the first that left a row; records_without_rows = those that brought nothing new: sent again by a producer, or delivered again by SQS. Once facts are removed, the records they came from count here too.';

-- The readers' group reads this schema too.
SELECT etl_grant_roles();
