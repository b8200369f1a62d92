-- Purchases, each counted once; the funnel; products.
--
-- People and orders are told apart in the order of their bytes (COLLATE "C"): that of a language takes much longer.

-- Purchases are few among the facts, so these cost writing little and save reading everything.
CREATE INDEX fact_events_purchase ON fact_events (event_time)
    INCLUDE (transaction_id, event_id, fact_hash, item_ordinal, product_key, list_key, user_id, user_pseudo_id, platform,
             quantity, price, currency)
    WHERE event_name = 'purchase';
CREATE INDEX fact_events_transaction ON fact_events (transaction_id) INCLUDE (product_key, item_ordinal, event_time, fact_hash)
    WHERE event_name = 'purchase' AND transaction_id IS NOT NULL;

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
SELECT (order_id COLLATE "C") COLLATE "default" AS order_id, min(event_time) AS event_time, min(day) AS day, min(person) AS person, min(platform) AS platform,
       count(product_key) AS lines, sum(units) FILTER (WHERE product_key IS NOT NULL) AS units,
       CASE WHEN min(currency) IS NOT DISTINCT FROM max(currency) THEN sum(revenue) END AS item_revenue,
       CASE WHEN min(currency) IS NOT DISTINCT FROM max(currency) THEN min(currency) END AS currency,
       (array_agg(value ORDER BY event_time, fact_hash))[1] AS value,
       (array_agg(tax ORDER BY event_time, fact_hash))[1] AS tax,
       (array_agg(shipping ORDER BY event_time, fact_hash))[1] AS shipping
FROM analytics.purchase_lines
GROUP BY order_id COLLATE "C";
COMMENT ON VIEW analytics.purchases IS
    'Grain: one order, GA4 transactions (purchases deduplicated by transaction_id; without one, by event). value, tax and shipping are of the earliest event. Amounts are NULL where currencies are mixed.';

-- The purchases of sealed days. That something is a line, and when its order began, takes the purchases of earlier days to tell.
-- So here both are told from the rows of this table, of sealed days alone, and told anew whenever a day is sealed. That is what
-- the facts say too, except of orders with purchases on a day that is not sealed now: of these it is told whenever somebody asks.
CREATE TABLE analytics.sealed_purchases (
    day date NOT NULL, event_time timestamptz NOT NULL, fact_hash uuid NOT NULL, order_id text NOT NULL, has_transaction_id boolean NOT NULL,
    item_ordinal integer NOT NULL, person text, platform text, product_key bigint, list_key bigint,
    units numeric NOT NULL, revenue numeric, currency text, order_began timestamptz NOT NULL, is_line boolean NOT NULL
);
CREATE INDEX ON analytics.sealed_purchases (day);
CREATE INDEX ON analytics.sealed_purchases (order_id);
-- What was sent of an order on a later day: few.
CREATE INDEX ON analytics.sealed_purchases (order_began) WHERE is_line AND analytics.day_of(order_began) < day;
COMMENT ON TABLE analytics.sealed_purchases IS
    'analytics.purchases_of the sealed days, and which of them are lines and when their order began, as far as sealed days tell: read analytics.lines and analytics.orders.';

CREATE FUNCTION analytics.purchases_of(of_day date) RETURNS SETOF analytics.sealed_purchases STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT of_day, f.event_time, f.fact_hash, coalesce(f.transaction_id, f.event_id, f.fact_hash::text), f.transaction_id IS NOT NULL,
           f.item_ordinal, coalesce(f.user_id, f.user_pseudo_id), f.platform, f.product_key, f.list_key,
           coalesce(f.quantity, 1), f.price * coalesce(f.quantity, 1), f.currency, f.event_time, true
    FROM fact_events f
    WHERE f.event_name = 'purchase' AND f.event_time >= analytics.start_of(of_day) AND f.event_time < analytics.start_of(of_day + 1);
END;
COMMENT ON FUNCTION analytics.purchases_of IS 'The purchase facts of a day, each as if it were the only one: a line, with which its order began.';

