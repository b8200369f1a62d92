-- Questions about products, lists and what they sold.

CREATE FUNCTION analytics.daily_products(from_day date DEFAULT '-infinity',
                                         to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, product_key bigint, impressions bigint, views bigint, add_to_carts bigint,
               checkouts bigint, purchases bigint, units numeric,
               revenue numeric, currency text, reporting_revenue numeric) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT p.* FROM analytics.products_in(from_day, to_day) p
    ), sold AS (
        SELECT l.day, l.product_key, l.currency, count(*) AS purchases, sum(l.units) AS units,
               coalesce(sum(l.revenue), 0) AS revenue,
               sum(l.reporting_revenue) AS reporting_revenue
        FROM analytics.order_lines_in(from_day, to_day) l WHERE l.product_key IS NOT NULL
        GROUP BY 1, 2, 3
    )
    SELECT day, product_key, coalesce(c.impressions, 0), coalesce(c.views, 0),
           coalesce(c.add_to_carts, 0), coalesce(c.checkouts, 0),
           coalesce(s.purchases, 0), coalesce(s.units, 0), coalesce(s.revenue, 0), s.currency,
           s.reporting_revenue
    FROM counts c FULL JOIN sold s USING (day, product_key);
END $$;
COMMENT ON FUNCTION analytics.daily_products IS
    'Grain: one product, day and currency of its sales. A product that sold in two currencies on '
    'a day has two rows, with the same impressions and views.';

CREATE FUNCTION analytics.product_performance(from_day date DEFAULT '-infinity',
                                              to_day date DEFAULT 'infinity',
                                              min_viewers bigint DEFAULT 0)
RETURNS TABLE (product_key bigint, product_id text, product text, brand text, category text,
               viewers bigint, cart_adders bigint,
               checkout_starters bigint, buyers bigint, impressions bigint, views bigint,
               add_to_carts bigint, checkouts bigint, purchases bigint,
               orders bigint, units numeric, revenue numeric, currency text,
               reporting_revenue numeric, cart_to_view_user_rate numeric,
               view_to_purchase_user_rate numeric, view_to_purchase_event_rate numeric)
               LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH people AS (
        SELECT r.key AS product_key,
               sum(r.people) FILTER (WHERE r.activity = 'product_viewed')::bigint AS viewers,
               sum(r.people) FILTER (WHERE r.activity = 'product_added')::bigint AS cart_adders,
               sum(r.people) FILTER (WHERE r.activity = 'product_checked_out')::bigint
                   AS checkout_starters,
               sum(r.people) FILTER (WHERE r.activity = 'product_bought')::bigint AS buyers
        FROM analytics.reach_counts(
            '{product_viewed,product_added,product_checked_out,product_bought}', from_day, to_day,
            from_day) r
        WHERE (r.before >= from_day) IS NOT TRUE GROUP BY 1
    ), counts AS (
        SELECT c.product_key, coalesce(p.viewers, 0) AS viewers,
               coalesce(p.cart_adders, 0) AS cart_adders,
               coalesce(p.checkout_starters, 0) AS checkout_starters,
               coalesce(p.buyers, 0) AS buyers, c.impressions, c.views, c.add_to_carts, c.checkouts
        FROM (SELECT d.product_key, sum(d.impressions)::bigint AS impressions,
              sum(d.views)::bigint AS views, sum(d.add_to_carts)::bigint AS add_to_carts,
                     sum(d.checkouts)::bigint AS checkouts
                         FROM analytics.products_in(from_day, to_day) d GROUP BY 1) c
        LEFT JOIN people p USING (product_key)
    ), sold AS (
        SELECT l.product_key, l.currency, count(*) AS purchases,
               count(DISTINCT l.order_id COLLATE "C") AS orders, sum(l.units) AS units,
               coalesce(sum(l.revenue), 0) AS revenue, sum(l.reporting_revenue) AS reporting_revenue
        FROM analytics.order_lines_in(from_day, to_day) l GROUP BY 1, 2
    ), all_purchases AS (
        SELECT s.product_key, sum(s.purchases) AS purchases FROM sold s GROUP BY 1
    )
    SELECT c.product_key, d.product_id, analytics.product_label(d), d.product_brand,
           d.product_category,
           c.viewers, c.cart_adders, c.checkout_starters, c.buyers, c.impressions, c.views,
           c.add_to_carts, c.checkouts,
           coalesce(s.purchases, 0), coalesce(s.orders, 0), coalesce(s.units, 0),
           coalesce(s.revenue, 0), s.currency, s.reporting_revenue,
           c.cart_adders::numeric / nullif(c.viewers, 0), c.buyers::numeric / nullif(c.viewers, 0),
           coalesce(a.purchases, 0) / nullif(c.views, 0)
    FROM counts c
    JOIN dim_product d USING (product_key)
    LEFT JOIN sold s USING (product_key)
    LEFT JOIN all_purchases a USING (product_key)
    WHERE c.viewers >= min_viewers;
