-- Questions, each over the days from from_day to to_day, both included. The table glossary says what each column means.

CREATE FUNCTION analytics.product_label(product dim_product) RETURNS text IMMUTABLE PARALLEL SAFE
    RETURN coalesce(product.product_name, product.product_id,
                    nullif(concat_ws(' ', product.product_brand, product.product_category, product.product_variant), ''), 'no name');
COMMENT ON FUNCTION analytics.product_label IS 'How a product is shown to people: its name; without one its id; without both its brand, category and variant.';
CREATE FUNCTION analytics.list_label(list dim_list) RETURNS text IMMUTABLE PARALLEL SAFE RETURN coalesce(list.list_name, list.list_id, 'no list');
COMMENT ON FUNCTION analytics.list_label IS 'How a list is shown to people: its name; without one its id.';
CREATE FUNCTION analytics.list_kind(list dim_list) RETURNS text STABLE PARALLEL SAFE
    RETURN CASE WHEN list.list_id ~* analytics.search_lists() AND list.list_name IS NOT NULL AND list.list_name <> list.list_id THEN 'search' ELSE 'list' END;
COMMENT ON FUNCTION analytics.list_kind IS 'search where the name of a list is what somebody typed (see analytics.search_lists), else list.';

-- People and visits

CREATE FUNCTION analytics.people(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, person bigint, platform text, done integer) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT v.day, v.person, v.platform, bit_or(v.done)
    FROM analytics.visits(analytics.start_of(from_day), analytics.start_of(to_day + 1)) v
    WHERE v.day BETWEEN from_day AND to_day AND v.person IS NOT NULL GROUP BY 1, 2, 3;
END $$;
COMMENT ON FUNCTION analytics.people IS
    'Grain: one person on one day and platform. done has bit n set where the person took step n (analytics.step_of): done & 64 is not 0 for who bought.';

