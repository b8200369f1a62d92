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
    WITH inside AS MATERIALIZED (
        SELECT f.event_time, f.fact_hash, f.transaction_id, f.event_id, f.item_ordinal, f.product_key, f.user_id, f.user_pseudo_id,
               f.platform, f.quantity, f.price, f.currency
        FROM fact_events f WHERE f.event_name = 'purchase' AND f.event_time >= since AND f.event_time < until
    ), elsewhere AS MATERIALIZED (
        SELECT f.event_time, f.fact_hash FROM fact_events f
        WHERE f.event_name = 'purchase' AND f.transaction_id IS NOT NULL AND (f.event_time < since OR f.event_time >= until)
          AND f.transaction_id IN (SELECT i.transaction_id FROM inside i)
    ), sent AS (
        SELECT * FROM inside
        UNION ALL
        -- Few: each looked up by its key.
        SELECT f.* FROM elsewhere e, LATERAL (
            SELECT f.event_time, f.fact_hash, f.transaction_id, f.event_id, f.item_ordinal, f.product_key, f.user_id, f.user_pseudo_id,
                   f.platform, f.quantity, f.price, f.currency
            FROM fact_events f WHERE f.event_time = e.event_time AND f.fact_hash = e.fact_hash OFFSET 0
        ) f
    ), counted AS (
        SELECT s.*, coalesce(s.transaction_id, s.event_id, s.fact_hash::text) COLLATE "C" AS order_id,
               s.transaction_id IS NULL OR row_number() OVER (
                   PARTITION BY s.transaction_id COLLATE "C", s.item_ordinal, s.product_key ORDER BY s.event_time, s.fact_hash
               ) = 1 AS is_line
        FROM sent s
    )
    SELECT c.order_id COLLATE "default", min(c.event_time), analytics.day_of(min(c.event_time)), min(coalesce(c.user_id, c.user_pseudo_id)),
           min(c.platform), count(c.product_key), sum(coalesce(c.quantity, 1)) FILTER (WHERE c.product_key IS NOT NULL),
           CASE WHEN min(c.currency) IS NOT DISTINCT FROM max(c.currency) THEN sum(c.price * coalesce(c.quantity, 1)) END,
           CASE WHEN min(c.currency) IS NOT DISTINCT FROM max(c.currency) THEN min(c.currency) END
    FROM counted c
    WHERE c.is_line
    GROUP BY c.order_id
    HAVING min(c.event_time) >= since AND min(c.event_time) < until;
END $$;
COMMENT ON FUNCTION analytics.orders IS
    'Grain: one order that began in the range: analytics.purchases without value, tax and shipping, but reads the purchases of the range alone, and of the others no more than whether they belong to these orders.';

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
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH baskets AS MATERIALIZED (
        SELECT DISTINCT l.order_id COLLATE "C" AS order_id, l.product_key
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
END $$;
COMMENT ON FUNCTION analytics.product_pairs IS
    'Grain: two different products bought in one order. orders = orders with both; confidence_a_to_b = orders with both / orders with a; lift = orders with both x all orders / (orders with a x orders with b): above 1, they are bought together more often than by chance. GA4 has no such metric.';

DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION analytics.orders SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION analytics.product_pairs SET search_path = %I, pg_temp', current_schema());
END $$;