END $$;
COMMENT ON FUNCTION analytics.product_performance IS
    'Grain: one product and currency of its sales: people and products by step are those of the '
    'product, the same on each of its rows. cart_to_view_user_rate = cart_adders / viewers (GA4 '
    'cartToViewRate); view_to_purchase_user_rate = buyers / viewers (GA4 purchaseToViewRate); '
    'view_to_purchase_event_rate = purchases in all currencies / views, for data without people.';

CREATE FUNCTION analytics.product_pairs(from_day date DEFAULT '-infinity',
                                        to_day date DEFAULT 'infinity', min_orders bigint DEFAULT 2)
RETURNS TABLE (product_key_a bigint, product_a text, product_key_b bigint, product_b text,
               orders bigint, orders_a bigint, orders_b bigint,
               confidence_a_to_b numeric, lift numeric) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH baskets AS MATERIALIZED (
        SELECT d.*, count(*) OVER (PARTITION BY d.order_key) AS products
        FROM (SELECT DISTINCT hashtextextended(l.order_id, 0) AS order_key, l.product_key
              FROM analytics.order_lines_in(from_day, to_day) l
              WHERE l.product_key IS NOT NULL) d
    ), singles AS (
        SELECT b.product_key, count(*) AS orders FROM baskets b GROUP BY b.product_key
    ), pairs AS (
        SELECT a.product_key AS a, b.product_key AS b, count(*) AS orders
        FROM baskets a JOIN baskets b ON b.order_key = a.order_key AND b.product_key > a.product_key
        WHERE a.products <= 100
        GROUP BY 1, 2 HAVING count(*) >= min_orders
    )
    SELECT p.a, analytics.product_label(da), p.b, analytics.product_label(db), p.orders, sa.orders,
           sb.orders, p.orders::numeric / nullif(sa.orders, 0),
           p.orders::numeric * (SELECT count(DISTINCT t.order_key)
                                FROM baskets t) / nullif(sa.orders * sb.orders, 0)
    FROM pairs p
    JOIN singles sa ON sa.product_key = p.a
    JOIN singles sb ON sb.product_key = p.b
    LEFT JOIN dim_product da ON da.product_key = p.a
    LEFT JOIN dim_product db ON db.product_key = p.b;
END $$;
COMMENT ON FUNCTION analytics.product_pairs IS
    'Grain: two different products bought in one order. orders = orders with both; '
    'confidence_a_to_b = orders with both / orders with a; lift = orders with both x all orders '
    '/ (orders with a x orders with b): above 1, they are bought together more often than by '
    'chance. An order of more than 100 products makes no pairs: it is a restocking. GA4 has no '
    'such metric.';