CREATE FUNCTION analytics.seal_purchases(of_day date, has_facts boolean) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    before text[];
    after text[];
BEGIN
    WITH removed AS (
        DELETE FROM analytics.sealed_purchases s WHERE s.day = of_day RETURNING s.order_id
    )
    SELECT array_agg(r.order_id) INTO before FROM removed r;
    WITH added AS (
        INSERT INTO analytics.sealed_purchases SELECT * FROM analytics.purchases_of(of_day) WHERE has_facts RETURNING order_id
    )
    SELECT array_agg(a.order_id) INTO after FROM added a;
    -- Few change, and each is looked up by its key.
    UPDATE analytics.sealed_purchases s SET order_began = told.began, is_line = told.is_first
    FROM (
        SELECT p.place, p.order_began, p.is_line, min(p.event_time) OVER (PARTITION BY p.order_id COLLATE "C") AS began,
               NOT p.has_transaction_id OR row_number() OVER (
                   PARTITION BY p.order_id COLLATE "C", p.has_transaction_id, p.item_ordinal, p.product_key ORDER BY p.event_time, p.fact_hash
               ) = 1 AS is_first
        FROM (SELECT unnest(before) AS order_id UNION SELECT unnest(after)) o, LATERAL (
            SELECT s.ctid AS place, s.* FROM analytics.sealed_purchases s WHERE s.order_id = o.order_id OFFSET 0
        ) p
    ) told
    WHERE s.ctid = told.place AND (told.order_began, told.is_line) <> (told.began, told.is_first);
END $$;
COMMENT ON FUNCTION analytics.seal_purchases IS
    'Fills analytics.sealed_purchases for a day, or only clears it where the month''s facts are gone, and tells anew when its orders began and which of their purchases are lines, also those of other days.';
REVOKE ALL ON FUNCTION analytics.seal_purchases(date, boolean) FROM PUBLIC;

