-- Questions about the way to a purchase: who people are, what they see, and where they stop.

-- Identity

CREATE FUNCTION analytics.identities(from_day date DEFAULT '-infinity',
                                     to_day date DEFAULT 'infinity')
RETURNS TABLE (user_pseudo_id text, user_id text, first_at timestamptz, last_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT s.user_pseudo_id, s.user_id, min(s.first_at), max(s.last_at)
    FROM analytics.sign_ins(analytics.start_of(from_day), analytics.start_of(to_day + 1)) s
    WHERE s.day BETWEEN from_day AND to_day GROUP BY 1, 2;
END $$;
COMMENT ON FUNCTION analytics.identities IS
    'Grain: one device (user_pseudo_id) and user (user_id) that an event names together: '
    'somebody was signed in on it. first_at and last_at are the times of the first and last such '
    'event. A user has a row for each device, a shared device one for each user. GA4 resolves '
    'both by its reporting identity and has no such table.';

-- Journeys

CREATE FUNCTION analytics.journey_funnel(within_days integer, from_day date DEFAULT '-infinity',
                                         to_day date DEFAULT 'infinity')
RETURNS TABLE (step integer, event_name text, people bigint, rate_of_first numeric,
               rate_of_step_before numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH days AS MATERIALIZED (
        SELECT j.person, j.day, j.steps
        FROM analytics.journeys_in(from_day, to_day + within_days) j
    ), sent AS MATERIALIZED (
        SELECT analytics.steps_sent(array_agg(s.steps), array_agg(s.days)) AS letters
        FROM (SELECT d.steps, count(*) AS days FROM days d GROUP BY 1) s
    ), firsts AS (
        SELECT d.person, min(d.day) AS day FROM days d
        WHERE d.day <= to_day
          AND strpos(d.steps, (SELECT left(l.letters, 1) FROM sent l)) > 0
        GROUP BY d.person
    ), journeys AS (
        SELECT string_agg(d.steps, '' ORDER BY d.day) AS steps
        FROM firsts f JOIN days d ON d.person = f.person
                                 AND d.day BETWEEN f.day AND f.day + within_days
        GROUP BY f.person
    ), paths AS (
        SELECT j.steps, count(*) AS people FROM journeys j GROUP BY 1
    )
    SELECT f.*
    FROM (SELECT array_agg(p.steps) AS paths, array_agg(p.people) AS counts FROM paths p) a, sent l,
         LATERAL analytics.closed_funnel(a.paths, a.counts, l.letters) f;
END $$;
COMMENT ON FUNCTION analytics.journey_funnel IS
    'Grain: one step of the shop. People who took the first step on a day of the range, and this '
    'step after all steps before it, in this order, on that first day or the within_days days '
    'after it, which may lie behind the range: a closed funnel of people over days (GA4 funnel '
    'exploration, closed). The steps of a person are those of the person''s sessions, one '
    'session behind the other in the order in which they begin; a session belongs to the day it '
    'begins. A step is left out if on less than a tenth as many days of a person it occurs as a '
    'later step: the shop does not send it. Example: SELECT * FROM '
    'analytics.journey_funnel(7, ''2026-11-01'', ''2026-11-23'').';

CREATE FUNCTION analytics.abandonment(dimension text, from_day date DEFAULT '-infinity',
                                      to_day date DEFAULT 'infinity')
RETURNS TABLE (value text, cart_sessions bigint, checkout_sessions bigint, abandoned_carts bigint,
               abandoned_checkouts bigint, cart_abandonment_rate numeric,
               checkout_abandonment_rate numeric, cart_adders bigint, checkout_starters bigint,
               cart_abandoners bigint, checkout_abandoners bigint,
               cart_abandonment_user_rate numeric, checkout_abandonment_user_rate numeric)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN
    PERFORM analytics.check_dimension(dimension, 'day', 'platform', 'all');
    RETURN QUERY
    WITH sessions AS (
        SELECT CASE dimension WHEN 'day' THEN s.day END AS day,
               CASE dimension WHEN 'platform' THEN s.platform END AS platform,
               count(*) FILTER (WHERE strpos(s.steps, 'A') > 0) AS carts,
               count(*) FILTER (WHERE strpos(s.steps, 'C') > 0) AS checkouts,
               count(*) FILTER (WHERE strpos(s.steps, 'A') > 0 AND NOT s.is_converted)
                   AS left_carts,
               count(*) FILTER (WHERE strpos(s.steps, 'C') > 0 AND NOT s.is_converted)
                   AS left_checkouts
        FROM analytics.sessions_in(from_day, to_day) s
        WHERE strpos(s.steps, 'A') > 0 OR strpos(s.steps, 'C') > 0 GROUP BY 1, 2
    ), each_person AS (
        SELECT CASE dimension WHEN 'day' THEN p.day END AS day,
               CASE dimension WHEN 'platform' THEN p.platform END AS platform, p.person,
               bit_or(p.done) AS done
        FROM analytics.people_in(from_day, to_day) p WHERE p.done & 112 > 0 GROUP BY 1, 2, 3
    ), people AS (
        SELECT e.day, e.platform, count(*) FILTER (WHERE e.done & 16 > 0) AS adders,
               count(*) FILTER (WHERE e.done & 32 > 0) AS starters,
               count(*) FILTER (WHERE e.done & 80 = 16) AS cart_leavers,
               count(*) FILTER (WHERE e.done & 96 = 32) AS checkout_leavers
        FROM each_person e GROUP BY 1, 2
    ), counts AS (
        SELECT c.day, c.platform, sum(c.carts)::bigint AS carts,
               sum(c.checkouts)::bigint AS checkouts, sum(c.left_carts)::bigint AS left_carts,
               sum(c.left_checkouts)::bigint AS left_checkouts, sum(c.adders)::bigint AS adders,
               sum(c.starters)::bigint AS starters, sum(c.cart_leavers)::bigint AS cart_leavers,
               sum(c.checkout_leavers)::bigint AS checkout_leavers
        FROM (SELECT s.*, 0 AS adders, 0 AS starters, 0 AS cart_leavers, 0 AS checkout_leavers
              FROM sessions s
              UNION ALL
              SELECT p.day, p.platform, 0, 0, 0, 0, p.adders, p.starters, p.cart_leavers,
                     p.checkout_leavers
              FROM people p) c
        GROUP BY 1, 2
    )
    SELECT CASE dimension WHEN 'day' THEN c.day::text
                          WHEN 'platform' THEN coalesce(c.platform, 'no platform') ELSE 'all' END,
           c.carts, c.checkouts, c.left_carts, c.left_checkouts,
           c.left_carts::numeric / nullif(c.carts, 0),
           c.left_checkouts::numeric / nullif(c.checkouts, 0), c.adders, c.starters, c.cart_leavers,
           c.checkout_leavers, c.cart_leavers::numeric / nullif(c.adders, 0),
           c.checkout_leavers::numeric / nullif(c.starters, 0)
    FROM counts c WHERE c.carts + c.checkouts + c.adders + c.starters > 0
    ORDER BY c.day, c.checkouts DESC, 1;
END $$;
COMMENT ON FUNCTION analytics.abandonment IS
    'Grain: one day or platform, as dimension says: day, platform, or all for one row. Abandoned '
    'is a cart or checkout without a purchase. By session: sessions that begin in the range with '
    'an add_to_cart (begin_checkout), and those of them without a purchase: '
    'cart_abandonment_rate = abandoned_carts / cart_sessions, checkout_abandonment_rate = '
    'abandoned_checkouts / checkout_sessions. By people: those with an add_to_cart '
    '(begin_checkout) in the range, on the day or platform, and those of them without a purchase '
    'there: cart_abandonment_user_rate = cart_abandoners / cart_adders, '
    'checkout_abandonment_user_rate = checkout_abandoners / checkout_starters. GA4 has no such '
    'metrics; its checkout journey report shows the opposite, 1 - '
    'checkout_abandonment_user_rate. Example: SELECT * FROM analytics.abandonment(''day'', '
    '''2026-11-01'', ''2026-11-30'').';

CREATE FUNCTION analytics.time_to_purchase(dimension text, from_day date DEFAULT '-infinity',
                                           to_day date DEFAULT 'infinity')
RETURNS TABLE (value text, counted_from text, measured bigint, first_quartile interval,
               median interval, third_quartile interval)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN
    PERFORM analytics.check_dimension(dimension, 'day', 'all');
    RETURN QUERY
    WITH times AS (
        SELECT t.day, t.counted_from, t.order_began - t.began AS took
        FROM analytics.order_times_in(from_day, to_day) t WHERE t.began IS NOT NULL
    ), quartiles AS (
        SELECT CASE dimension WHEN 'day' THEN t.day END AS day, t.counted_from,
               count(*) AS measured,
               percentile_disc(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY t.took) AS took
        FROM times t GROUP BY 1, 2
    )
    SELECT CASE dimension WHEN 'day' THEN q.day::text ELSE 'all' END, q.counted_from, q.measured,
           q.took[1], q.took[2], q.took[3]
    FROM quartiles q ORDER BY q.day, q.counted_from;
END $$;
COMMENT ON FUNCTION analytics.time_to_purchase IS
    'Grain: one beginning, of one day of orders (dimension day) or of all (all). How long it was '
    'until the order began: counted_from first_visit, the person''s first event of all time; '
    'session_start, the start of the person''s session that holds the order and began on its day '
    'or the day before (of several the last, of the last 100 before the order); first_view, for '
    'each line of the order, the person''s first view_item of the product of all time. measured '
    'counts the orders (first_view: lines) for which the beginning is known and not behind the '
    'order. '
    'first_quartile, median and third_quartile: a quarter, half and three quarters of them took '
    'at most this long (percentile_disc). GA4 has no such metric; its user lifetime report is '
    'nearest. Example: SELECT * FROM analytics.time_to_purchase(''all'', ''2026-11-01'', '
    '''2026-11-30'').';

CREATE FUNCTION analytics.viewed_together(from_day date DEFAULT '-infinity',
                                          to_day date DEFAULT 'infinity',
                                          min_sessions bigint DEFAULT 2)
RETURNS TABLE (product_key_a bigint, product_a text, product_key_b bigint, product_b text,
               sessions bigint, sessions_a bigint, sessions_b bigint, confidence_a_to_b numeric,
               lift numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH pairs AS MATERIALIZED (
        SELECT p.product_key_a AS a, p.product_key_b AS b, sum(p.sessions)::bigint AS sessions
        FROM analytics.viewed_pairs_in(from_day, to_day) p GROUP BY 1, 2
    ), singles AS (
        SELECT p.a AS product_key, p.sessions FROM pairs p
        WHERE p.a IS NOT NULL AND p.b IS NULL
    )
    SELECT p.a, analytics.product_label(da), p.b, analytics.product_label(db), p.sessions,
           sa.sessions,
           sb.sessions, p.sessions::numeric / sa.sessions,
           p.sessions::numeric * (SELECT t.sessions FROM pairs t WHERE t.a IS NULL)
               / (sa.sessions * sb.sessions)
    FROM pairs p
    JOIN singles sa ON sa.product_key = p.a
    JOIN singles sb ON sb.product_key = p.b
    LEFT JOIN dim_product da ON da.product_key = p.a
    LEFT JOIN dim_product db ON db.product_key = p.b
    WHERE p.sessions >= min_sessions;
END $$;
COMMENT ON FUNCTION analytics.viewed_together IS
    'Grain: two different products viewed (view_item) in one session that begins in the range; '
    'analytics.product_pairs is the same of orders. sessions = sessions with both; sessions_a '
    'and sessions_b: with the one and the other; confidence_a_to_b = sessions / sessions_a; lift '
    '= sessions x all sessions with a product view / (sessions_a x sessions_b): above 1, they '
    'are viewed together more often than by chance. A session with more than 100 products makes '
    'no pairs: a crawler has no taste. GA4 has no such metric. Example: SELECT * FROM '
    'analytics.viewed_together(''2026-11-01'', ''2026-11-30'', 10) ORDER BY lift DESC.';

-- Promotions

CREATE FUNCTION analytics.promotion_sales(from_day date DEFAULT '-infinity',
                                          to_day date DEFAULT 'infinity')
RETURNS TABLE (event_time timestamptz, fact_hash uuid, day date, order_id text, product_key bigint,
               units numeric, revenue numeric, currency text, reporting_revenue numeric,
               promotion_id text, promotion_name text, is_named boolean)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH lines AS MATERIALIZED (
        SELECT l.*, hashtextextended(l.person, 0) AS person_key
        FROM analytics.order_lines_in(from_day, to_day) l
    ), facts AS MATERIALIZED (
        SELECT f.*
        FROM (SELECT max(l.event_time) AS until FROM lines l) b,
             LATERAL analytics.promotion_facts(analytics.start_of(from_day) - interval '24 hours',
                                               b.until + interval '1 microsecond') f
        WHERE f.event_name <> 'view_promotion'
    ), named AS (
        SELECT f.event_time, f.fact_hash, f.promotion_id, f.promotion_name
        FROM facts f WHERE f.event_name = 'purchase'
    ), moments AS (
        SELECT c.event_time, c.fact_hash, c.person, c.product_key, c.promotion_id,
               c.promotion_name, true AS is_click
        FROM facts c WHERE c.event_name = 'select_promotion'
        UNION ALL
        SELECT l.event_time, l.fact_hash, l.person_key, l.product_key, NULL, NULL, false
        FROM lines l WHERE l.person_key IS NOT NULL AND l.product_key IS NOT NULL
    ), numbered AS (
        SELECT m.*, count(*) FILTER (WHERE m.is_click) OVER (
                   PARTITION BY m.person, m.product_key
                   ORDER BY m.event_time, m.is_click DESC, m.fact_hash DESC) AS click
        FROM moments m
    ), followed AS (
        SELECT n.*, first_value(n.promotion_id) OVER w AS led_by_id,
               first_value(n.promotion_name) OVER w AS led_by_name,
               first_value(n.event_time) OVER w AS clicked_at
        FROM numbered n
        WINDOW w AS (PARTITION BY n.person, n.product_key, n.click
                     ORDER BY n.event_time, n.is_click DESC, n.fact_hash DESC)
    ), led AS (
        SELECT f.event_time, f.fact_hash, f.led_by_id AS promotion_id,
               f.led_by_name AS promotion_name
        FROM followed f
        WHERE NOT f.is_click AND f.click > 0
            AND f.event_time - f.clicked_at <= interval '24 hours'
    )
    SELECT l.event_time, l.fact_hash, l.day, l.order_id, l.product_key, l.units, l.revenue,
           l.currency, l.reporting_revenue,
           CASE WHEN n.fact_hash IS NULL THEN c.promotion_id ELSE n.promotion_id END,
           CASE WHEN n.fact_hash IS NULL THEN c.promotion_name ELSE n.promotion_name END,
           n.fact_hash IS NOT NULL
    FROM lines l
    LEFT JOIN named n ON n.fact_hash = l.fact_hash AND n.event_time = l.event_time
    LEFT JOIN led c ON c.fact_hash = l.fact_hash AND c.event_time = l.event_time
    WHERE n.fact_hash IS NOT NULL OR c.fact_hash IS NOT NULL;
END $$;
COMMENT ON FUNCTION analytics.promotion_sales IS
    'Grain: one line of an order that a promotion led to: the promotion that the purchase''s '
    'item names (is_named), else that of the person''s last select_promotion of the product in '
    'the 24 hours up to it, also of the day before. The idea of list_sales; GA4 attributes '
    'itemRevenue to itemPromotionName likewise. Example: SELECT * FROM '
    'analytics.promotion_sales(''2026-11-01'', ''2026-11-30'').';

CREATE FUNCTION analytics.promotions(from_day date DEFAULT '-infinity',
                                     to_day date DEFAULT 'infinity',
                                     min_views bigint DEFAULT 0)
RETURNS TABLE (promotion_id text, promotion_name text, promotion_views bigint,
               promotion_clicks bigint, viewers bigint, clickers bigint,
               click_through_user_rate numeric, click_through_rate numeric, purchases bigint,
               orders bigint, units numeric, revenue numeric, currency text,
               reporting_revenue numeric) LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    WITH facts AS (
        SELECT f.promotion_id, f.promotion_name, f.person,
               f.event_name = 'view_promotion' AS is_view,
               f.event_name = 'select_promotion' AS is_click
        FROM analytics.promotion_facts(analytics.start_of(from_day),
                                       analytics.start_of(to_day + 1)) f
        WHERE f.day BETWEEN from_day AND to_day AND f.event_name <> 'purchase'
    ), sales AS (
        SELECT coalesce('id:' || s.promotion_id, 'name:' || s.promotion_name, '') AS promotion,
               min(s.promotion_id) AS promotion_id, max(s.promotion_name) AS promotion_name,
               s.currency, count(*) AS purchases,
               count(DISTINCT s.order_id COLLATE "C") AS orders, sum(s.units) AS units,
               coalesce(sum(s.revenue), 0) AS revenue, sum(s.reporting_revenue) AS reporting_revenue
        FROM analytics.promotion_sales(from_day, to_day) s GROUP BY 1, s.currency
    ), counts AS (
        SELECT coalesce('id:' || f.promotion_id, 'name:' || f.promotion_name, '') AS promotion,
               min(f.promotion_id) AS promotion_id, max(f.promotion_name) AS promotion_name,
               count(*) FILTER (WHERE f.is_view) AS views,
               count(*) FILTER (WHERE f.is_click) AS clicks,
               count(DISTINCT f.person) FILTER (WHERE f.is_view) AS viewers,
               count(DISTINCT f.person) FILTER (WHERE f.is_click) AS clickers
        FROM facts f GROUP BY 1
    )
    SELECT coalesce(c.promotion_id, s.promotion_id), coalesce(c.promotion_name, s.promotion_name),
           coalesce(c.views, 0), coalesce(c.clicks, 0), coalesce(c.viewers, 0),
           coalesce(c.clickers, 0), c.clickers::numeric / nullif(c.viewers, 0),
           c.clicks::numeric / nullif(c.views, 0), coalesce(s.purchases, 0), coalesce(s.orders, 0),
           coalesce(s.units, 0), coalesce(s.revenue, 0), s.currency, s.reporting_revenue
    FROM counts c FULL JOIN sales s USING (promotion)
    WHERE coalesce(c.views, 0) >= min_views;
END $$;
COMMENT ON FUNCTION analytics.promotions IS
    'Grain: one promotion, by id, or by name where no id was sent, and currency of what it sold: '
    'all but the sales are those of the promotion, the same on each of its rows. Items of '
    'view_promotion and select_promotion (GA4 promotionViews, promotionClicks); '
    'click_through_rate = promotion_clicks / promotion_views, click_through_user_rate = clickers '
    '/ viewers (GA4 itemPromotionClickThroughRate). viewers and clickers are those of the '
    'promotion. purchases, orders, units and revenue are those of promotion_sales. Example: '
    'SELECT * FROM analytics.promotions(''2026-11-01'', ''2026-11-30'', 100).';