CREATE FUNCTION analytics.daily_lists(from_day date DEFAULT '-infinity',
                                      to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, list_key bigint, impressions bigint, clicks bigint, engaged bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT l.day, l.list_key, l.impressions, l.clicks, l.engaged
    FROM analytics.lists_in(from_day, to_day) l;
END $$;
COMMENT ON FUNCTION analytics.daily_lists IS 'Grain: one list on one day.';

CREATE FUNCTION analytics.list_clicks(from_day date DEFAULT '-infinity',
                                      to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, event_time timestamptz, fact_hash uuid, person bigint, product_key bigint,
               list_key bigint, list_position integer,
               is_substitute boolean) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT c.day, c.event_time, c.fact_hash, c.person, c.product_key, c.list_key, c.list_position,
           c.is_substitute
    FROM analytics.responses(analytics.start_of(from_day), analytics.start_of(to_day + 1)) c
    WHERE c.is_click AND c.day BETWEEN from_day AND to_day;
END;
COMMENT ON FUNCTION analytics.list_clicks IS
    'Grain: one click on a product in a list: a select_item item that names the list (GA4 '
    'itemListClickEvents by item), or the substitute for it, decided view by view: a view_item '
    'item of a product that a list showed to the person in the 30 minutes up to it, where no '
    'select_item of the product by the person was sent in these 30 minutes. Of several lists the '
    'one that showed it last.';

CREATE FUNCTION analytics.list_sales_in(from_day date, to_day date)
RETURNS TABLE (event_time timestamptz, fact_hash uuid, day date, order_id text, product_key bigint,
               units numeric, revenue numeric, currency text, reporting_revenue numeric,
               list_key bigint)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT l.event_time, l.fact_hash, l.day, l.order_id, l.product_key, l.units, l.revenue,
           l.currency,
           l.reporting_revenue, l.led_by
    FROM analytics.order_lines_in(from_day, to_day) l WHERE l.led_by IS NOT NULL;
END;
COMMENT ON FUNCTION analytics.list_sales_in IS
    'Grain: one line of an order that a list led to: the list that the purchase''s item names, '
    'else the list of the person''s last click on the product (list_clicks) in the 24 hours up '
    'to it, also of the day before. GA4 item-list attribution.';

CREATE FUNCTION analytics.list_performance(from_day date DEFAULT '-infinity',
                                           to_day date DEFAULT 'infinity',
                                           min_impressions bigint DEFAULT 0,
                                           grouped_by text DEFAULT 'list')
RETURNS TABLE (list_key bigint, list_id text, list text, kind text, list_views bigint,
               impressions bigint, viewers bigint, clicks bigint,
               clickers bigint, engaged bigint, engaged_viewers bigint, click_through_rate numeric,
               click_through_event_rate numeric, click_through_user_rate numeric,
               engagement_rate numeric, engaged_user_rate numeric, purchases bigint, orders bigint,
               units numeric, revenue numeric, currency text,
               reporting_revenue numeric, substitutes bigint) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH groups AS (
        SELECT g.*, count(*) OVER (PARTITION BY g.leader) = 1 AS is_single
        FROM (SELECT d.list_key, min(d.list_key) OVER (PARTITION BY coalesce(
                         CASE grouped_by WHEN 'id' THEN 'id:' || d.list_id WHEN 'name'
                             THEN 'name:' || d.list_name END, 'list:' || d.list_key)) AS leader
              FROM dim_list d) g
    ), people AS (
        SELECT p.list_key,
               sum(p.people) FILTER (WHERE p.activity = 'list_viewed')::bigint AS viewers,
               sum(p.people) FILTER (WHERE p.activity = 'list_clicked')::bigint AS clickers,
               sum(p.people) FILTER (WHERE p.activity = 'list_engaged')::bigint AS engaged_viewers
        FROM (SELECT r.key AS list_key, r.activity, r.people
              FROM analytics.reach_counts('{list_viewed,list_clicked,list_engaged}', from_day,
                                          to_day, from_day) r
              WHERE r.key IN (SELECT g.list_key FROM groups g WHERE g.is_single)
                AND (r.before >= from_day) IS NOT TRUE
              UNION ALL
              -- A person who saw two lists of a group is one of the group.
              SELECT d.leader, d.activity, count(*)
              FROM (SELECT DISTINCT g.leader, r.activity, r.person
                    FROM analytics.reach('{list_viewed,list_clicked,list_engaged}', from_day,
                                         to_day, from_day) r
                    JOIN groups g ON g.list_key = r.key
                    WHERE NOT g.is_single AND (SELECT bool_or(NOT s.is_single) FROM groups s)
                      AND (r.before >= from_day) IS NOT TRUE) d
              GROUP BY 1, 2) p
        GROUP BY 1
    ), counts AS (
        SELECT c.*, coalesce(p.viewers, 0) AS viewers, coalesce(p.clickers, 0) AS clickers,
               coalesce(p.engaged_viewers, 0) AS engaged_viewers
        FROM (SELECT g.leader AS list_key, sum(l.list_views)::bigint AS list_views,
              sum(l.impressions)::bigint AS impressions,
                     sum(l.known_impressions)::bigint AS known_impressions,
                     sum(l.clicks)::bigint AS clicks, sum(l.engaged)::bigint AS engaged,
                     sum(l.substitutes)::bigint AS substitutes
              FROM analytics.lists_in(from_day, to_day) l JOIN groups g USING (list_key)
              GROUP BY 1) c
        LEFT JOIN people p USING (list_key)
    ), sold AS (
        SELECT g.leader AS list_key, s.currency, count(*) AS purchases,
               count(DISTINCT s.order_id COLLATE "C") AS orders, sum(s.units) AS units,
               coalesce(sum(s.revenue), 0) AS revenue, sum(s.reporting_revenue) AS reporting_revenue
        FROM analytics.list_sales_in(from_day, to_day) s JOIN groups g USING (list_key)
        GROUP BY 1, 2
    )
    SELECT c.list_key, CASE WHEN grouped_by <> 'name' THEN d.list_id END,
           coalesce(CASE grouped_by WHEN 'id' THEN d.list_id END, analytics.list_label(d)),
           analytics.list_kind(d), c.list_views, c.impressions, c.viewers, c.clicks, c.clickers,
           c.engaged,
           c.engaged_viewers, c.clicks::numeric / nullif(c.impressions, 0),
           c.clicks::numeric / nullif(c.list_views, 0),
           c.clickers::numeric / nullif(c.viewers, 0),
           c.engaged::numeric / nullif(c.known_impressions, 0),
           c.engaged_viewers::numeric / nullif(c.viewers, 0),
           coalesce(s.purchases, 0), coalesce(s.orders, 0), coalesce(s.units, 0),
           coalesce(s.revenue, 0), s.currency, s.reporting_revenue, c.substitutes
    FROM counts c
    JOIN dim_list d USING (list_key)
    LEFT JOIN sold s USING (list_key)
    WHERE c.impressions >= min_impressions;
END $$;
COMMENT ON FUNCTION analytics.list_performance IS
    'Grain: one list and currency of what it sold: all but the sales are those of the list, the '
    'same on each of its rows. grouped_by: list (id and name together), id (all names of a list '
    'id as one) or name (all ids of a name as one). Click-through has three names: '
    'click_through_rate = clicks / impressions, click_through_event_rate = clicks / list_views, '
    'click_through_user_rate = clickers / viewers (GA4 itemListClickThroughRate). '
    'engagement_rate = engaged / impressions of known people, engaged_user_rate = '
    'engaged_viewers / viewers; GA4 has no such rates. purchases, orders, units and revenue are '
    'those of list_sales.';

CREATE FUNCTION analytics.list_positions(from_day date DEFAULT '-infinity',
                                         to_day date DEFAULT 'infinity',
                                         min_impressions bigint DEFAULT 0)
RETURNS TABLE (list_key bigint, list text, list_position integer, impressions bigint, clicks bigint,
               click_through_rate numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT p.list_key, p.list_position, sum(p.impressions)::bigint AS impressions,
               sum(p.clicks)::bigint AS clicks
        FROM analytics.positions(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE p.day BETWEEN from_day AND to_day AND p.list_position IS NOT NULL GROUP BY 1, 2
        HAVING sum(p.impressions) >= greatest(min_impressions, 1)
    )
    SELECT c.list_key, analytics.list_label(d), c.list_position, c.impressions, c.clicks,
           c.clicks::numeric / c.impressions
    FROM counts c JOIN dim_list d USING (list_key);
END $$;
COMMENT ON FUNCTION analytics.list_positions IS
    'Grain: one position of one list, as sent (GA4 index); the curve of a list. Positions from '
    '1000 on are one. What has no position is left out.';

CREATE FUNCTION analytics.search_terms(from_day date DEFAULT '-infinity',
                                       to_day date DEFAULT 'infinity',
                                       min_impressions bigint DEFAULT 0)
RETURNS TABLE (search_term text, list_views bigint, impressions bigint, viewers bigint,
               clicks bigint, clickers bigint, click_through_rate numeric,
               click_through_user_rate numeric, engagement_rate numeric, purchases bigint,
               orders bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH terms AS MATERIALIZED (
        SELECT t.*, count(*) OVER (PARTITION BY t.term) = 1 AS is_single
        FROM (SELECT d.list_key, lower(btrim(d.list_name)) AS term FROM dim_list d
              WHERE analytics.list_kind(d) = 'search') t
    ), people AS (
        SELECT p.term, sum(p.people) FILTER (WHERE p.activity = 'list_viewed')::bigint AS viewers,
               sum(p.people) FILTER (WHERE p.activity = 'list_clicked')::bigint AS clickers
        FROM (SELECT t.term, r.activity, r.people
              FROM analytics.reach_counts('{list_viewed,list_clicked}', from_day, to_day,
                                          from_day) r
              JOIN terms t ON t.list_key = r.key
              WHERE t.is_single AND (r.before >= from_day) IS NOT TRUE
              UNION ALL
              -- A person who saw two lists of a term is one of the term.
              SELECT d.term, d.activity, count(*)
              FROM (SELECT DISTINCT t.term, r.activity, r.person
                    FROM analytics.reach('{list_viewed,list_clicked}', from_day, to_day,
                                         from_day) r
                    JOIN terms t ON t.list_key = r.key
                    WHERE NOT t.is_single AND (SELECT bool_or(NOT s.is_single) FROM terms s)
                      AND (r.before >= from_day) IS NOT TRUE) d
              GROUP BY 1, 2) p
        GROUP BY 1
    ), counts AS (
        SELECT c.*, coalesce(p.viewers, 0) AS viewers, coalesce(p.clickers, 0) AS clickers
        FROM (SELECT t.term, sum(l.list_views)::bigint AS list_views,
              sum(l.impressions)::bigint AS impressions,
              sum(l.known_impressions) AS known_impressions,
                     sum(l.clicks)::bigint AS clicks, sum(l.engaged) AS engaged
              FROM analytics.lists_in(from_day, to_day) l JOIN terms t USING (list_key)
              GROUP BY 1) c
        LEFT JOIN people p USING (term)
    ), sold AS (
        SELECT t.term, count(*) AS purchases, count(DISTINCT s.order_id COLLATE "C") AS orders
        FROM analytics.list_sales_in(from_day, to_day) s JOIN terms t USING (list_key)
        GROUP BY t.term
    )
    SELECT c.term, c.list_views, c.impressions, c.viewers, c.clicks, c.clickers,
           c.clicks::numeric / nullif(c.impressions, 0),
           c.clickers::numeric / nullif(c.viewers, 0), c.engaged / nullif(c.known_impressions, 0),
           coalesce(s.purchases, 0), coalesce(s.orders, 0)
    FROM counts c LEFT JOIN sold s USING (term) WHERE c.impressions >= min_impressions;
END $$;
COMMENT ON FUNCTION analytics.search_terms IS
    'Grain: one search term in lower case: the lists of kind search (list_kind) by their name. '
    'Rates as in list_performance.';

CREATE FUNCTION analytics.orders_by(dimension text, from_day date DEFAULT '-infinity',
                                    to_day date DEFAULT 'infinity')
RETURNS TABLE (value text, currency text, orders bigint, purchases bigint, units numeric,
               revenue numeric, revenue_per_order numeric,
               purchases_per_order numeric, reporting_revenue numeric) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN
    PERFORM analytics.check_dimension(dimension, 'platform', 'category', 'brand', 'list', 'coupon',
                                      'all');
    RETURN QUERY
    WITH lines AS (
        SELECT CASE dimension
                   WHEN 'platform' THEN coalesce(l.platform, 'no platform') WHEN 'brand'
                       THEN coalesce(p.product_brand, 'no brand')
                   WHEN 'category' THEN coalesce(p.product_category, 'no category') WHEN 'coupon'
                       THEN coalesce(l.event_coupon, l.item_coupon, 'no coupon')
                   WHEN 'list' THEN coalesce(d.list_name, d.list_id, 'no list') ELSE 'all' END
                       AS value,
               l.currency, l.order_id, l.units, l.revenue, l.reporting_revenue, 1 AS line
        FROM analytics.order_lines_in(from_day, to_day) l
        LEFT JOIN dim_product p USING (product_key)
        LEFT JOIN dim_list d ON d.list_key = l.led_by
        UNION ALL
        SELECT CASE dimension WHEN 'platform' THEN coalesce(o.platform, 'no platform') WHEN 'coupon'
               THEN coalesce(o.coupon, 'no coupon')
                   WHEN 'all' THEN 'all' ELSE 'no ' || dimension END, o.currency, o.order_id, 0,
                   o.revenue, o.reporting_revenue, 0
        FROM analytics.orders_in(from_day, to_day) o WHERE o.is_by_value
    )
    SELECT l.value, l.currency, count(DISTINCT l.order_id COLLATE "C"), sum(l.line)::bigint,
           sum(l.units), coalesce(sum(l.revenue), 0),
           coalesce(sum(l.revenue), 0) / count(DISTINCT l.order_id COLLATE "C"),
           sum(l.line)::numeric / count(DISTINCT l.order_id COLLATE "C"),
           sum(l.reporting_revenue)
    FROM lines l GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2;
END $$;
COMMENT ON FUNCTION analytics.orders_by IS
    'Grain: one value of a dimension and currency; dimension is platform, category, brand, list '
    '(that led to the line), coupon, or all. orders have a line of the value: of an order with '
    'two brands each brand has one. revenue_per_order is the average order value (AOV) of what '
    'the order has of the value. Orders without items, whose revenue is value, are under no '
    'category, brand and list.';