CREATE FUNCTION analytics.open_orders(to_day date) RETURNS TABLE (order_id text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    open_days date[];
    sealed_days date[];
BEGIN
    SELECT array_agg(d.day) FILTER (WHERE NOT d.is_sealed), coalesce(array_agg(d.day) FILTER (WHERE d.is_sealed), '{}')
    INTO open_days, sealed_days FROM analytics.days('-infinity', to_day) d;
    IF cardinality(sealed_days) = 0 THEN
        RETURN;  -- nothing is sealed that could be open
    END IF;
    RETURN QUERY
    SELECT p.order_id FROM unnest(open_days) AS o (day), LATERAL (SELECT * FROM analytics.purchases_of(o.day) OFFSET 0) p
    UNION
    SELECT s.order_id FROM analytics.sealed_purchases s
    WHERE s.day = ANY (ARRAY(
        SELECT d.day FROM analytics.day_state d WHERE d.sealed_after >= 0 AND d.day <= to_day AND d.day <> ALL (sealed_days)
    ));
END $$;
COMMENT ON FUNCTION analytics.open_orders IS
    'The orders with purchases on days up to this one that are not sealed, or have changed or lost their facts since: those of the moment, and those of when the day was sealed. Of the purchases of all others up to this day analytics.sealed_purchases tells the truth.';

CREATE FUNCTION analytics.open_purchases(from_day date, to_day date, until_day date) RETURNS SETOF analytics.sealed_purchases
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    open_days date[];
    sealed_days date[];
BEGIN
    SELECT array_agg(d.day) FILTER (WHERE NOT d.is_sealed), array_agg(d.day) FILTER (WHERE d.is_sealed)
    INTO open_days, sealed_days FROM analytics.days('-infinity', until_day) d;
    RETURN QUERY
    WITH inside AS MATERIALIZED (
        SELECT p.* FROM unnest(open_days) AS o (day), LATERAL (SELECT * FROM analytics.purchases_of(o.day) OFFSET 0) p
        WHERE o.day BETWEEN from_day AND to_day
    ), kept AS MATERIALIZED (
        SELECT s.* FROM analytics.open_orders(until_day) o, LATERAL (
            SELECT * FROM analytics.sealed_purchases s WHERE s.order_id = o.order_id OFFSET 0
        ) s
        WHERE sealed_days IS NOT NULL AND s.day = ANY (sealed_days)
    ), asked AS (
        SELECT i.order_id FROM inside i
        UNION
        SELECT k.order_id FROM kept k WHERE k.day BETWEEN from_day AND to_day
    ), sent AS (
        SELECT * FROM inside
        UNION ALL
        SELECT * FROM kept
        UNION ALL
        SELECT p.* FROM unnest(open_days) AS o (day), LATERAL (SELECT * FROM analytics.purchases_of(o.day) OFFSET 0) p
        WHERE o.day NOT BETWEEN from_day AND to_day AND p.order_id IN (SELECT a.order_id FROM asked a)
    )
    SELECT s.day, s.event_time, s.fact_hash, s.order_id, s.has_transaction_id, s.item_ordinal, s.person, s.platform, s.product_key, s.list_key,
           s.units, s.revenue, s.currency, min(s.event_time) OVER (PARTITION BY s.order_id COLLATE "C"),
           NOT s.has_transaction_id OR row_number() OVER (
               PARTITION BY s.order_id COLLATE "C", s.has_transaction_id, s.item_ordinal, s.product_key ORDER BY s.event_time, s.fact_hash
           ) = 1
    FROM sent s;
END $$;
COMMENT ON FUNCTION analytics.open_purchases IS
    'What analytics.sealed_purchases does not hold, or not as it is now, of the purchases of a range: those of days that are not sealed, and of open_orders; with all purchases of the same orders up to until_day, which tell what is a line and when its order began.';

CREATE FUNCTION analytics.lines(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (event_time timestamptz, day date, order_id text, order_began timestamptz, person text, platform text, product_key bigint,
               list_key bigint, item_ordinal integer, units numeric, revenue numeric, currency text, fact_hash uuid)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.event_time, s.day, s.order_id, s.order_began, s.person, s.platform, s.product_key, s.list_key, s.item_ordinal,
           s.units, s.revenue, s.currency, s.fact_hash
    FROM analytics.sealed_purchases s
    WHERE s.is_line AND s.day = ANY (ARRAY(SELECT d.day FROM analytics.days(from_day, to_day) d WHERE d.is_sealed))
      AND s.order_id NOT IN (SELECT o.order_id FROM analytics.open_orders(to_day) o)
    UNION ALL
    SELECT o.event_time, o.day, o.order_id, o.order_began, o.person, o.platform, o.product_key, o.list_key, o.item_ordinal,
           o.units, o.revenue, o.currency, o.fact_hash
    FROM analytics.open_purchases(from_day, to_day, to_day) o WHERE o.is_line AND o.day BETWEEN from_day AND to_day;
END;
COMMENT ON FUNCTION analytics.lines IS
    'Grain: one product at one place of one order: the analytics.purchase_lines of a range, from the sealed tables where they hold them. order_began is the time of the order''s earliest purchase.';

CREATE FUNCTION analytics.orders(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (order_id text, event_time timestamptz, day date, person text, platform text, lines bigint, units numeric,
               item_revenue numeric, currency text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    since timestamptz := analytics.start_of(from_day);
    until timestamptz := analytics.start_of(to_day + 1);
BEGIN
    RETURN QUERY
    WITH open AS MATERIALIZED (
        SELECT o.order_id FROM analytics.open_orders('infinity') o
    ), later AS MATERIALIZED (
        -- By its index alone, which holds few; all lines since would be many.
        SELECT s.day, s.order_id, s.event_time, s.person, s.platform, s.product_key, s.units, s.revenue, s.currency
        FROM analytics.sealed_purchases s
        WHERE s.is_line AND analytics.day_of(s.order_began) < s.day AND s.order_began >= since AND s.order_began < until
    ), lines AS (
        SELECT s.order_id, s.event_time, s.person, s.platform, s.product_key, s.units, s.revenue, s.currency
        FROM analytics.sealed_purchases s
        WHERE s.is_line AND s.order_began >= since
          AND s.day = ANY (ARRAY(SELECT d.day FROM analytics.days(from_day, to_day) d WHERE d.is_sealed))
          AND s.order_id NOT IN (SELECT o.order_id FROM open o)
        UNION ALL
        -- What was sent of these orders after the range.
        SELECT s.order_id, s.event_time, s.person, s.platform, s.product_key, s.units, s.revenue, s.currency
        FROM later s
        WHERE s.day = ANY (ARRAY(SELECT d.day FROM analytics.days(to_day + 1, 'infinity') d WHERE d.is_sealed))
          AND s.order_id NOT IN (SELECT o.order_id FROM open o)
        UNION ALL
        SELECT p.order_id, p.event_time, p.person, p.platform, p.product_key, p.units, p.revenue, p.currency
        FROM analytics.open_purchases(from_day, to_day, 'infinity') p
        WHERE p.is_line AND p.order_began >= since AND p.order_began < until
    )
    SELECT (l.order_id COLLATE "C") COLLATE "default", min(l.event_time), analytics.day_of(min(l.event_time)), min(l.person), min(l.platform),
           count(l.product_key), sum(l.units) FILTER (WHERE l.product_key IS NOT NULL),
           CASE WHEN min(l.currency) IS NOT DISTINCT FROM max(l.currency) THEN sum(l.revenue) END,
           CASE WHEN min(l.currency) IS NOT DISTINCT FROM max(l.currency) THEN min(l.currency) END
    FROM lines l
    GROUP BY l.order_id COLLATE "C";
END $$;
COMMENT ON FUNCTION analytics.orders IS
    'Grain: one order that began in the range, with all its lines, also those sent later: analytics.purchases without value, tax and shipping, from the sealed tables where they hold it.';

CREATE VIEW analytics.daily_funnel AS
SELECT day,
       coalesce(sum(interactions) FILTER (WHERE event_name = 'view_item_list'), 0)::bigint AS impressions,
       coalesce(sum(events) FILTER (WHERE event_name = 'view_item_list'), 0)::bigint AS list_views,
       coalesce(sum(events) FILTER (WHERE event_name = 'select_item'), 0)::bigint AS selects,
       coalesce(sum(events) FILTER (WHERE event_name = 'view_item'), 0)::bigint AS views,
       coalesce(sum(events) FILTER (WHERE event_name = 'add_to_cart'), 0)::bigint AS add_to_carts,
       coalesce(sum(events) FILTER (WHERE event_name = 'begin_checkout'), 0)::bigint AS checkouts,
       coalesce(sum(events) FILTER (WHERE event_name = 'purchase'), 0)::bigint AS purchases
FROM analytics.event_counts
GROUP BY day;
COMMENT ON VIEW analytics.daily_funnel IS
    'Grain: one UTC day, from the rollups. Events of each step (GA4 itemListViewEvents, itemListClickEvents, itemViewEvents, addToCarts, checkouts, ecommercePurchases); impressions are the products shown in lists. purchases counts events: analytics.purchases counts orders.';

CREATE VIEW analytics.daily_revenue AS
SELECT day, nullif(currency, '') AS currency, sum(events)::bigint AS purchase_events, sum(units) AS units, sum(revenue) AS revenue
FROM analytics.event_counts
WHERE event_name = 'purchase'
GROUP BY day, currency
HAVING sum(interactions) <> 0;
COMMENT ON VIEW analytics.daily_revenue IS
    'Grain: one UTC day and currency, from the rollups. revenue = sum of price x quantity over purchase items (GA4 gross item revenue). Orders sent twice count twice here; for one count of each order sum analytics.purchase_lines.';

CREATE FUNCTION analytics.funnel_people(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, list_viewers bigint, viewers bigint, cart_adders bigint, checkout_starters bigint, buyers bigint,
               list_to_view_rate numeric, view_to_checkout_rate numeric, checkout_to_purchase_rate numeric)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH people AS (
        SELECT p.day, p.person, bool_or(p.saw_list) AS saw_list, bool_or(p.viewed) AS viewed, bool_or(p.added) AS added,
               bool_or(p.started) AS started, bool_or(p.bought) AS bought
        FROM analytics.people(from_day, to_day) p GROUP BY p.day, p.person
    ), counts AS (
        SELECT p.day,
               count(*) FILTER (WHERE p.saw_list) AS list_viewers,
               count(*) FILTER (WHERE p.viewed) AS viewers,
               count(*) FILTER (WHERE p.added) AS cart_adders,
               count(*) FILTER (WHERE p.started) AS checkout_starters,
               count(*) FILTER (WHERE p.bought) AS buyers
        FROM people p GROUP BY p.day
    )
    SELECT c.day, c.list_viewers, c.viewers, c.cart_adders, c.checkout_starters, c.buyers,
           c.viewers::numeric / nullif(c.list_viewers, 0), c.checkout_starters::numeric / nullif(c.viewers, 0),
           c.buyers::numeric / nullif(c.checkout_starters, 0)
    FROM counts c ORDER BY c.day;
END;
COMMENT ON FUNCTION analytics.funnel_people IS
    'Grain: one UTC day. People with at least one event of each step that day (GA4 active users by event name), and each step''s people / those of the step before. An open funnel: as in GA4 nobody has to pass the steps in order.';

CREATE VIEW analytics.daily_products AS
SELECT r.day, r.product_key, p.product_id, p.product_name, p.product_brand, p.product_category,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'view_item'), 0)::bigint AS views,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'add_to_cart'), 0)::bigint AS add_to_carts,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'begin_checkout'), 0)::bigint AS checkouts,
       coalesce(sum(r.interactions) FILTER (WHERE r.event_name = 'purchase'), 0)::bigint AS purchases,
       coalesce(sum(r.units) FILTER (WHERE r.event_name = 'purchase'), 0) AS units_sold,
       CASE WHEN min(r.currency) FILTER (WHERE r.event_name = 'purchase' AND r.currency <> '')
                 IS NOT DISTINCT FROM max(r.currency) FILTER (WHERE r.event_name = 'purchase' AND r.currency <> '')
            THEN coalesce(sum(r.revenue) FILTER (WHERE r.event_name = 'purchase'), 0) END AS revenue
