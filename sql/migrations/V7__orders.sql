-- Questions about orders, revenue and customers.

CREATE FUNCTION analytics.daily_rates() RETURNS TABLE (day date, currency text, rate numeric)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT d.day, c.currency, analytics.reporting_rate(c.currency, d.day)
    FROM (SELECT s.day FROM analytics.days s
          -- A day of another time zone can begin a day before, or end a day after.
          UNION SELECT s.day - 1 FROM analytics.days s UNION SELECT s.day + 1 FROM analytics.days s
          UNION SELECT analytics.day_of(o.hour) FROM analytics.open_hours o
          UNION SELECT analytics.day_of(o.hour + interval '59 minutes')
          FROM analytics.open_hours o) d,
         (SELECT r.currency FROM analytics.exchange_rates r
          UNION SELECT analytics.reporting_currency()) c
    WHERE analytics.reporting_currency() IS NOT NULL;
END;
COMMENT ON FUNCTION analytics.daily_rates IS
    'analytics.reporting_rate of each currency on all days with events; empty where no reporting '
    'currency is set.';

CREATE FUNCTION analytics.order_lines_in(from_day date, to_day date)
RETURNS TABLE (day date, order_id text, order_began timestamptz, event_time timestamptz,
               person text,
               session_id text, platform text, product_key bigint, product_variant text,
               list_key bigint,
               item_ordinal integer, units numeric, revenue numeric, currency text,
               revenue_in_usd numeric, reporting_revenue numeric, event_coupon text,
               item_coupon text,
               fact_hash uuid, led_by bigint) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT i.day, i.order_id, i.order_began, i.event_time, i.person, i.session_id, i.platform,
           i.product_key, i.product_variant, i.list_key, i.item_ordinal, i.units, i.revenue,
           i.currency,
           i.revenue_in_usd, i.revenue * r.rate, i.event_coupon, i.item_coupon, i.fact_hash,
           i.led_by
    FROM analytics.order_items_in(from_day, to_day) i
    LEFT JOIN analytics.daily_rates() r USING (day, currency);
END;
COMMENT ON FUNCTION analytics.order_lines_in IS
    'Grain: one item at one place of one order; a purchase is one of these. An order that was '
    'sent under several event ids counts once: of the facts with the same transaction_id, '
    'product and item_ordinal the earliest, and none of an event that is dated more than 72 hours '
    'from its arrival unless all are. Lines belong to the day on which their order began. '
    'revenue is item_revenue where it is sent, else price x units, without tax and shipping (GA4 '
    'item revenue).';

CREATE FUNCTION analytics.orders_in(from_day date, to_day date)
RETURNS TABLE (day date, order_id text, order_began timestamptz, person text, platform text,
               purchases bigint, units numeric, revenue numeric, currency text,
               reporting_revenue numeric,
               is_by_value boolean, value numeric, tax numeric, shipping numeric, coupon text)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT o.day, o.order_id, o.order_began, o.person, o.platform, o.purchases, o.units, o.revenue,
           o.currency, o.revenue * r.rate, o.is_by_value, o.value, o.tax, o.shipping, o.coupon
    FROM analytics.order_totals_in(from_day, to_day) o
    LEFT JOIN analytics.daily_rates() r USING (day, currency);
END;
COMMENT ON FUNCTION analytics.orders_in IS
    'Grain: one order and currency; an order has one currency unless its items differ. Orders '
    'are told apart by transaction_id (GA4 transactions); without one the purchase event is the '
    'order. An order belongs to the day of its first event, with all its lines. revenue is that '
    'of its lines; of an order without items it is value, marked by is_by_value. value, tax and '
    'shipping are those of its first event.';

CREATE FUNCTION analytics.refunds_in(from_day date, to_day date)
RETURNS TABLE (day date, order_id text, event_time timestamptz, person text, platform text,
               refunded_units numeric, refunds numeric, currency text,
               reporting_refunds numeric, is_by_value boolean) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH facts AS MATERIALIZED (
        SELECT p.* FROM analytics.purchases(analytics.start_of(from_day),
                                            analytics.start_of(to_day + 1)) p
        WHERE p.is_refund AND p.day BETWEEN from_day AND to_day
    ), refunds AS (
        SELECT f.day, f.order_id, f.event_time, min(f.person COLLATE "C") AS person,
               min(f.platform COLLATE "C") AS platform,
               coalesce(sum(f.units), 0) AS units, sum(f.revenue) AS amount, f.currency,
               max(f.item_ordinal) = 0 AS is_by_value, min(f.value) AS value
        FROM facts f
        WHERE f.item_ordinal > 0 OR (f.order_id, f.event_time)
            NOT IN (SELECT l.order_id, l.event_time FROM facts l WHERE l.item_ordinal > 0)
        GROUP BY f.day, f.order_id, f.event_time, f.currency
    )
    SELECT r.day, r.order_id, r.event_time, r.person, r.platform, r.units, a.amount, r.currency,
           a.amount * x.rate, r.is_by_value
    FROM refunds r LEFT JOIN analytics.daily_rates() x USING (day, currency),
    LATERAL (SELECT CASE WHEN r.is_by_value THEN r.value ELSE r.amount END AS amount) a;
END;
COMMENT ON FUNCTION analytics.refunds_in IS
    'Grain: one refund event and currency, on its own day. refunds is item_refund where it is '
    'sent, else price x units of its items; of a refund without items it is value, marked by '
    'is_by_value (GA4 refundAmount).';