CREATE FUNCTION analytics.daily_people(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, people bigint, list_viewers bigint, viewers bigint, cart_adders bigint, checkout_starters bigint, buyers bigint,
               list_to_view_user_rate numeric, view_to_checkout_user_rate numeric, checkout_to_purchase_user_rate numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH people AS (
        SELECT v.day, v.person, bit_or(v.done) AS done
        FROM analytics.visits(analytics.start_of(from_day), analytics.start_of(to_day + 1)) v
        WHERE v.day BETWEEN from_day AND to_day AND v.person IS NOT NULL GROUP BY 1, 2
    ), counts AS (
        SELECT p.day, count(*) AS people, count(*) FILTER (WHERE p.done & 2 > 0) AS list_viewers, count(*) FILTER (WHERE p.done & 8 > 0) AS viewers,
               count(*) FILTER (WHERE p.done & 16 > 0) AS cart_adders, count(*) FILTER (WHERE p.done & 32 > 0) AS checkout_starters,
               count(*) FILTER (WHERE p.done & 64 > 0) AS buyers
        FROM people p GROUP BY p.day
    )
    SELECT c.day, c.people, c.list_viewers, c.viewers, c.cart_adders, c.checkout_starters, c.buyers,
           c.viewers::numeric / nullif(c.list_viewers, 0), c.checkout_starters::numeric / nullif(c.viewers, 0),
           c.buyers::numeric / nullif(c.checkout_starters, 0)
    FROM counts c ORDER BY c.day;
END $$;
COMMENT ON FUNCTION analytics.daily_people IS
    'Grain: one day. People with an event, and with one of each step (GA4 active users by event name). An open funnel: nobody has to take the steps in order; analytics.session_funnel is the ordered one.';

-- Visits of one visitor lie one behind the other, and follow on each other in a session. The limit is the session gap, and 8 hours where a session id binds them: GA4 lets
-- no session pause longer.
CREATE FUNCTION analytics.merged_visits(since timestamptz, until timestamptz, longer_until timestamptz, longer_visitors bigint[])
RETURNS TABLE (visitor bigint, has_session_id boolean, person bigint, platform text, started_at timestamptz, ended_at timestamptz,
               events bigint, views bigint, done integer, steps text, entry_list bigint) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH visits AS (
        SELECT v.*, lag(v.last_at) OVER (PARTITION BY v.visitor ORDER BY v.first_at, v.last_at) AS before
        FROM analytics.visits(since, longer_until) v WHERE v.hour < until OR v.visitor = ANY (longer_visitors)
    ), numbered AS (
        SELECT v.*, count(*) FILTER (WHERE v.before IS NULL OR v.first_at - v.before
                   > CASE WHEN v.has_session_id THEN interval '8 hours' ELSE analytics.session_gap() END)
               OVER (PARTITION BY v.visitor ORDER BY v.first_at, v.last_at ROWS UNBOUNDED PRECEDING) AS number
        FROM visits v
    )
    SELECT n.visitor, bool_or(n.has_session_id), (array_agg(n.person ORDER BY n.first_at DESC) FILTER (WHERE n.person IS NOT NULL))[1],
           (array_agg(n.platform ORDER BY n.first_at))[1], min(n.first_at), max(n.last_at), sum(n.events)::bigint, sum(n.views)::bigint,
           bit_or(n.done), string_agg(n.steps, '' ORDER BY n.first_at),
           (array_agg(n.entry_list ORDER BY n.first_at) FILTER (WHERE n.entry_list IS NOT NULL))[1]
    FROM numbered n GROUP BY n.visitor, n.number;
END;
COMMENT ON FUNCTION analytics.merged_visits IS
    'The sessions of the visits of a time, and those of longer_visitors up to longer_until. One that reaches beyond the time on either side is cut off.';

CREATE FUNCTION analytics.longer_sessions(until timestamptz, OUT longer_until timestamptz, OUT visitors bigint[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
DECLARE
    going_on bigint[];
BEGIN
    longer_until := until;
    -- Eight hours by eight hours, those visitors are followed who don't pause.
    LOOP
        SELECT array_agg(DISTINCT s.visitor) INTO going_on
        FROM analytics.merged_visits(longer_until - interval '8 hours', longer_until + interval '8 hours', longer_until + interval '8 hours', NULL) s
        WHERE s.started_at < longer_until AND s.ended_at >= longer_until
          AND (longer_until = until OR s.visitor = ANY (visitors))
          AND s.ended_at >= longer_until + interval '8 hours' - CASE WHEN s.has_session_id THEN interval '8 hours' ELSE analytics.session_gap() END;
        longer_until := longer_until + interval '8 hours';
        EXIT WHEN going_on IS NULL OR NOT isfinite(longer_until);
        visitors := coalesce(visitors, going_on);
    END LOOP;
END $$;
COMMENT ON FUNCTION analytics.longer_sessions IS 'How far, and for which visitors, visits have to be read so that the sessions that begin before a moment are whole.';

CREATE FUNCTION analytics.sessions_in(from_day date, to_day date)
RETURNS TABLE (visitor bigint, has_session_id boolean, person bigint, platform text, day date, started_at timestamptz, ended_at timestamptz,
               events bigint, views bigint, is_engaged boolean, is_converted boolean, is_bounce boolean, steps text, entry_list bigint)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.visitor, s.has_session_id, s.person, s.platform, analytics.day_of(s.started_at), s.started_at, s.ended_at, s.events, s.views,
           s.ended_at - s.started_at > interval '10 seconds' OR s.done & 64 > 0 OR s.views >= 2, s.done & 64 > 0, s.events = 1, s.steps, s.entry_list
    FROM analytics.longer_sessions(analytics.start_of(to_day + 1)) l,
         LATERAL analytics.merged_visits(analytics.start_of(from_day) - interval '8 hours', analytics.start_of(to_day + 1) + interval '8 hours',
                                         l.longer_until, l.visitors) s
    WHERE s.started_at >= analytics.start_of(from_day) AND s.started_at < analytics.start_of(to_day + 1);
END;
COMMENT ON FUNCTION analytics.sessions_in IS
    'Grain: one session that begins in the range, with all of it. Events with a session id are a session with the others of that id of the device (user_pseudo_id, else user_id), unless 8 hours lie between. Without one, a session is a device''s events with no gap above analytics.session_gap. A sign-in doesn''t split it. is_engaged as in GA4: longer than 10 seconds, or a purchase, or two views or more. is_bounce: it has one event.';

CREATE FUNCTION analytics.sessions_by(dimension text, from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (value text, sessions bigint, engaged_sessions bigint, converted_sessions bigint, bounces bigint, engagement_rate numeric,
               bounce_rate numeric, ga4_bounce_rate numeric, conversion_rate numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT CASE dimension WHEN 'day' THEN s.day END AS day, CASE dimension WHEN 'platform' THEN s.platform END AS platform,
               CASE dimension WHEN 'entry_list' THEN s.entry_list END AS entry_list, count(*) AS sessions,
               count(*) FILTER (WHERE s.is_engaged) AS engaged, count(*) FILTER (WHERE s.is_converted) AS converted,
               count(*) FILTER (WHERE s.is_bounce) AS bounces
        FROM analytics.sessions_in(from_day, to_day) s GROUP BY 1, 2, 3
    )
    SELECT CASE dimension WHEN 'day' THEN c.day::text WHEN 'platform' THEN coalesce(c.platform, 'no platform')
                WHEN 'entry_list' THEN coalesce(analytics.list_label(d), 'no list') ELSE 'all' END,
           c.sessions, c.engaged, c.converted, c.bounces, c.engaged::numeric / c.sessions, c.bounces::numeric / c.sessions,
           1 - c.engaged::numeric / c.sessions, c.converted::numeric / c.sessions
    FROM counts c LEFT JOIN dim_list d ON d.list_key = c.entry_list
    ORDER BY c.day, c.sessions DESC, 1;
END $$;
COMMENT ON FUNCTION analytics.sessions_by IS
    'Grain: one day, platform or entry list (the first list that a session showed), as dimension says: day, platform, entry_list, or all for one row. engagement_rate = engaged_sessions / sessions (GA4 engagementRate), ga4_bounce_rate = 1 - engagement_rate (GA4 bounceRate), bounce_rate = sessions with one event / sessions, conversion_rate = sessions with a purchase / sessions (GA4 sessionKeyEventRate:purchase). Sessions belong to the day they begin, so that days add up.';

CREATE FUNCTION analytics.session_funnel(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (step integer, event_name text, sessions bigint, rate_of_first numeric, rate_of_step_before numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH paths AS MATERIALIZED (
        SELECT s.steps, count(*) AS sessions FROM analytics.sessions_in(from_day, to_day) s WHERE s.steps IS NOT NULL GROUP BY 1
    ), steps AS (
        SELECT n.step, n.event_name, '%' || string_agg(substr('LSVACP', n.step, 1), '%') OVER (ORDER BY n.step) || '%' AS path
        FROM (VALUES (1, 'view_item_list'), (2, 'select_item'), (3, 'view_item'), (4, 'add_to_cart'), (5, 'begin_checkout'), (6, 'purchase')) n (step, event_name)
        WHERE EXISTS (SELECT FROM paths p WHERE strpos(p.steps, substr('LSVACP', n.step, 1)) > 0)
    ), reached AS (
        SELECT s.step, s.event_name, coalesce(sum(p.sessions) FILTER (WHERE p.steps LIKE s.path), 0)::bigint AS sessions
        FROM steps s CROSS JOIN paths p GROUP BY 1, 2
    )
    SELECT r.step, r.event_name, r.sessions, r.sessions::numeric / nullif(first_value(r.sessions) OVER (ORDER BY r.step), 0),
           r.sessions::numeric / nullif(lag(r.sessions) OVER (ORDER BY r.step), 0)
    FROM reached r ORDER BY r.step;
END $$;
COMMENT ON FUNCTION analytics.session_funnel IS
    'Grain: one step of the shop. Sessions that took this step after all steps before it, in this order: a closed funnel, whose steps never rise. A step that nobody sends is left out.';

-- Orders

CREATE FUNCTION analytics.daily_rates(from_day date, to_day date) RETURNS TABLE (day date, currency text, rate numeric) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT d.day, c.currency, analytics.reporting_rate(c.currency, d.day)
    FROM (SELECT DISTINCT p.day FROM analytics.purchases(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p) d,
         (SELECT r.currency FROM analytics.exchange_rates r UNION SELECT analytics.reporting_currency()) c
    WHERE analytics.reporting_currency() IS NOT NULL;
END;
COMMENT ON FUNCTION analytics.daily_rates IS 'analytics.reporting_rate of each currency on the days with purchases or refunds; empty where no reporting currency is set.';

CREATE FUNCTION analytics.order_facts(from_day date, to_day date) RETURNS SETOF analytics.hourly_purchases STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH inside AS MATERIALIZED (
        SELECT p.* FROM analytics.purchases(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE NOT p.is_refund AND p.day BETWEEN from_day AND to_day
    ), elsewhere AS MATERIALIZED (
        -- Purchases of open hours are few, and any transaction can be among them.
        SELECT o.* FROM analytics.open_purchases('-infinity', 'infinity') o WHERE NOT o.is_refund AND o.transaction_key IS NOT NULL
    ), wanted AS MATERIALIZED (
        SELECT r.transaction_key FROM analytics.repeated_transactions r UNION SELECT o.transaction_key FROM elsewhere o
    ), facts AS (
        SELECT i.* FROM inside i WHERE i.transaction_key IN (SELECT w.transaction_key FROM wanted w)
        UNION ALL
        SELECT s.* FROM (SELECT DISTINCT i.transaction_key FROM inside i WHERE i.transaction_key IN (SELECT w.transaction_key FROM wanted w)) k,
             LATERAL (SELECT p.* FROM analytics.hourly_purchases p WHERE p.transaction_key = k.transaction_key OFFSET 0) s
        WHERE NOT s.is_refund AND s.day NOT BETWEEN from_day AND to_day AND s.hour NOT IN (SELECT o.hour FROM analytics.open_hours o)
        UNION ALL
        SELECT o.* FROM elsewhere o
        WHERE o.day NOT BETWEEN from_day AND to_day AND o.transaction_key IN (SELECT i.transaction_key FROM inside i)
    )
    SELECT i.* FROM inside i WHERE i.transaction_key IS NULL OR i.transaction_key NOT IN (SELECT w.transaction_key FROM wanted w)
    UNION ALL
    SELECT f.hour, f.day, f.event_time, f.fact_hash, f.is_refund, f.order_id, f.transaction_key, f.item_ordinal, f.person, f.session_id, f.platform,
           f.product_key, f.product_variant, f.list_key, f.units, f.revenue, f.revenue_in_usd, f.currency, f.value, f.tax, f.shipping,
           f.event_coupon, f.item_coupon, min(f.event_time) OVER (PARTITION BY f.transaction_key),
           row_number() OVER (PARTITION BY f.transaction_key, f.item_ordinal, f.product_key ORDER BY f.event_time, f.fact_hash) > 1
    FROM facts f;
END;
COMMENT ON FUNCTION analytics.order_facts IS
    'All purchase facts of the orders that have some on these days, also those of other days. order_began and is_repeated are those of the whole order: an earlier fact has the same transaction, product and place.';

CREATE FUNCTION analytics.order_lines_in(from_day date, to_day date)
RETURNS TABLE (day date, order_id text, order_began timestamptz, event_time timestamptz, person text, session_id text, platform text, product_key bigint,
               product_variant text, list_key bigint, item_ordinal integer, units numeric, revenue numeric, currency text, revenue_in_usd numeric,
               reporting_revenue numeric, event_coupon text, item_coupon text, fact_hash uuid) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT analytics.day_of(o.order_began), o.order_id, o.order_began, o.event_time, o.person, o.session_id, o.platform,
           o.product_key, o.product_variant, o.list_key, o.item_ordinal, o.units, o.revenue,
           o.currency, o.revenue_in_usd,
           o.revenue * r.rate, o.event_coupon, o.item_coupon, o.fact_hash
    FROM analytics.order_facts(from_day, to_day) o
    LEFT JOIN analytics.daily_rates(from_day, to_day) r ON r.day = analytics.day_of(o.order_began) AND r.currency = o.currency
    WHERE NOT o.is_repeated AND o.item_ordinal > 0
      AND o.order_began >= analytics.start_of(from_day) AND o.order_began < analytics.start_of(to_day + 1);
END;
COMMENT ON FUNCTION analytics.order_lines_in IS
    'Grain: one item at one place of one order; a purchase is one of these. An order that was sent under several event ids counts once: of the facts with the same transaction_id, product and item_ordinal the earliest. Lines belong to the day on which their order began. revenue is item_revenue where it is sent, else price x units, without tax and shipping (GA4 item revenue).';

CREATE FUNCTION analytics.orders_in(from_day date, to_day date)
RETURNS TABLE (day date, order_id text, order_began timestamptz, person text, platform text, purchases bigint, units numeric, revenue numeric, currency text,
               reporting_revenue numeric, is_by_value boolean, value numeric, tax numeric, shipping numeric, coupon text) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH facts AS MATERIALIZED (
        SELECT o.* FROM analytics.order_facts(from_day, to_day) o
        WHERE NOT o.is_repeated AND o.order_began >= analytics.start_of(from_day) AND o.order_began < analytics.start_of(to_day + 1)
    ), orders AS (
        SELECT analytics.day_of(f.order_began) AS day, f.order_id, f.order_began, min(f.person COLLATE "C") AS person, min(f.platform COLLATE "C") AS platform,
               count(*) FILTER (WHERE f.item_ordinal > 0) AS purchases, coalesce(sum(f.units), 0) AS units, sum(f.revenue) AS revenue, f.currency,
               max(f.item_ordinal) = 0 AS is_by_value, min(f.value) FILTER (WHERE f.event_time = f.order_began) AS value,
               min(f.tax) FILTER (WHERE f.event_time = f.order_began) AS tax, min(f.shipping) FILTER (WHERE f.event_time = f.order_began) AS shipping,
               min(coalesce(f.event_coupon, f.item_coupon) COLLATE "C") AS coupon
        FROM facts f
        WHERE f.item_ordinal > 0 OR f.order_id NOT IN (SELECT l.order_id FROM facts l WHERE l.item_ordinal > 0)
        GROUP BY f.order_id, f.order_began, f.currency
    )
    SELECT o.day, o.order_id, o.order_began, o.person, o.platform, o.purchases, o.units, a.revenue, o.currency,
           a.revenue * r.rate, o.is_by_value, o.value, o.tax, o.shipping, o.coupon
    FROM orders o LEFT JOIN analytics.daily_rates(from_day, to_day) r USING (day, currency),
         LATERAL (SELECT CASE WHEN o.is_by_value THEN o.value ELSE o.revenue END AS revenue) a;
END;
COMMENT ON FUNCTION analytics.orders_in IS
    'Grain: one order and currency; an order has one currency unless its items differ. Orders are told apart by transaction_id (GA4 transactions); without one the purchase event is the order. An order belongs to the day of its first event, with all its lines. revenue is that of its lines; of an order without items it is value, marked by is_by_value. value, tax and shipping are those of its first event.';

CREATE FUNCTION analytics.refunds_in(from_day date, to_day date)
RETURNS TABLE (day date, order_id text, event_time timestamptz, person text, platform text, refunded_units numeric, refunds numeric, currency text,
               reporting_refunds numeric, is_by_value boolean) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH facts AS MATERIALIZED (
        SELECT p.* FROM analytics.purchases(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE p.is_refund AND p.day BETWEEN from_day AND to_day
    ), refunds AS (
        SELECT f.day, f.order_id, f.event_time, min(f.person COLLATE "C") AS person, min(f.platform COLLATE "C") AS platform,
               coalesce(sum(f.units), 0) AS units, sum(f.revenue) AS amount, f.currency, max(f.item_ordinal) = 0 AS is_by_value, min(f.value) AS value
        FROM facts f
        WHERE f.item_ordinal > 0 OR (f.order_id, f.event_time) NOT IN (SELECT l.order_id, l.event_time FROM facts l WHERE l.item_ordinal > 0)
        GROUP BY f.day, f.order_id, f.event_time, f.currency
    )
    SELECT r.day, r.order_id, r.event_time, r.person, r.platform, r.units, a.amount, r.currency, a.amount * x.rate, r.is_by_value
    FROM refunds r LEFT JOIN analytics.daily_rates(from_day, to_day) x USING (day, currency), LATERAL (SELECT CASE WHEN r.is_by_value THEN r.value ELSE r.amount END AS amount) a;
END;
COMMENT ON FUNCTION analytics.refunds_in IS
    'Grain: one refund event and currency, on its own day. refunds is item_refund where it is sent, else price x units of its items; of a refund without items it is value, marked by is_by_value (GA4 refundAmount).';

CREATE FUNCTION analytics.daily_revenue(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, currency text, orders bigint, purchases bigint, units numeric, revenue numeric, refunds numeric, net_revenue numeric,
               revenue_per_order numeric, purchases_per_order numeric, reporting_revenue numeric, reporting_refunds numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH amounts AS (
        SELECT o.day, o.currency, 1 AS orders, o.purchases, o.units, o.revenue, 0::numeric AS refunds, o.reporting_revenue, NULL::numeric AS reporting_refunds
        FROM analytics.orders_in(from_day, to_day) o
        UNION ALL
        SELECT r.day, r.currency, 0, 0, 0, 0, r.refunds, NULL, r.reporting_refunds FROM analytics.refunds_in(from_day, to_day) r
    )
    SELECT a.day, a.currency, sum(a.orders)::bigint, sum(a.purchases)::bigint, sum(a.units), coalesce(sum(a.revenue), 0), coalesce(sum(a.refunds), 0),
           coalesce(sum(a.revenue), 0) - coalesce(sum(a.refunds), 0),
           coalesce(sum(a.revenue), 0) / nullif(sum(a.orders), 0), sum(a.purchases) / nullif(sum(a.orders), 0),
           sum(a.reporting_revenue), sum(a.reporting_refunds)
    FROM amounts a GROUP BY 1, 2 ORDER BY 1, 2;
END $$;
COMMENT ON FUNCTION analytics.daily_revenue IS
    'Grain: one day and currency. Orders of the day, each once; refunds of the day; net_revenue = revenue - refunds. revenue_per_order is the average order value (AOV).';

CREATE FUNCTION analytics.daily_funnel(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, list_views bigint, impressions bigint, selects bigint, views bigint, add_to_carts bigint, checkouts bigint, purchases bigint,
               orders bigint, events bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH events AS (
        SELECT e.day, coalesce(sum(e.events) FILTER (WHERE e.event_name = 'view_item_list'), 0)::bigint AS list_views,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'view_item_list'), 0)::bigint AS impressions,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'select_item'), 0)::bigint AS selects,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'view_item'), 0)::bigint AS views,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'add_to_cart'), 0)::bigint AS add_to_carts,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'begin_checkout'), 0)::bigint AS checkouts, sum(e.events)::bigint AS events
        FROM analytics.events(analytics.start_of(from_day), analytics.start_of(to_day + 1)) e
        WHERE e.day BETWEEN from_day AND to_day GROUP BY e.day
    ), sold AS (
        SELECT o.day, sum(o.purchases)::bigint AS purchases, count(DISTINCT o.order_id COLLATE "C") AS orders FROM analytics.orders_in(from_day, to_day) o GROUP BY o.day
    )
    SELECT e.day, e.list_views, e.impressions, e.selects, e.views, e.add_to_carts, e.checkouts, coalesce(s.purchases, 0), coalesce(s.orders, 0), e.events
    FROM events e LEFT JOIN sold s USING (day) ORDER BY e.day;
END $$;
COMMENT ON FUNCTION analytics.daily_funnel IS
    'Grain: one day. Products by step: shown in lists (impressions), selected, viewed, added, checked out, bought (purchases: lines of orders); list_views, orders and events count events and orders.';

-- Products

CREATE FUNCTION analytics.daily_products(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, product_key bigint, impressions bigint, views bigint, add_to_carts bigint, checkouts bigint, purchases bigint, units numeric,
               revenue numeric, currency text, reporting_revenue numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT p.day, p.product_key, sum(p.impressions)::bigint AS impressions, sum(p.views)::bigint AS views, sum(p.add_to_carts)::bigint AS add_to_carts,
               sum(p.checkouts)::bigint AS checkouts
        FROM analytics.products(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE p.day BETWEEN from_day AND to_day GROUP BY 1, 2
    ), sold AS (
        SELECT l.day, l.product_key, l.currency, count(*) AS purchases, sum(l.units) AS units, coalesce(sum(l.revenue), 0) AS revenue,
               sum(l.reporting_revenue) AS reporting_revenue
        FROM analytics.order_lines_in(from_day, to_day) l WHERE l.product_key IS NOT NULL GROUP BY 1, 2, 3
    )
    SELECT day, product_key, coalesce(c.impressions, 0), coalesce(c.views, 0), coalesce(c.add_to_carts, 0), coalesce(c.checkouts, 0),
           coalesce(s.purchases, 0), coalesce(s.units, 0), coalesce(s.revenue, 0), s.currency, s.reporting_revenue
    FROM counts c FULL JOIN sold s USING (day, product_key);
END $$;
COMMENT ON FUNCTION analytics.daily_products IS
    'Grain: one product, day and currency of its sales. A product that sold in two currencies on a day has two rows, with the same impressions and views.';

CREATE FUNCTION analytics.product_performance(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_viewers bigint DEFAULT 0)
RETURNS TABLE (product_key bigint, product_id text, product text, brand text, category text, viewers bigint, cart_adders bigint,
               checkout_starters bigint, buyers bigint, impressions bigint, views bigint, add_to_carts bigint, checkouts bigint, purchases bigint,
               orders bigint, units numeric, revenue numeric, currency text, reporting_revenue numeric, cart_to_view_user_rate numeric,
               view_to_purchase_user_rate numeric, view_to_purchase_event_rate numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH people AS (
        SELECT p.product_key, p.person, sum(p.impressions) AS impressions, sum(p.views) AS views, sum(p.add_to_carts) AS add_to_carts,
               sum(p.checkouts) AS checkouts, sum(p.purchases) AS purchases
        FROM analytics.products(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE p.day BETWEEN from_day AND to_day GROUP BY 1, 2
    ), counts AS (
        SELECT p.product_key, count(p.person) FILTER (WHERE p.views > 0) AS viewers, count(p.person) FILTER (WHERE p.add_to_carts > 0) AS cart_adders,
               count(p.person) FILTER (WHERE p.checkouts > 0) AS checkout_starters, count(p.person) FILTER (WHERE p.purchases > 0) AS buyers,
               sum(p.impressions)::bigint AS impressions, sum(p.views)::bigint AS views, sum(p.add_to_carts)::bigint AS add_to_carts,
               sum(p.checkouts)::bigint AS checkouts
        FROM people p GROUP BY p.product_key
    ), sold AS (
        SELECT l.product_key, l.currency, count(*) AS purchases, count(DISTINCT l.order_id COLLATE "C") AS orders, sum(l.units) AS units,
               coalesce(sum(l.revenue), 0) AS revenue, sum(l.reporting_revenue) AS reporting_revenue
        FROM analytics.order_lines_in(from_day, to_day) l GROUP BY 1, 2
    ), all_purchases AS (
        SELECT s.product_key, sum(s.purchases) AS purchases FROM sold s GROUP BY 1
    )
    SELECT c.product_key, d.product_id, analytics.product_label(d), d.product_brand, d.product_category,
           c.viewers, c.cart_adders, c.checkout_starters, c.buyers, c.impressions, c.views, c.add_to_carts, c.checkouts,
           coalesce(s.purchases, 0), coalesce(s.orders, 0), coalesce(s.units, 0), coalesce(s.revenue, 0), s.currency, s.reporting_revenue,
           c.cart_adders::numeric / nullif(c.viewers, 0), c.buyers::numeric / nullif(c.viewers, 0), coalesce(a.purchases, 0) / nullif(c.views, 0)
    FROM counts c
    JOIN dim_product d USING (product_key)
    LEFT JOIN sold s USING (product_key)
    LEFT JOIN all_purchases a USING (product_key)
    WHERE c.viewers >= min_viewers;
END $$;
COMMENT ON FUNCTION analytics.product_performance IS
    'Grain: one product and currency of its sales: people and products by step are those of the product, the same on each of its rows. cart_to_view_user_rate = cart_adders / viewers (GA4 cartToViewRate); view_to_purchase_user_rate = buyers / viewers (GA4 purchaseToViewRate); view_to_purchase_event_rate = purchases in all currencies / views, for data without people.';

CREATE FUNCTION analytics.product_pairs(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_orders bigint DEFAULT 2)
RETURNS TABLE (product_key_a bigint, product_a text, product_key_b bigint, product_b text, orders bigint, orders_a bigint, orders_b bigint,
               confidence_a_to_b numeric, lift numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH baskets AS MATERIALIZED (
        SELECT DISTINCT hashtextextended(l.order_id, 0) AS order_key, l.product_key FROM analytics.order_lines_in(from_day, to_day) l WHERE l.product_key IS NOT NULL
    ), singles AS (
        SELECT b.product_key, count(*) AS orders FROM baskets b GROUP BY b.product_key
    ), pairs AS (
        SELECT a.product_key AS a, b.product_key AS b, count(*) AS orders
        FROM baskets a JOIN baskets b ON b.order_key = a.order_key AND b.product_key > a.product_key
        GROUP BY 1, 2 HAVING count(*) >= min_orders
    )
    SELECT p.a, analytics.product_label(da), p.b, analytics.product_label(db), p.orders, sa.orders, sb.orders, p.orders::numeric / nullif(sa.orders, 0),
           p.orders::numeric * (SELECT count(DISTINCT t.order_key) FROM baskets t) / nullif(sa.orders * sb.orders, 0)
    FROM pairs p
    JOIN singles sa ON sa.product_key = p.a
    JOIN singles sb ON sb.product_key = p.b
    LEFT JOIN dim_product da ON da.product_key = p.a
    LEFT JOIN dim_product db ON db.product_key = p.b;
END $$;
COMMENT ON FUNCTION analytics.product_pairs IS
    'Grain: two different products bought in one order. orders = orders with both; confidence_a_to_b = orders with both / orders with a; lift = orders with both x all orders / (orders with a x orders with b): above 1, they are bought together more often than by chance. GA4 has no such metric.';

-- Lists

CREATE FUNCTION analytics.daily_lists(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, list_key bigint, impressions bigint, clicks bigint, engaged bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT l.day, l.list_key, sum(l.impressions)::bigint, sum(l.clicks)::bigint, sum(l.engaged)::bigint
    FROM analytics.lists(analytics.start_of(from_day), analytics.start_of(to_day + 1)) l
    WHERE l.day BETWEEN from_day AND to_day GROUP BY 1, 2;
END $$;
COMMENT ON FUNCTION analytics.daily_lists IS 'Grain: one list on one day.';

CREATE FUNCTION analytics.list_clicks(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, event_time timestamptz, fact_hash uuid, person bigint, product_key bigint, list_key bigint, list_position integer,
               is_substitute boolean) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT c.day, c.event_time, c.fact_hash, c.person, c.product_key, c.list_key, c.list_position, c.is_substitute
    FROM analytics.clicks(analytics.start_of(from_day), analytics.start_of(to_day + 1)) c WHERE c.day BETWEEN from_day AND to_day;
END;
COMMENT ON FUNCTION analytics.list_clicks IS
    'Grain: one click on a product in a list: a select_item item that names the list (GA4 itemListClickEvents by item), or the substitute for it, decided view by view: a view_item item of a product that a list showed to the person in the 30 minutes up to it, where no select_item of the product by the person was sent in these 30 minutes. Of several lists the one that showed it last.';

CREATE FUNCTION analytics.list_sales_in(from_day date, to_day date)
RETURNS TABLE (event_time timestamptz, fact_hash uuid, day date, order_id text, product_key bigint, units numeric, revenue numeric, currency text,
               reporting_revenue numeric, list_key bigint) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH lines AS MATERIALIZED (
        SELECT l.*, hashtextextended(l.person, 0) AS person_key FROM analytics.order_lines_in(from_day, to_day) l
    ), open AS MATERIALIZED (
        SELECT l.* FROM lines l WHERE l.list_key IS NULL AND l.person_key IS NOT NULL AND l.product_key IS NOT NULL
    ), moments AS (
        SELECT c.person, c.product_key, c.event_time, c.fact_hash, c.list_key, false AS is_line
        FROM (SELECT max(o.event_time) AS until FROM open o) b,
             LATERAL analytics.clicks(analytics.start_of(from_day) - interval '24 hours', b.until + interval '1 microsecond') c
        WHERE (c.person, c.product_key) IN (SELECT o.person_key, o.product_key FROM open o)
        UNION ALL
        SELECT o.person_key, o.product_key, o.event_time, o.fact_hash, NULL, true FROM open o
    ), numbered AS (
        SELECT m.*, count(*) FILTER (WHERE NOT m.is_line) OVER (PARTITION BY m.person, m.product_key ORDER BY m.event_time, m.is_line, m.list_key, m.fact_hash) AS click
        FROM moments m
    ), led AS (
        SELECT n.*, first_value(n.list_key) OVER w AS led_by, first_value(n.event_time) OVER w AS clicked_at
        FROM numbered n
        WINDOW w AS (PARTITION BY n.person, n.product_key, n.click ORDER BY n.event_time, n.is_line, n.list_key, n.fact_hash)
    )
    SELECT l.event_time, l.fact_hash, l.day, l.order_id, l.product_key, l.units, l.revenue, l.currency, l.reporting_revenue, coalesce(l.list_key, c.led_by)
    FROM lines l
    LEFT JOIN led c ON c.is_line AND c.click > 0 AND c.event_time - c.clicked_at <= interval '24 hours'
                   AND c.event_time = l.event_time AND c.fact_hash = l.fact_hash
    WHERE coalesce(l.list_key, c.led_by) IS NOT NULL;
END;
COMMENT ON FUNCTION analytics.list_sales_in IS
    'Grain: one line of an order that a list led to: the list that the purchase''s item names, else the list of the person''s last click on the product (list_clicks) in the 24 hours up to it, also of the day before. GA4 item-list attribution.';

CREATE FUNCTION analytics.list_performance(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0,
                                           grouped_by text DEFAULT 'list')
RETURNS TABLE (list_key bigint, list_id text, list text, kind text, list_views bigint, impressions bigint, viewers bigint, clicks bigint,
               clickers bigint, engaged bigint, engaged_viewers bigint, click_through_rate numeric, click_through_event_rate numeric, click_through_user_rate numeric,
               engagement_rate numeric, engaged_user_rate numeric, purchases bigint, orders bigint, units numeric, revenue numeric, currency text,
               reporting_revenue numeric, substitutes bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH groups AS (
        SELECT d.list_key, min(d.list_key) OVER (PARTITION BY coalesce(
                   CASE grouped_by WHEN 'id' THEN 'id:' || d.list_id WHEN 'name' THEN 'name:' || d.list_name END, 'list:' || d.list_key)) AS leader
        FROM dim_list d
    ), people AS (
        SELECT g.leader AS list_key, l.person, sum(l.list_views) AS list_views, sum(l.impressions) AS impressions, sum(l.engaged) AS engaged,
               sum(l.clicks) AS clicks, sum(l.substitutes) AS substitutes
        FROM analytics.lists(analytics.start_of(from_day), analytics.start_of(to_day + 1)) l JOIN groups g USING (list_key)
        WHERE l.day BETWEEN from_day AND to_day GROUP BY 1, 2
    ), counts AS (
        SELECT p.list_key, sum(p.list_views)::bigint AS list_views, sum(p.impressions)::bigint AS impressions, coalesce(sum(p.impressions) FILTER (WHERE p.person IS NOT NULL), 0) AS followed,
               count(p.person) FILTER (WHERE p.impressions > 0) AS viewers, sum(p.clicks)::bigint AS clicks,
               count(p.person) FILTER (WHERE p.clicks > 0) AS clickers, sum(p.engaged)::bigint AS engaged,
               count(p.person) FILTER (WHERE p.engaged > 0) AS engaged_viewers, sum(p.substitutes)::bigint AS substitutes
        FROM people p GROUP BY p.list_key
    ), sold AS (
        SELECT g.leader AS list_key, s.currency, count(*) AS purchases, count(DISTINCT s.order_id COLLATE "C") AS orders, sum(s.units) AS units,
               coalesce(sum(s.revenue), 0) AS revenue, sum(s.reporting_revenue) AS reporting_revenue
        FROM analytics.list_sales_in(from_day, to_day) s JOIN groups g USING (list_key) GROUP BY 1, 2
    )
    SELECT c.list_key, CASE WHEN grouped_by <> 'name' THEN d.list_id END,
           coalesce(CASE grouped_by WHEN 'id' THEN d.list_id END, analytics.list_label(d)), analytics.list_kind(d), c.list_views, c.impressions, c.viewers, c.clicks, c.clickers, c.engaged,
           c.engaged_viewers, c.clicks::numeric / nullif(c.impressions, 0), c.clicks::numeric / nullif(c.list_views, 0),
           c.clickers::numeric / nullif(c.viewers, 0), c.engaged::numeric / nullif(c.followed, 0), c.engaged_viewers::numeric / nullif(c.viewers, 0),
           coalesce(s.purchases, 0), coalesce(s.orders, 0), coalesce(s.units, 0), coalesce(s.revenue, 0), s.currency, s.reporting_revenue, c.substitutes
    FROM counts c
    JOIN dim_list d USING (list_key)
    LEFT JOIN sold s USING (list_key)
    WHERE c.impressions >= min_impressions;
END $$;
COMMENT ON FUNCTION analytics.list_performance IS
    'Grain: one list and currency of what it sold: all but the sales are those of the list, the same on each of its rows. grouped_by: list (id and name together), id (all names of a list id as one) or name (all ids of a name as one). Click-through has three names: click_through_rate = clicks / impressions, click_through_event_rate = clicks / list_views, click_through_user_rate = clickers / viewers (GA4 itemListClickThroughRate). engagement_rate = engaged / impressions of known people, engaged_user_rate = engaged_viewers / viewers; GA4 has no such rates. purchases, orders, units and revenue are those of list_sales.';

CREATE FUNCTION analytics.list_positions(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0)
RETURNS TABLE (list_key bigint, list text, list_position integer, impressions bigint, clicks bigint, click_through_rate numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT p.list_key, p.list_position, sum(p.impressions)::bigint AS impressions, sum(p.clicks)::bigint AS clicks
        FROM analytics.positions(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE p.day BETWEEN from_day AND to_day AND p.list_position IS NOT NULL GROUP BY 1, 2 HAVING sum(p.impressions) >= greatest(min_impressions, 1)
    )
    SELECT c.list_key, analytics.list_label(d), c.list_position, c.impressions, c.clicks, c.clicks::numeric / c.impressions
    FROM counts c JOIN dim_list d USING (list_key);
END $$;
COMMENT ON FUNCTION analytics.list_positions IS
    'Grain: one position of one list, as sent (GA4 index); the curve of a list. Positions from 1000 on are one. What has no position is left out.';

CREATE FUNCTION analytics.search_terms(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_impressions bigint DEFAULT 0)
RETURNS TABLE (search_term text, list_views bigint, impressions bigint, viewers bigint, clicks bigint, clickers bigint, click_through_rate numeric,
               click_through_user_rate numeric, engagement_rate numeric, purchases bigint, orders bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH terms AS MATERIALIZED (
        SELECT d.list_key, lower(btrim(d.list_name)) AS term FROM dim_list d WHERE analytics.list_kind(d) = 'search'
    ), people AS (
        SELECT t.term, l.person, sum(l.list_views) AS list_views, sum(l.impressions) AS impressions, sum(l.engaged) AS engaged, sum(l.clicks) AS clicks
        FROM analytics.lists(analytics.start_of(from_day), analytics.start_of(to_day + 1)) l JOIN terms t USING (list_key)
        WHERE l.day BETWEEN from_day AND to_day GROUP BY 1, 2
    ), counts AS (
        SELECT p.term, sum(p.list_views)::bigint AS list_views, sum(p.impressions)::bigint AS impressions, sum(p.clicks)::bigint AS clicks,
               count(p.person) FILTER (WHERE p.impressions > 0) AS viewers, count(p.person) FILTER (WHERE p.clicks > 0) AS clickers,
               sum(p.engaged) AS engaged, sum(p.impressions) FILTER (WHERE p.person IS NOT NULL) AS followed
        FROM people p GROUP BY p.term
    ), sold AS (
        SELECT t.term, count(*) AS purchases, count(DISTINCT s.order_id COLLATE "C") AS orders
        FROM analytics.list_sales_in(from_day, to_day) s JOIN terms t USING (list_key) GROUP BY t.term
    )
    SELECT c.term, c.list_views, c.impressions, c.viewers, c.clicks, c.clickers, c.clicks::numeric / nullif(c.impressions, 0),
           c.clickers::numeric / nullif(c.viewers, 0), c.engaged / nullif(c.followed, 0), coalesce(s.purchases, 0), coalesce(s.orders, 0)
    FROM counts c LEFT JOIN sold s USING (term) WHERE c.impressions >= min_impressions;
END $$;
COMMENT ON FUNCTION analytics.search_terms IS
    'Grain: one search term in lower case: the lists of kind search (list_kind) by their name. Rates as in list_performance.';

CREATE FUNCTION analytics.orders_by(dimension text, from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (value text, currency text, orders bigint, purchases bigint, units numeric, revenue numeric, revenue_per_order numeric,
               purchases_per_order numeric, reporting_revenue numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH lines AS (
        SELECT CASE dimension
                   WHEN 'platform' THEN coalesce(l.platform, 'no platform') WHEN 'brand' THEN coalesce(p.product_brand, 'no brand')
                   WHEN 'category' THEN coalesce(p.product_category, 'no category') WHEN 'coupon' THEN coalesce(l.event_coupon, l.item_coupon, 'no coupon')
                   WHEN 'list' THEN coalesce(d.list_name, d.list_id, 'no list') ELSE 'all' END AS value,
               l.currency, l.order_id, l.units, l.revenue, l.reporting_revenue, 1 AS line
        FROM analytics.order_lines_in(from_day, to_day) l
        LEFT JOIN dim_product p USING (product_key)
        LEFT JOIN analytics.list_sales_in(CASE WHEN dimension = 'list' THEN from_day ELSE 'infinity' END, to_day) s USING (fact_hash, event_time)
        LEFT JOIN dim_list d ON d.list_key = s.list_key
        UNION ALL
        SELECT CASE dimension WHEN 'platform' THEN coalesce(o.platform, 'no platform') WHEN 'coupon' THEN coalesce(o.coupon, 'no coupon')
                   WHEN 'all' THEN 'all' ELSE 'no ' || dimension END, o.currency, o.order_id, 0, o.revenue, o.reporting_revenue, 0
        FROM analytics.orders_in(from_day, to_day) o WHERE o.is_by_value
    )
    SELECT l.value, l.currency, count(DISTINCT l.order_id COLLATE "C"), sum(l.line)::bigint, sum(l.units), coalesce(sum(l.revenue), 0),
           coalesce(sum(l.revenue), 0) / count(DISTINCT l.order_id COLLATE "C"), sum(l.line)::numeric / count(DISTINCT l.order_id COLLATE "C"),
           sum(l.reporting_revenue)
    FROM lines l GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2;
END $$;
COMMENT ON FUNCTION analytics.orders_by IS
    'Grain: one value of a dimension and currency; dimension is platform, category, brand, list (that led to the line), coupon, or all. orders have a line of the value: of an order with two brands each brand has one. revenue_per_order is the average order value (AOV) of what the order has of the value. Orders without items, whose revenue is value, are under no category, brand and list.';

-- Customers

CREATE FUNCTION analytics.new_and_returning(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, people bigint, new_people bigint, returning_people bigint, buyers bigint, new_buyers bigint, returning_buyers bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH days AS MATERIALIZED (
        SELECT v.person, v.day, bool_or(v.done & 64 > 0) AS bought
        FROM analytics.visits('-infinity', analytics.start_of(to_day + 1)) v WHERE v.day <= to_day AND v.person IS NOT NULL GROUP BY 1, 2
    ), firsts AS (
        SELECT d.person, min(d.day) AS visited, min(d.day) FILTER (WHERE d.bought) AS bought FROM days d GROUP BY 1
    )
    SELECT d.day, count(*), count(*) FILTER (WHERE d.day = f.visited), count(*) FILTER (WHERE d.day > f.visited), count(*) FILTER (WHERE d.bought),
           count(*) FILTER (WHERE d.bought AND d.day = f.bought), count(*) FILTER (WHERE d.bought AND d.day > f.bought)
    FROM days d JOIN firsts f USING (person) WHERE d.day >= from_day GROUP BY 1 ORDER BY 1;
END $$;
COMMENT ON FUNCTION analytics.new_and_returning IS
    'Grain: one day. New people have their first event of all time on the day (GA4 newUsers), new buyers their first purchase; the others return.';

CREATE FUNCTION analytics.cohorts(unit text, first_by text DEFAULT 'visit', from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (cohort date, period integer, cohort_people bigint, people bigint, retention_rate numeric, buyers bigint, repeat_rate numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH periods AS MATERIALIZED (
        SELECT v.person, date_trunc(unit, v.day::timestamp)::date AS period, bool_or(v.done & 64 > 0) AS bought
        FROM analytics.visits('-infinity', analytics.start_of(to_day + 1)) v WHERE v.day <= to_day AND v.person IS NOT NULL GROUP BY 1, 2
    ), firsts AS MATERIALIZED (
        SELECT p.person, min(p.period) AS cohort FROM periods p WHERE first_by = 'visit' OR p.bought GROUP BY 1
    ), sizes AS (
        SELECT f.cohort, count(*) AS people FROM firsts f GROUP BY 1
    )
    SELECT f.cohort, CASE unit WHEN 'day' THEN p.period - f.cohort WHEN 'week' THEN (p.period - f.cohort) / 7
                     ELSE ((extract(year FROM age(p.period, f.cohort)) * 12 + extract(month FROM age(p.period, f.cohort))))::integer END,
           s.people, count(*), count(*)::numeric / s.people, count(*) FILTER (WHERE p.bought), count(*) FILTER (WHERE p.bought)::numeric / s.people
    FROM firsts f JOIN periods p ON p.person = f.person AND p.period >= f.cohort JOIN sizes s USING (cohort)
    WHERE f.cohort >= from_day GROUP BY f.cohort, p.period, s.people ORDER BY 1, 2;
END $$;
COMMENT ON FUNCTION analytics.cohorts IS
    'Grain: one cohort and period after it. A cohort is the people whose first visit (first_by => visit) or first order (order) of all time was in that day, week or month (unit). people: those with an event in the period; buyers: those with a purchase. retention_rate = people / cohort_people, repeat_rate = buyers / cohort_people.';

CREATE FUNCTION analytics.customers(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (person text, currency text, orders bigint, purchases bigint, revenue numeric, revenue_per_order numeric, first_order_at timestamptz,
               last_order_at timestamptz, time_between_orders interval, recency_score integer, frequency_score integer, monetary_score integer) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT o.person, o.currency, count(*) AS orders, sum(o.purchases)::bigint AS purchases, coalesce(sum(o.revenue), 0) AS revenue,
               min(o.order_began) AS first_at, max(o.order_began) AS last_at
        FROM analytics.orders_in(from_day, to_day) o WHERE o.person IS NOT NULL GROUP BY 1, 2
    )
    SELECT c.person, c.currency, c.orders, c.purchases, c.revenue, c.revenue / c.orders, c.first_at, c.last_at,
           (c.last_at - c.first_at) / nullif(c.orders - 1, 0), ntile(5) OVER (PARTITION BY c.currency ORDER BY c.last_at, c.person),
           ntile(5) OVER (PARTITION BY c.currency ORDER BY c.orders, c.last_at, c.person), ntile(5) OVER (PARTITION BY c.currency ORDER BY c.revenue, c.last_at, c.person)
    FROM counts c;
END $$;
COMMENT ON FUNCTION analytics.customers IS
    'Grain: one person who bought, and currency. revenue is the lifetime value so far, where the range is all days. time_between_orders is the mean. Scores from 1 to 5 are fifths of the customers (RFM): 5 bought last, most often, for most.';

-- Promotions are few: their facts are read by an index of their own.
CREATE INDEX fact_events_promotion ON fact_events (event_time) INCLUDE (event_name, promotion_id, promotion_name, user_id, user_pseudo_id)
    WHERE event_name IN ('view_promotion', 'select_promotion');

CREATE FUNCTION analytics.promotions(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', min_views bigint DEFAULT 0)
RETURNS TABLE (promotion_id text, promotion_name text, promotion_views bigint, promotion_clicks bigint, viewers bigint, clickers bigint,
               click_through_user_rate numeric, click_through_rate numeric) STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH counts AS (
        SELECT f.promotion_id, max(f.promotion_name) AS promotion_name,
               count(*) FILTER (WHERE f.event_name = 'view_promotion') AS views, count(*) FILTER (WHERE f.event_name = 'select_promotion') AS clicks,
               count(DISTINCT analytics.person_of(f.user_id, f.user_pseudo_id)) FILTER (WHERE f.event_name = 'view_promotion') AS viewers,
               count(DISTINCT analytics.person_of(f.user_id, f.user_pseudo_id)) FILTER (WHERE f.event_name = 'select_promotion') AS clickers
        FROM fact_events f
        WHERE f.event_name IN ('view_promotion', 'select_promotion')
          AND f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
        GROUP BY f.promotion_id, CASE WHEN f.promotion_id IS NULL THEN f.promotion_name END
    )
    SELECT c.promotion_id, c.promotion_name, c.views, c.clicks, c.viewers, c.clickers, c.clickers::numeric / nullif(c.viewers, 0),
           c.clicks::numeric / nullif(c.views, 0)
    FROM counts c WHERE c.views >= min_views;
END;
COMMENT ON FUNCTION analytics.promotions IS
    'Grain: one promotion, by id, or by name where no id was sent: items of view_promotion and select_promotion (GA4 promotionViews, promotionClicks, itemPromotionClickThroughRate). viewers and clickers are those of the promotion.';

-- Data quality

CREATE FUNCTION analytics.lateness(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, facts bigint, late_facts bigint, early_facts bigint, median_delay interval) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH delays AS (
        SELECT d.day, d.seconds, sum(d.facts) AS facts, sum(d.late_facts) AS late_facts, sum(d.early_facts) AS early_facts
        FROM analytics.delays(analytics.start_of(from_day), analytics.start_of(to_day + 1)) d WHERE d.day BETWEEN from_day AND to_day GROUP BY 1, 2
    ), reached AS (
        SELECT d.*, sum(d.facts) OVER (PARTITION BY d.day ORDER BY d.seconds) AS so_far, sum(d.facts) OVER (PARTITION BY d.day) AS of_day FROM delays d
    )
    SELECT r.day, sum(r.facts)::bigint, sum(r.late_facts)::bigint, sum(r.early_facts)::bigint,
           make_interval(secs => min(r.seconds) FILTER (WHERE 2 * r.so_far >= r.of_day))
    FROM reached r GROUP BY 1 ORDER BY 1;
END $$;
COMMENT ON FUNCTION analytics.lateness IS
    'Grain: one day of events. late_facts arrived more than 24 hours after the event; early_facts are dated more than 5 minutes after their arrival (a clock that is wrong); half of the facts arrived within median_delay, which is known to two digits.';

CREATE VIEW analytics.rejections AS
SELECT analytics.day_of(first_seen) AS day, reason, count(*) AS rejected FROM rejected_events GROUP BY 1, 2;
COMMENT ON VIEW analytics.rejections IS 'Grain: one day of arrival and reason. Events, or parts of events, that could not become facts.';

CREATE VIEW analytics.duplicates AS
SELECT topic, partition, sum(records)::bigint AS records, sum(records - records_without_rows)::bigint AS records_with_rows,
       sum(records_without_rows)::bigint AS records_without_rows
FROM sink_offsets GROUP BY topic, partition HAVING sum(records) > 0;
COMMENT ON VIEW analytics.duplicates IS
    'Grain: one partition of a topic, as all sinks have read it. records_without_rows = records that brought no new fact and no new rejected event: sent again by a producer, delivered again by SQS, or read again.';

-- Other questions are made of these, which the planner takes apart. Whoever calls one alone calls a function that sets what it needs.
DO $make$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sessions', 'orders', 'order_lines', 'refunds', 'list_sales'] LOOP
        EXECUTE format($template$
CREATE FUNCTION analytics.%1$s(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity') RETURNS %2$s
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $body$
#variable_conflict use_column
BEGIN RETURN QUERY SELECT * FROM analytics.%1$s_in(from_day, to_day); END $body$;
COMMENT ON FUNCTION analytics.%1$s IS %3$L;
COMMENT ON FUNCTION analytics.%1$s_in IS 'analytics.%1$s, for the questions that are made of it.';
$template$, name, pg_get_function_result(format('analytics.%s_in', name)::regproc), obj_description(format('analytics.%s_in', name)::regproc, 'pg_proc'));
    END LOOP;
END $make$;

-- Questions that add up much are planned for their range, with memory for it. They bind their tables here, whoever calls them.
DO $$
DECLARE
    name regprocedure;
BEGIN
    FOR name IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                WHERE p.pronamespace = 'analytics'::regnamespace AND l.lanname = 'plpgsql' AND p.provolatile = 's' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_custom_plan', name);
        EXECUTE format('ALTER FUNCTION %s SET jit = off', name);
        EXECUTE format('ALTER FUNCTION %s SET work_mem = ''256MB''', name);
        -- The planner can't know how many rows a window leaves, and would compare each with each.
        EXECUTE format('ALTER FUNCTION %s SET enable_nestloop = off', name);
    END LOOP;
END $$;

-- For tools that read no functions: the same over all days. A condition on day doesn't make them faster; the functions read only their range.
CREATE VIEW analytics.daily_people AS SELECT * FROM analytics.daily_people();
CREATE VIEW analytics.daily_revenue AS SELECT * FROM analytics.daily_revenue();
CREATE VIEW analytics.daily_funnel AS SELECT * FROM analytics.daily_funnel();
CREATE VIEW analytics.daily_products AS SELECT * FROM analytics.daily_products();
CREATE VIEW analytics.daily_lists AS SELECT * FROM analytics.daily_lists();
CREATE VIEW analytics.daily_sessions AS
SELECT s.value::date AS day, s.sessions, s.engaged_sessions, s.converted_sessions, s.bounces, s.engagement_rate, s.bounce_rate, s.ga4_bounce_rate, s.conversion_rate
FROM analytics.sessions_by('day') s;
CREATE VIEW analytics.orders AS SELECT * FROM analytics.orders();
CREATE VIEW analytics.order_lines AS SELECT * FROM analytics.order_lines();
COMMENT ON VIEW analytics.daily_sessions IS 'The function sessions_by(''day'') over all days.';
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['daily_people', 'daily_revenue', 'daily_funnel', 'daily_products', 'daily_lists', 'orders', 'order_lines'] LOOP
        EXECUTE format('COMMENT ON VIEW analytics.%1$s IS %2$L', name, format('The function of this name over all days. %s',
            obj_description(to_regprocedure(format('analytics.%s(date, date)', name)), 'pg_proc')));
    END LOOP;
END $$;

-- The range and the threshold of the files in sql/queries: with psql, parameters.sql makes settings of the variables from, to and min.
CREATE FUNCTION analytics.first_day() RETURNS date STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.first_day', true), '')::date, '-infinity');
CREATE FUNCTION analytics.last_day() RETURNS date STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.last_day', true), '')::date, 'infinity');
CREATE FUNCTION analytics.at_least(usually bigint) RETURNS bigint STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('etl.at_least', true), '')::bigint, usually);
COMMENT ON FUNCTION analytics.first_day IS 'The first day asked for: the setting etl.first_day, else all.';
COMMENT ON FUNCTION analytics.last_day IS 'The last day asked for: the setting etl.last_day, else all.';
COMMENT ON FUNCTION analytics.at_least IS 'The volume below which rates are chance and left out: the setting etl.at_least, else the one given.';

-- One name, one meaning.
CREATE TABLE analytics.glossary (name text PRIMARY KEY, meaning text NOT NULL);
COMMENT ON TABLE analytics.glossary IS 'What a column of the schema analytics means, the same in every table, view and function.';
COMMENT ON COLUMN analytics.glossary.name IS 'Name of the column.';
COMMENT ON COLUMN analytics.glossary.meaning IS 'What it means.';
INSERT INTO analytics.glossary VALUES
    ('day', 'The day in the reporting time zone. Of orders, lines and sessions it is the day they begin.'),
    ('hour', 'Beginning of the hour (UTC).'),
    ('event_name', 'GA4 event name.'),
    ('event_time', 'When the event happened, UTC.'),
    ('fact_hash', 'The fact, fact_events.fact_hash.'),
    ('platform', 'Where the event came from: ANDROID, IOS, WEB, ...'),
    ('person', 'Who it was: user_id, or user_pseudo_id where nobody is signed in. A number is its key, analytics.person_of.'),
    ('visitor', 'Key of the device, and of the session id where one is sent: analytics.visitor_of.'),
    ('has_session_id', 'Whether events of the session carry a session id.'),
    ('session_id', 'Session id (GA4 ga_session_id).'),
    ('product_key', 'The product, dim_product.product_key.'),
    ('product_id', 'Product id or SKU (GA4 item_id).'),
    ('product', 'Name of the product; where it has none, its id.'),
    ('product_variant', 'Variant of the product in this interaction (GA4 item_variant).'),
    ('brand', 'Newest brand of the product.'),
    ('category', 'First level of the product''s newest category path.'),
    ('list_key', 'The list, dim_list.list_key.'),
    ('list_id', 'List id (GA4 item_list_id).'),
    ('list', 'Name of the list; where it has none, its id.'),
    ('kind', 'search where the name of the list is what somebody typed, else list.'),
    ('list_position', 'Position in the list as sent; from 1000 on one. NULL: none or a negative one was sent.'),
    ('search_term', 'What people typed, in lower case.'),
    ('item_ordinal', 'Position of the item in the event''s items, from 1. 0: the event has no items.'),
    ('events', 'Events, each once however many items it has.'),
    ('items', 'Items of events.'),
    ('list_views', 'Events that show a list: view_item_list.'),
    ('impressions', 'Products shown in lists: items of view_item_list.'),
    ('selects', 'Products selected in lists: items of select_item.'),
    ('views', 'Products viewed: items of view_item. Of visits and sessions: page, screen, product and list views, as GA4 counts them for engagement.'),
    ('add_to_carts', 'Products added to the cart: items of add_to_cart.'),
    ('checkouts', 'Products checked out: items of begin_checkout.'),
    ('purchases', 'Products bought: lines of orders, each order once. In hourly_products: items of purchase events.'),
    ('orders', 'Orders, each once: by transaction_id; without one the purchase event is the order.'),
    ('units', 'Units bought, one where no quantity was sent.'),
    ('revenue', 'Revenue in currency, without tax and shipping: item_revenue where it is sent, else price times units.'),
    ('revenue_in_usd', 'Revenue in US dollars, where the events say it.'),
    ('refunds', 'Refunded amounts in currency.'),
    ('refunded_units', 'Units refunded.'),
    ('rate', 'Units of the reporting currency for one unit of the currency.'),
    ('net_revenue', 'revenue - refunds.'),
    ('reporting_revenue', 'Revenue in the reporting currency; NULL where none is set or a rate is missing.'),
    ('reporting_refunds', 'Refunds in the reporting currency.'),
    ('currency', 'Currency of the amounts, ISO 4217; no currency where none was sent. NULL: nothing was sold.'),
    ('revenue_per_order', 'Average order value (AOV): revenue / orders.'),
    ('purchases_per_order', 'Lines an order: purchases / orders.'),
    ('order_id', 'The order: transaction_id; without one event_id; without both a hash of time, person and platform.'),
    ('transaction_key', 'Hash of transaction_id.'),
    ('order_began', 'Time of the order''s first event.'),
    ('is_by_value', 'Whether the amount is value, since the event has no items.'),
    ('value', 'Value of the whole event as sent. In functions with a dimension: the dimension''s value.'),
    ('tax', 'Tax of the whole order.'),
    ('shipping', 'Shipping cost of the whole order.'),
    ('coupon', 'Coupon of the order, or of one of its items.'),
    ('event_coupon', 'Coupon of the whole event.'),
    ('item_coupon', 'Coupon of the item.'),
    ('is_repeated', 'Whether an earlier fact has the same transaction, product and place.'),
    ('is_refund', 'Whether it is a refund and not a purchase.'),
    ('people', 'People with an event.'),
    ('list_viewers', 'People to whom a list was shown.'),
    ('viewers', 'People who viewed the product, or to whom the list or promotion was shown.'),
    ('cart_adders', 'People who added to the cart.'),
    ('checkout_starters', 'People who began a checkout.'),
    ('buyers', 'People who purchased.'),
    ('clickers', 'People who clicked.'),
    ('engaged_viewers', 'People with an engaged impression.'),
    ('new_people', 'People with their first event of all time.'),
    ('returning_people', 'People who have had events on earlier days.'),
    ('new_buyers', 'People with their first purchase of all time.'),
    ('returning_buyers', 'People who have bought on earlier days.'),
    ('clicks', 'Clicks on products in lists: select_item items, or the views that stand in for them (analytics.list_clicks).'),
    ('substitutes', 'Those of the clicks that are views standing in for select_item.'),
    ('is_substitute', 'Whether the click is a view standing in for select_item.'),
    ('engaged', 'Impressions that the person followed up within 30 minutes: selected, viewed, added, checked out or bought the product.'),
    ('engagement_rate', 'Of lists: engaged / impressions of known people. Of sessions: engaged_sessions / sessions (GA4).'),
    ('engaged_user_rate', 'engaged_viewers / viewers.'),
    ('click_through_rate', 'clicks / impressions (of promotions: clicks / views).'),
    ('click_through_event_rate', 'clicks / list_views.'),
    ('click_through_user_rate', 'clickers / viewers (GA4 itemListClickThroughRate).'),
    ('cart_to_view_user_rate', 'cart_adders / viewers.'),
    ('view_to_purchase_user_rate', 'buyers / viewers.'),
    ('view_to_purchase_event_rate', 'purchases / views.'),
    ('list_to_view_user_rate', 'viewers / list_viewers.'),
    ('view_to_checkout_user_rate', 'checkout_starters / viewers.'),
    ('checkout_to_purchase_user_rate', 'buyers / checkout_starters.'),
    ('sessions', 'Sessions that begin in the range.'),
    ('engaged_sessions', 'Sessions longer than 10 seconds, or with a purchase, or with two views or more.'),
    ('converted_sessions', 'Sessions with a purchase.'),
    ('bounces', 'Sessions with one event.'),
    ('bounce_rate', 'bounces / sessions.'),
    ('ga4_bounce_rate', '1 - engagement_rate, which GA4 calls bounce rate.'),
    ('conversion_rate', 'converted_sessions / sessions.'),
    ('is_engaged', 'Whether the session is longer than 10 seconds, or has a purchase, or two views or more.'),
    ('is_converted', 'Whether the session has a purchase.'),
    ('is_bounce', 'Whether the session has one event.'),
    ('started_at', 'Time of the session''s first event.'),
    ('ended_at', 'Time of its last event.'),
    ('first_at', 'Time of the first event.'),
    ('last_at', 'Time of the last event.'),
    ('done', 'Bit n is set where step n was taken (analytics.step_of).'),
    ('steps', 'The steps in their order: L view_item_list, S select_item, V view_item, A add_to_cart, C begin_checkout, P purchase.'),
    ('step', 'Number of the step (analytics.step_of).'),
    ('entry_list', 'The first list that the session showed, dim_list.list_key.'),
    ('rate_of_first', 'sessions / sessions of the first step.'),
    ('rate_of_step_before', 'sessions / sessions of the step before.'),
    ('product_key_a', 'A product, dim_product.product_key.'),
    ('product_a', 'Its name.'),
    ('product_key_b', 'Another product.'),
    ('product_b', 'Its name.'),
    ('orders_a', 'Orders with the first product.'),
    ('orders_b', 'Orders with the second one.'),
    ('confidence_a_to_b', 'orders / orders_a.'),
    ('lift', 'How many times more often than by chance both are in one order.'),
    ('promotion_id', 'Promotion id.'),
    ('promotion_name', 'Promotion name.'),
    ('promotion_views', 'Items of view_promotion.'),
    ('promotion_clicks', 'Items of select_promotion.'),
    ('cohort', 'First day of the period in which these people were first seen.'),
    ('period', 'Periods since then, from 0.'),
    ('cohort_people', 'People of the cohort.'),
    ('retention_rate', 'people / cohort_people.'),
    ('repeat_rate', 'buyers / cohort_people.'),
    ('first_order_at', 'Time of the person''s first order in the range.'),
    ('last_order_at', 'Time of the last one.'),
    ('time_between_orders', 'Mean time between two orders.'),
    ('recency_score', '1 to 5: 5 bought last.'),
    ('frequency_score', '1 to 5: 5 has most orders.'),
    ('monetary_score', '1 to 5: 5 has most revenue.'),
    ('facts', 'Facts.'),
    ('late_facts', 'Facts that arrived more than 24 hours after the event.'),
    ('early_facts', 'Facts dated more than 5 minutes after their arrival.'),
    ('median_delay', 'Half of the facts arrived within this time.'),
    ('seconds', 'Seconds from event to arrival, rounded to two digits.'),
    ('reason', 'Kind of fault.'),
    ('rejected', 'Events, or parts of events.'),
    ('topic', 'Fluvio topic.'),
    ('partition', 'Partition of the topic.'),
    ('records', 'Records read.'),
    ('records_with_rows', 'Records that brought a new fact or rejected event.'),
    ('records_without_rows', 'Records that brought nothing new.');

DO $$
DECLARE
    shown record;
BEGIN
    FOR shown IN
        SELECT a.attrelid::regclass AS relation, a.attname, g.meaning FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN analytics.glossary g ON g.name = a.attname
        WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', shown.relation, shown.attname, shown.meaning);
    END LOOP;
END $$;

SELECT etl_grant_roles();