FROM analytics.product_counts r
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
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH counts AS (
        SELECT p.product_key,
               count(DISTINCT p.person COLLATE "C") FILTER (WHERE p.views > 0) AS viewers,
               count(DISTINCT p.person COLLATE "C") FILTER (WHERE p.add_to_carts > 0) AS cart_adders,
               count(DISTINCT p.person COLLATE "C") FILTER (WHERE p.checkouts > 0) AS checkout_starters,
               count(DISTINCT p.person COLLATE "C") FILTER (WHERE p.purchases > 0) AS buyers,
               sum(p.views) AS views, sum(p.add_to_carts) AS add_to_carts, sum(p.checkouts) AS checkouts
        FROM analytics.product_people(from_day, to_day) p GROUP BY p.product_key
    ), sales AS (
        SELECT l.product_key, count(DISTINCT l.order_id COLLATE "C") AS purchases, sum(l.units) AS units,
               CASE WHEN min(l.currency) IS NOT DISTINCT FROM max(l.currency) THEN sum(l.revenue) END AS revenue,
               CASE WHEN min(l.currency) IS NOT DISTINCT FROM max(l.currency) THEN min(l.currency) END AS currency
        FROM analytics.lines(from_day, to_day) l
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
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH baskets AS MATERIALIZED (
        SELECT DISTINCT l.order_id COLLATE "C" AS order_id, l.product_key
        FROM analytics.lines(from_day, to_day) l
        WHERE l.product_key IS NOT NULL
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
END $$;
COMMENT ON FUNCTION analytics.product_pairs IS
    'Grain: two different products bought in one order. orders = orders with both; confidence_a_to_b = orders with both / orders with a; lift = orders with both x all orders / (orders with a x orders with b): above 1, they are bought together more often than by chance. GA4 has no such metric.';

DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION analytics.product_pairs SET search_path = %I, pg_temp', current_schema());
END $$;