CREATE FUNCTION analytics.daily_revenue(from_day date DEFAULT '-infinity',
                                        to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, currency text, orders bigint, purchases bigint, units numeric,
               revenue numeric, refunds numeric, net_revenue numeric,
               revenue_per_order numeric, purchases_per_order numeric, reporting_revenue numeric,
               reporting_refunds numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH amounts AS (
        SELECT o.day, o.currency, 1 AS orders, o.purchases, o.units, o.revenue,
               0::numeric AS refunds, o.reporting_revenue, NULL::numeric AS reporting_refunds
        FROM analytics.orders_in(from_day, to_day) o
        UNION ALL
        SELECT r.day, r.currency, 0, 0, 0, 0, r.refunds, NULL, r.reporting_refunds
        FROM analytics.refunds_in(from_day, to_day) r
    )
    SELECT a.day, a.currency, sum(a.orders)::bigint, sum(a.purchases)::bigint, sum(a.units),
           coalesce(sum(a.revenue), 0), coalesce(sum(a.refunds), 0),
           coalesce(sum(a.revenue), 0) - coalesce(sum(a.refunds), 0),
           coalesce(sum(a.revenue), 0) / nullif(sum(a.orders), 0),
           sum(a.purchases) / nullif(sum(a.orders), 0),
           sum(a.reporting_revenue), sum(a.reporting_refunds)
    FROM amounts a GROUP BY 1, 2 ORDER BY 1, 2;
END $$;
COMMENT ON FUNCTION analytics.daily_revenue IS
    'Grain: one day and currency. Orders of the day, each once; refunds of the day; net_revenue '
    '= revenue - refunds. revenue_per_order is the average order value (AOV).';

CREATE FUNCTION analytics.daily_funnel(from_day date DEFAULT '-infinity',
                                       to_day date DEFAULT 'infinity')
RETURNS TABLE (day date, list_views bigint, impressions bigint, selects bigint, views bigint,
               add_to_carts bigint, checkouts bigint, purchases bigint,
               orders bigint, events bigint) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH events AS (
        SELECT e.day, coalesce(sum(e.events) FILTER (WHERE e.event_name = 'view_item_list'),
                               0)::bigint AS list_views,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'view_item_list'), 0)::bigint
                   AS impressions,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'select_item'), 0)::bigint
                   AS selects,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'view_item'), 0)::bigint AS views,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'add_to_cart'), 0)::bigint
                   AS add_to_carts,
               coalesce(sum(e.items) FILTER (WHERE e.event_name = 'begin_checkout'), 0)::bigint
                   AS checkouts, sum(e.events)::bigint AS events
        FROM analytics.events(analytics.start_of(from_day), analytics.start_of(to_day + 1)) e
        WHERE e.day BETWEEN from_day AND to_day GROUP BY e.day
    ), sold AS (
        SELECT o.day, sum(o.purchases)::bigint AS purchases,
               count(DISTINCT o.order_id COLLATE "C") AS orders
                   FROM analytics.orders_in(from_day, to_day) o GROUP BY o.day
    )
    SELECT e.day, e.list_views, e.impressions, e.selects, e.views, e.add_to_carts, e.checkouts,
           coalesce(s.purchases, 0), coalesce(s.orders, 0), e.events
    FROM events e LEFT JOIN sold s USING (day) ORDER BY e.day;
END $$;
COMMENT ON FUNCTION analytics.daily_funnel IS
    'Grain: one day. Products by step: shown in lists (impressions), selected, viewed, added, '
    'checked out, bought (purchases: lines of orders); list_views, orders and events count '
    'events and orders.';

CREATE FUNCTION analytics.customers(from_day date DEFAULT '-infinity',
                                    to_day date DEFAULT 'infinity')
RETURNS TABLE (person text, currency text, orders bigint, purchases bigint, revenue numeric,
               revenue_per_order numeric, first_order_at timestamptz,
               last_order_at timestamptz, time_between_orders interval, recency_score integer,
               frequency_score integer, monetary_score integer) LANGUAGE plpgsql
               STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH counts AS (
        SELECT o.person, o.currency, count(*) AS orders, sum(o.purchases)::bigint AS purchases,
               coalesce(sum(o.revenue), 0) AS revenue,
               min(o.order_began) AS first_at, max(o.order_began) AS last_at
        FROM analytics.orders_in(from_day, to_day) o WHERE o.person IS NOT NULL GROUP BY 1, 2
    )
    SELECT c.person, c.currency, c.orders, c.purchases, c.revenue, c.revenue / c.orders, c.first_at,
           c.last_at,
           (c.last_at - c.first_at) / nullif(c.orders - 1, 0),
           ntile(5) OVER (PARTITION BY c.currency ORDER BY c.last_at, c.person),
           ntile(5) OVER (PARTITION BY c.currency ORDER BY c.orders, c.last_at, c.person),
           ntile(5) OVER (PARTITION BY c.currency ORDER BY c.revenue, c.last_at, c.person)
    FROM counts c;
END $$;
COMMENT ON FUNCTION analytics.customers IS
    'Grain: one person who bought, and currency. revenue is the lifetime value so far, where the '
    'range is all days. time_between_orders is the mean. Scores from 1 to 5 are fifths of the '
    'customers (RFM): 5 bought last, most often, for most.';
