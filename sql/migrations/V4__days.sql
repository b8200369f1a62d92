-- Days, stored from the hours as the hours are stored from the facts.
--
-- A day is stored with the time that its rows depend on, since a session can begin before it and
-- end after it. While no hour of this time is open, the day is clean, and questions read what is
-- stored. They compute all other days from the hours. Storing an hour marks the days that depend on
-- it, and analytics.refresh stores these again once they are quiet.

CREATE TABLE analytics.days (
    day       date PRIMARY KEY,
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    is_stored boolean NOT NULL,
    noted_at  timestamptz NOT NULL
);
COMMENT ON TABLE analytics.days IS
    'Days of the reporting time zone that are stored or to be stored.';
COMMENT ON COLUMN analytics.days.since IS
    'Beginning of the time that the rows of the day depend on.';
COMMENT ON COLUMN analytics.days.until IS 'End of the time that the rows of the day depend on.';
COMMENT ON COLUMN analytics.days.is_stored IS
    'True if no hour of this time was stored after the day.';
COMMENT ON COLUMN analytics.days.noted_at IS 'When an hour of this time was stored last.';

CREATE FUNCTION analytics.order_days(transaction_keys bigint[]) RETURNS SETOF date
STABLE PARALLEL RESTRICTED ROWS 2
BEGIN ATOMIC
    -- The purchases of each transaction are looked up, not those of all compared (OFFSET 0). Where
    -- purchases of open hours go, the order begins with the first of the others. Of each, distant
    -- purchases count only where there are no others.
    WITH open AS MATERIALIZED (SELECT o.hour FROM analytics.open_hours o)
    SELECT DISTINCT analytics.day_of(b.at)
    -- Without SELECT the planner would compute the argument to guess how many there are.
    FROM unnest((SELECT transaction_keys)) AS k (transaction_key),
         LATERAL (SELECT coalesce(min(p.event_time) FILTER (WHERE NOT p.is_distant),
                                  min(p.event_time)) AS first_at,
                         coalesce(min(p.event_time) FILTER (WHERE NOT p.is_distant AND p.is_closed),
                                  min(p.event_time) FILTER (WHERE p.is_closed)) AS other_at
                  FROM (SELECT s.event_time, s.is_distant,
                               s.hour NOT IN (SELECT o.hour FROM open o) AS is_closed
                        FROM analytics.hourly_purchases s
                        WHERE s.transaction_key = k.transaction_key AND NOT s.is_refund
                        OFFSET 0) p) f,
         LATERAL (VALUES (f.first_at), (f.other_at)) b (at)
    WHERE b.at IS NOT NULL;
END;
COMMENT ON FUNCTION analytics.order_days IS
    'The days on which these transactions begin as far as they are stored, with and without open '
    'hours.';

CREATE FUNCTION analytics.open_transactions() RETURNS bigint[] STABLE PARALLEL RESTRICTED
    RETURN ARRAY(
        SELECT p.transaction_key FROM analytics.open_purchases('-infinity', 'infinity') p
        WHERE p.transaction_key IS NOT NULL AND NOT p.is_refund
        UNION
        SELECT s.transaction_key
        FROM analytics.open_hours o,
             LATERAL (SELECT p.transaction_key FROM analytics.hourly_purchases p
                      WHERE p.hour = o.hour AND p.transaction_key IS NOT NULL AND NOT p.is_refund
                      OFFSET 0) s);
COMMENT ON FUNCTION analytics.open_transactions IS
    'The transactions with purchases in open hours, also those that were deleted since.';

CREATE TABLE analytics.day_order_times (
    day date NOT NULL, counted_from text NOT NULL, person bigint NOT NULL, product_key bigint,
    order_began timestamptz NOT NULL, began timestamptz
);
CREATE INDEX ON analytics.day_order_times (person, product_key);
CREATE INDEX ON analytics.day_order_times (began);
COMMENT ON TABLE analytics.day_order_times IS
    'Beginnings of orders (see analytics.time_to_purchase) by the day on which the order begins: '
    'of each order the first visit and the session, of each line the first view of the product.';

CREATE FUNCTION analytics.earlier_beginnings(persons bigint[], product_keys bigint[],
                                             moments timestamptz[])
RETURNS SETOF date STABLE PARALLEL RESTRICTED ROWS 2
BEGIN ATOMIC
    -- Each is looked up (OFFSET 0), however many orders there are.
    SELECT b.day FROM unnest(persons, product_keys, moments) AS f (person, product_key, at),
         LATERAL (SELECT t.day FROM analytics.day_order_times t
                  WHERE t.person = f.person AND t.product_key IS NULL
                    AND t.counted_from = 'first_visit' AND f.at <= t.order_began
                    AND (t.began <= f.at) IS NOT TRUE OFFSET 0) b
    WHERE f.product_key IS NULL
    UNION
    SELECT b.day FROM unnest(persons, product_keys, moments) AS f (person, product_key, at),
         LATERAL (SELECT t.day FROM analytics.day_order_times t
                  WHERE t.person = f.person AND t.product_key = f.product_key
                    AND f.at <= t.order_began AND (t.began <= f.at) IS NOT TRUE OFFSET 0) b;
END;
COMMENT ON FUNCTION analytics.earlier_beginnings IS
    'The days with orders of these people, and of these products, that were stored with a later '
    'beginning than these moments. Without a product a moment is one of a visit, else of a view.';

CREATE FUNCTION analytics.open_beginnings(to_day date) RETURNS SETOF date
STABLE PARALLEL RESTRICTED ROWS 2
BEGIN ATOMIC
    SELECT b.day FROM analytics.open_hours o,
         LATERAL (SELECT t.day FROM analytics.day_order_times t
                  WHERE t.began >= o.hour AND t.began < o.hour + interval '1 hour' OFFSET 0) b
    UNION
    SELECT e.day
    FROM (SELECT array_agg(m.person) AS persons, array_agg(m.product_key) AS product_keys,
                 array_agg(m.at) AS moments
          -- Hours behind all stored orders, such as those of today, are not computed.
          FROM (SELECT analytics.start_of(max(d.day) + 1) AS until FROM analytics.days d
                WHERE d.is_stored AND d.day <= to_day) k,
               LATERAL (SELECT v.person, NULL::bigint AS product_key, min(v.first_at) AS at
                        FROM analytics.open_visits('-infinity', k.until) v
                        WHERE v.person IS NOT NULL GROUP BY 1
                        UNION ALL
                        SELECT v.person, v.product_key, min(v.event_time)
                        FROM analytics.open_product_views('-infinity', k.until) v
                        WHERE v.person IS NOT NULL GROUP BY 1, 2) m) f,
         LATERAL analytics.earlier_beginnings(f.persons, f.product_keys, f.moments) AS e (day);
END;
COMMENT ON FUNCTION analytics.open_beginnings IS
    'The days up to to_day with an order that begins, or may begin, with something in an open '
    'hour.';

CREATE FUNCTION analytics.stored_days(from_day date, to_day date, of_orders boolean DEFAULT false,
                                      of_beginnings boolean DEFAULT false)
RETURNS SETOF date STABLE PARALLEL RESTRICTED ROWS 30
BEGIN ATOMIC
    SELECT d.day FROM analytics.days d
    WHERE d.is_stored AND d.day BETWEEN from_day AND to_day AND analytics.asked_zone() IS NULL
      AND NOT EXISTS (SELECT FROM analytics.open_hours o
                      WHERE o.hour > d.since - interval '1 hour' AND o.hour < d.until)
      AND (NOT of_orders OR d.day NOT IN (
          SELECT o.day FROM analytics.order_days(analytics.open_transactions()) AS o (day)))
      AND (NOT of_beginnings OR d.day NOT IN (
          SELECT b.day FROM analytics.open_beginnings(to_day) AS b (day)));
END;
COMMENT ON FUNCTION analytics.stored_days IS
    'The clean days of a range. With of_orders, days whose orders go on in an open hour are not; '
    'with of_beginnings, nor are days with an order that begins in an open hour.';

CREATE FUNCTION analytics.unstored_days(from_day date, to_day date, stored date[],
                                        OUT first_day date, OUT last_day date)
RETURNS SETOF record STABLE PARALLEL RESTRICTED ROWS 2
BEGIN ATOMIC
    WITH gaps AS (
        SELECT g.since, coalesce(lead(g.since - 2) OVER (ORDER BY g.since), to_day) AS until
        FROM (SELECT from_day AS since UNION SELECT s.day + 1 FROM unnest(stored) AS s (day)) g
    ), days AS (
        SELECT e.day FROM gaps g, LATERAL (
            SELECT CASE WHEN analytics.asked_zone() IS NULL THEN h.day
                   ELSE analytics.day_of(h.hour) END AS day FROM analytics.hourly_events h
            WHERE h.hour > analytics.start_of(g.since) - interval '1 hour'
                AND h.hour < analytics.start_of(g.until + 1) OFFSET 0) e
        UNION
        SELECT o.day FROM analytics.open_hours h,
               LATERAL (VALUES (analytics.day_of(h.hour)),
                        (analytics.day_of(h.hour + interval '59 minutes'))) o (day)
        UNION
        SELECT d.day FROM analytics.days d
    )
    SELECT min(n.day), max(n.day)
    FROM (SELECT d.day, d.day - (row_number() OVER (ORDER BY d.day))::integer AS island FROM days d
          WHERE d.day BETWEEN from_day AND to_day
            AND d.day NOT IN (SELECT s.day FROM unnest(stored) AS s (day))) n
    GROUP BY n.island ORDER BY 1;
END;
COMMENT ON FUNCTION analytics.unstored_days IS
    'The days of a range but for these stored ones, as ranges of days that follow on each other.';

CREATE FUNCTION analytics.day_kinds() RETURNS text[] IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['sessions', 'people', 'steps', 'products', 'lists', 'order_totals', 'order_items',
                 'journeys', 'viewed_pairs', 'order_times'];
COMMENT ON FUNCTION analytics.day_kinds IS
    'The tables day_* in the order in which they are stored: steps are counted from people; '
    'journeys, viewed_pairs and order_times from sessions and orders. day_reach and '
    'day_reach_counts are kept in a way of their own.';

CREATE TABLE analytics.day_sessions (
    day date NOT NULL, visitor bigint NOT NULL, has_session_id boolean NOT NULL, person bigint,
    platform text, started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL, events bigint NOT NULL, views bigint NOT NULL,
    is_engaged boolean NOT NULL, is_converted boolean NOT NULL,
    is_bounce boolean NOT NULL, steps text, entry_list bigint, first_source text, first_medium text,
    first_campaign text,
    last_source text, last_medium text, last_campaign text, device_category text, country text,
    app_version text
);
CREATE TABLE analytics.day_people (day date NOT NULL, person bigint NOT NULL, platform text,
                                   done integer NOT NULL);
CREATE TABLE analytics.day_steps (
    day date NOT NULL, people bigint NOT NULL, list_viewers bigint NOT NULL,
    viewers bigint NOT NULL, cart_adders bigint NOT NULL,
    checkout_starters bigint NOT NULL, buyers bigint NOT NULL
);
CREATE TABLE analytics.day_products (
    day date NOT NULL, product_key bigint NOT NULL, impressions bigint NOT NULL,
    views bigint NOT NULL, add_to_carts bigint NOT NULL, checkouts bigint NOT NULL
);
CREATE TABLE analytics.day_lists (
    day date NOT NULL, list_key bigint NOT NULL, list_views bigint NOT NULL,
    impressions bigint NOT NULL, known_impressions bigint NOT NULL,
    engaged bigint NOT NULL, clicks bigint NOT NULL, substitutes bigint NOT NULL
);
CREATE TABLE analytics.day_order_totals (
    day date NOT NULL, order_id text NOT NULL, order_began timestamptz NOT NULL, person text,
    platform text,
    purchases bigint NOT NULL, units numeric NOT NULL, revenue numeric, currency text NOT NULL,
    is_by_value boolean NOT NULL, value numeric, tax numeric, shipping numeric, coupon text
);
CREATE TABLE analytics.day_order_items (
    day date NOT NULL, order_id text NOT NULL, order_began timestamptz NOT NULL,
    event_time timestamptz NOT NULL, person text, session_id text, platform text,
    product_key bigint,
    product_variant text, list_key bigint, led_by bigint, item_ordinal integer NOT NULL,
    units numeric,
    revenue numeric, currency text NOT NULL, revenue_in_usd numeric, event_coupon text,
    item_coupon text,
    fact_hash uuid NOT NULL
);
CREATE TABLE analytics.day_journeys (
    day date NOT NULL, person bigint NOT NULL, steps text NOT NULL
);
CREATE TABLE analytics.day_viewed_pairs (
    day date NOT NULL, product_key_a bigint, product_key_b bigint, sessions bigint NOT NULL
);
COMMENT ON TABLE analytics.day_sessions IS
    'Sessions by the day they begin. Like all tables day_*, it holds stored days, by the '
    'function named after it: analytics.day_sessions_of.';
COMMENT ON TABLE analytics.day_people IS 'The steps that each person took on a day, by platform.';
COMMENT ON TABLE analytics.day_steps IS 'People of a day by step.';
COMMENT ON TABLE analytics.day_products IS 'Items of a day by product.';
COMMENT ON TABLE analytics.day_lists IS 'Items of a day by list.';
COMMENT ON TABLE analytics.day_order_totals IS
    'Orders by the day they begin: a row for each order and currency.';
COMMENT ON TABLE analytics.day_order_items IS 'Lines of orders by the day their order begins.';
COMMENT ON TABLE analytics.day_journeys IS
    'Steps of each person in the sessions that begin on a day, one session behind the other.';
COMMENT ON TABLE analytics.day_viewed_pairs IS
    'Sessions of a day with a view of two products (a before b by key), of one (product_key_b is '
    'NULL), and of any (both are NULL).';

-- People by day and activity, with the previous day. So people of a range are counted by reading
-- it, without comparing them.
CREATE TYPE analytics.activity AS ENUM (
    'visited', 'bought', 'list_viewed', 'list_clicked', 'list_engaged', 'product_viewed',
    'product_added', 'product_checked_out', 'product_bought');
CREATE TABLE analytics.day_reach (
    day date NOT NULL, activity analytics.activity NOT NULL, key bigint NOT NULL,
    person bigint NOT NULL, before date,
    PRIMARY KEY (person, key, activity, day)
);
CREATE INDEX ON analytics.day_reach (day, activity, key);
CREATE TABLE analytics.day_reach_counts (
    day date NOT NULL, activity analytics.activity NOT NULL, key bigint NOT NULL, before date,
    people bigint NOT NULL
);
CREATE INDEX ON analytics.day_reach_counts (day, activity, key);
COMMENT ON TABLE analytics.day_reach IS
    'The people who did something on a day: with a list or product (key), or at all (key 0). '
    'Within a range, those whose day before is not in it are all different.';
COMMENT ON TABLE analytics.day_reach_counts IS
    'The rows of day_reach, counted by the day before.';

-- Functions that compute the rows of some days from the hours.

-- Visits of one visitor lie one behind the other, and follow on each other in a session. The limit
-- is the session gap, and 8 hours where a session id binds them: GA4 lets no session pause longer.
CREATE FUNCTION analytics.merged_visits(since timestamptz, until timestamptz,
                                        longer_until timestamptz, longer_visitors bigint[])
RETURNS TABLE (visitor bigint, has_session_id boolean, person bigint, platform text,
               started_at timestamptz, ended_at timestamptz,
               events bigint, views bigint, done integer, steps text, entry_list bigint,
               first_traffic analytics.traffic,
               last_traffic analytics.traffic, device_category text, country text, app_version text)
               STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH visits AS (
        SELECT v.*, lag(v.last_at) OVER (PARTITION BY v.visitor ORDER BY v.first_at, v.last_at)
               AS before
        FROM analytics.visits(since, longer_until) v
        WHERE v.hour < until OR v.visitor IN (SELECT unnest(longer_visitors))
    ), numbered AS (
        SELECT v.*, count(*) FILTER (WHERE v.before IS NULL OR v.first_at - v.before
                   > CASE WHEN v.has_session_id THEN interval '8 hours'
                       ELSE analytics.session_gap() END)
               OVER (PARTITION BY v.visitor ORDER BY v.first_at, v.last_at ROWS UNBOUNDED PRECEDING)
                   AS number
        FROM visits v ORDER BY v.visitor, number, v.first_at, v.last_at
    )
    SELECT n.visitor, bool_or(n.has_session_id), analytics.last_known(n.person),
           (array_agg(n.platform))[1], min(n.first_at), max(n.last_at),
           sum(n.events)::bigint, sum(n.views)::bigint, bit_or(n.done), string_agg(n.steps, ''),
           analytics.first_known(n.entry_list),
           coalesce(analytics.first_known(n.first_traffic)
                        FILTER (WHERE NOT analytics.is_direct(n.first_traffic)),
                    analytics.first_known(n.first_traffic)),
           coalesce(analytics.last_known(n.last_traffic)
                        FILTER (WHERE NOT analytics.is_direct(n.last_traffic)),
                    analytics.last_known(n.last_traffic)),
           analytics.first_known(n.device_category), analytics.first_known(n.country),
           analytics.first_known(n.app_version)
    FROM numbered n GROUP BY n.visitor, n.number;
END;
COMMENT ON FUNCTION analytics.merged_visits IS
    'The sessions of the visits of a time, and those of longer_visitors up to longer_until. One '
    'that reaches beyond the time on either side is cut off.';

CREATE FUNCTION analytics.longer_sessions(until timestamptz, OUT longer_until timestamptz,
                                          OUT visitors bigint[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
DECLARE
    step timestamptz := until;
    going_on bigint[];
    can_go_on_until timestamptz;
BEGIN
    longer_until := until + interval '8 hours';
    -- Nothing is known of the future: today's sessions are whole.
    IF NOT EXISTS (SELECT FROM analytics.hourly_events e
                   WHERE e.hour > until - interval '1 hour')
       AND NOT EXISTS (SELECT FROM analytics.open_hours o,
                              LATERAL (SELECT FROM fact_events f
                                       WHERE f.event_time >= greatest(o.hour, until)
                                           AND f.event_time < o.hour + interval '1 hour' LIMIT 1) f
                       WHERE o.hour > until - interval '1 hour') THEN
        RETURN;
    END IF;
    -- Follows the visitors who don't pause, eight hours at a time.
    LOOP
        SELECT array_agg(DISTINCT s.visitor)
                   FILTER (WHERE s.ended_at >= step + interval '8 hours' - s.pause),
               max(s.ended_at + s.pause) + interval '1 microsecond'
        INTO going_on, can_go_on_until
        FROM (SELECT m.*, CASE WHEN m.has_session_id THEN interval '8 hours'
                               ELSE analytics.session_gap() END AS pause
              FROM analytics.merged_visits(step - interval '8 hours', step + interval '8 hours',
                                           step + interval '8 hours', NULL) m) s
        WHERE s.started_at < step AND s.ended_at >= step
          AND (step = until OR s.visitor = ANY (visitors));
        longer_until := greatest(longer_until, can_go_on_until);
        EXIT WHEN going_on IS NULL;
        visitors := coalesce(visitors, going_on);
        step := step + interval '8 hours';
    END LOOP;
END $$;
COMMENT ON FUNCTION analytics.longer_sessions IS
    'End of the time, and the visitors, whose visits complete the sessions that begin '
    'before a moment.';

CREATE FUNCTION analytics.day_sessions_of(from_day date, to_day date)
RETURNS SETOF analytics.day_sessions STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT analytics.day_of(s.started_at), s.visitor, s.has_session_id, s.person, s.platform,
           s.started_at, s.ended_at, s.events, s.views,
           s.ended_at - s.started_at > interval '10 seconds' OR s.done & 64 > 0 OR s.views >= 2,
           s.done & 64 > 0, s.events = 1, s.steps, s.entry_list,
           (s.first_traffic).source, (s.first_traffic).medium, (s.first_traffic).campaign,
           (s.last_traffic).source, (s.last_traffic).medium,
           (s.last_traffic).campaign, s.device_category, s.country, s.app_version
    FROM analytics.longer_sessions(analytics.start_of(to_day + 1)) l,
         LATERAL analytics.merged_visits(analytics.start_of(from_day) - interval '8 hours',
                                         analytics.start_of(to_day + 1) + interval '8 hours',
                                         l.longer_until, l.visitors) s
    WHERE s.started_at >= analytics.start_of(from_day)
        AND s.started_at < analytics.start_of(to_day + 1);
END;

CREATE FUNCTION analytics.day_people_of(from_day date, to_day date)
RETURNS SETOF analytics.day_people STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT v.day, v.person, v.platform, bit_or(v.done)
    FROM analytics.visits(analytics.start_of(from_day), analytics.start_of(to_day + 1)) v
    WHERE v.day BETWEEN from_day AND to_day AND v.person IS NOT NULL GROUP BY 1, 2, 3;
END;

CREATE FUNCTION analytics.day_products_of(from_day date, to_day date)
RETURNS SETOF analytics.day_products STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT p.day, p.product_key, sum(p.impressions), sum(p.views), sum(p.add_to_carts),
           sum(p.checkouts)
    FROM analytics.products(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
    WHERE p.day BETWEEN from_day AND to_day GROUP BY 1, 2;
END;

CREATE FUNCTION analytics.day_lists_of(from_day date, to_day date) RETURNS SETOF analytics.day_lists
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT l.day, l.list_key, sum(l.list_views), sum(l.impressions),
           coalesce(sum(l.impressions) FILTER (WHERE l.person IS NOT NULL), 0), sum(l.engaged),
           sum(l.clicks), sum(l.substitutes)
    FROM analytics.lists(analytics.start_of(from_day), analytics.start_of(to_day + 1)) l
    WHERE l.day BETWEEN from_day AND to_day GROUP BY 1, 2;
END;

CREATE FUNCTION analytics.order_facts(from_day date, to_day date)
RETURNS SETOF analytics.hourly_purchases STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    -- Purchases of open hours are few, and any transaction can be among them. Each transaction is
    -- looked up among the repeated ones (OFFSET 0), which may be many.
    WITH open AS MATERIALIZED (
        SELECT o.* FROM analytics.open_purchases('-infinity', 'infinity') o WHERE NOT o.is_refund
    ), of_days AS MATERIALIZED (
        SELECT p AS fact, p.transaction_key, p.transaction_key IS NOT NULL AND (
                   p.transaction_key IN (SELECT o.transaction_key FROM open o
                                         WHERE o.transaction_key IS NOT NULL)
                   OR EXISTS (SELECT FROM analytics.repeated_transactions r
                              WHERE r.transaction_key = p.transaction_key OFFSET 0)) AS is_apart
        FROM (SELECT s.* FROM analytics.hourly_purchases s
              WHERE s.hour >= analytics.hour_of(analytics.start_of(from_day))
                AND s.hour < analytics.start_of(to_day + 1) AND NOT s.is_refund
                AND s.hour NOT IN (SELECT h.hour FROM analytics.open_hours h)
              UNION ALL
              SELECT o.* FROM open o) p
        WHERE p.event_time >= analytics.start_of(from_day)
          AND p.event_time < analytics.start_of(to_day + 1)
    ), asked AS MATERIALIZED (
        SELECT DISTINCT d.transaction_key FROM of_days d WHERE d.is_apart
    ), facts AS (
        SELECT s.* FROM asked k, LATERAL (SELECT p.* FROM analytics.hourly_purchases p
                                          WHERE p.transaction_key = k.transaction_key OFFSET 0) s
        WHERE NOT s.is_refund AND s.hour NOT IN (SELECT o.hour FROM analytics.open_hours o)
        UNION ALL
        SELECT o.* FROM open o WHERE o.transaction_key IN (SELECT k.transaction_key FROM asked k)
    )
    SELECT (d.fact).* FROM of_days d WHERE NOT d.is_apart
    UNION ALL
    SELECT f.hour, f.day, f.event_time, f.fact_hash, f.is_refund, f.order_id, f.transaction_key,
           f.item_ordinal, f.person, f.session_id, f.platform,
           f.product_key, f.product_variant, f.list_key, f.units, f.revenue, f.revenue_in_usd,
           f.currency, f.value, f.tax, f.shipping,
           f.event_coupon, f.item_coupon, f.is_distant,
           coalesce(min(f.event_time) FILTER (WHERE NOT f.is_distant) OVER whole,
                    min(f.event_time) OVER whole),
           f.is_distant AND NOT bool_and(f.is_distant) OVER whole
           OR row_number() OVER (PARTITION BY f.transaction_key, f.item_ordinal, f.product_key
                                 ORDER BY f.is_distant, f.event_time, f.fact_hash) > 1
    FROM facts f
    WINDOW whole AS (PARTITION BY f.transaction_key);
END;
COMMENT ON FUNCTION analytics.order_facts IS
    'All purchase facts of the orders that have some on these days, also those of other days. '
    'order_began and is_repeated are those of the whole order: an earlier fact has the same '
    'transaction, product and place, or the fact is distant and others of the order are not.';

CREATE FUNCTION analytics.day_order_totals_of(from_day date, to_day date)
RETURNS SETOF analytics.day_order_totals STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH facts AS MATERIALIZED (
        SELECT o.* FROM analytics.order_facts(from_day, to_day) o
        WHERE NOT o.is_repeated AND o.order_began >= analytics.start_of(from_day)
          AND o.order_began < analytics.start_of(to_day + 1)
    ), orders AS (
        SELECT analytics.day_of(f.order_began) AS day, f.order_id, f.order_began,
               min(f.person COLLATE "C") AS person, min(f.platform COLLATE "C") AS platform,
               count(*) FILTER (WHERE f.item_ordinal > 0) AS purchases,
               coalesce(sum(f.units), 0) AS units, sum(f.revenue) AS revenue, f.currency,
               max(f.item_ordinal) = 0 AS is_by_value,
               min(f.value) FILTER (WHERE f.event_time = f.order_began) AS value,
               min(f.tax) FILTER (WHERE f.event_time = f.order_began) AS tax,
               min(f.shipping) FILTER (WHERE f.event_time = f.order_began) AS shipping,
               min(coalesce(f.event_coupon, f.item_coupon) COLLATE "C") AS coupon
        FROM facts f
        WHERE f.item_ordinal > 0
           OR f.order_id NOT IN (SELECT l.order_id FROM facts l WHERE l.item_ordinal > 0)
        GROUP BY f.order_id, f.order_began, f.currency
    )
    SELECT o.day, o.order_id, o.order_began, o.person, o.platform, o.purchases, o.units,
           CASE WHEN o.is_by_value THEN o.value ELSE o.revenue END, o.currency, o.is_by_value,
           o.value,
           o.tax, o.shipping, o.coupon
    FROM orders o;
END;

CREATE FUNCTION analytics.day_order_items_of(from_day date, to_day date)
RETURNS SETOF analytics.day_order_items STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH lines AS MATERIALIZED (
        SELECT o.*, hashtextextended(o.person, 0) AS person_key
        FROM analytics.order_facts(from_day, to_day) o
        WHERE NOT o.is_repeated AND o.item_ordinal > 0
          AND o.order_began >= analytics.start_of(from_day)
          AND o.order_began < analytics.start_of(to_day + 1)
    ), followed AS MATERIALIZED (
        SELECT l.* FROM lines l
        WHERE l.list_key IS NULL AND l.person_key IS NOT NULL AND l.product_key IS NOT NULL
    ), moments AS (
        SELECT c.event_time, c.fact_hash, c.person, c.product_key, c.list_key
        FROM (SELECT min(f.event_time) - interval '24 hours' AS since,
                     max(f.event_time) + interval '1 microsecond' AS until FROM followed f) r,
             LATERAL analytics.responses(r.since, r.until) c
        WHERE c.is_click
          AND (c.person, c.product_key) IN (SELECT f.person_key, f.product_key FROM followed f)
        UNION ALL
        SELECT f.event_time, f.fact_hash, f.person_key, f.product_key, NULL FROM followed f
    ), numbered AS (
        SELECT m.*, count(m.list_key) OVER (
                   PARTITION BY m.person, m.product_key
                   ORDER BY m.event_time, m.list_key, m.fact_hash) AS click
        FROM moments m
    ), led AS (
        SELECT n.*, first_value(n.list_key) OVER w AS led_by,
               first_value(n.event_time) OVER w AS clicked_at
        FROM numbered n
        WINDOW w AS (PARTITION BY n.person, n.product_key, n.click
                     ORDER BY n.event_time, n.list_key, n.fact_hash)
    ), leads AS (
        SELECT l.event_time, l.fact_hash, l.led_by FROM led l
        WHERE l.list_key IS NULL AND l.click > 0
            AND l.event_time - l.clicked_at <= interval '24 hours'
    )
    SELECT analytics.day_of(l.order_began), l.order_id, l.order_began, l.event_time, l.person,
           l.session_id, l.platform, l.product_key, l.product_variant, l.list_key,
           coalesce(l.list_key, d.led_by), l.item_ordinal, l.units, l.revenue, l.currency,
           l.revenue_in_usd, l.event_coupon, l.item_coupon, l.fact_hash
    FROM lines l LEFT JOIN leads d USING (event_time, fact_hash);
END;

-- Readers: stored days and others.

CREATE FUNCTION analytics.make_day_readers(kind text) RETURNS void LANGUAGE plpgsql AS $make$
BEGIN
    EXECUTE format($template$
COMMENT ON FUNCTION analytics.day_%1$s_of IS
    'analytics.day_%1$s of some days, computed from the hours.';

CREATE FUNCTION analytics.unstored_%1$s(from_day date, to_day date, stored date[])
RETURNS SETOF analytics.day_%1$s
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10000 AS $body$
DECLARE
    unstored record;
BEGIN
    FOR unstored IN SELECT * FROM analytics.unstored_days(from_day, to_day, stored) LOOP
        RETURN QUERY SELECT * FROM analytics.day_%1$s_of(unstored.first_day, unstored.last_day);
    END LOOP;
END $body$;
COMMENT ON FUNCTION analytics.unstored_%1$s IS
    'analytics.day_%1$s_of the days of a range but for these stored ones.';

CREATE FUNCTION analytics.%1$s_in(from_day date, to_day date) RETURNS SETOF analytics.day_%1$s
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH stored AS MATERIALIZED (
        SELECT coalesce(array_agg(d.day), '{}') AS days
        FROM analytics.stored_days(from_day, to_day, %2$L, %3$L) AS d (day)
    )
    SELECT s.* FROM analytics.day_%1$s s
    WHERE s.day BETWEEN from_day AND to_day AND s.day IN (SELECT unnest(d.days) FROM stored d)
    UNION ALL
    SELECT u.*
    FROM analytics.unstored_%1$s(from_day, to_day, (SELECT d.days FROM stored d)) u;
END;
COMMENT ON FUNCTION analytics.%1$s_in IS
    'analytics.day_%1$s of a range, with the days that are not stored.';
CREATE INDEX ON analytics.day_%1$s (day);
$template$, kind, kind LIKE 'order%', kind = 'order_times');
END $make$;

SELECT analytics.make_day_readers(kind) FROM unnest(analytics.day_kinds()) AS kind
WHERE kind NOT IN ('steps', 'journeys', 'viewed_pairs', 'order_times');

-- Those that are computed from others.

CREATE FUNCTION analytics.day_steps_of(from_day date, to_day date) RETURNS SETOF analytics.day_steps
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT p.day, count(*), count(*) FILTER (WHERE p.done & 2 > 0),
           count(*) FILTER (WHERE p.done & 8 > 0), count(*) FILTER (WHERE p.done & 16 > 0),
           count(*) FILTER (WHERE p.done & 32 > 0), count(*) FILTER (WHERE p.done & 64 > 0)
    FROM (SELECT i.day, i.person, bit_or(i.done) AS done
          FROM analytics.people_in(from_day, to_day) i GROUP BY 1, 2) p
    GROUP BY 1;
END;

CREATE FUNCTION analytics.day_viewed_pairs_of(from_day date, to_day date)
RETURNS SETOF analytics.day_viewed_pairs STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH sessions AS MATERIALIZED (
        SELECT s.day, s.visitor, s.started_at, s.ended_at
        FROM analytics.sessions_in(from_day, to_day) s WHERE strpos(s.steps, 'V') > 0
    ), moments AS (
        SELECT s.visitor, s.started_at AS at, s.ended_at, s.day, NULL::bigint AS product_key
        FROM sessions s
        UNION ALL
        SELECT v.visitor, v.event_time, NULL, NULL, v.product_key
        FROM (SELECT max(s.ended_at) AS until FROM sessions s) b,
             LATERAL analytics.product_views(analytics.start_of(from_day),
                                             b.until + interval '1 microsecond') v
        WHERE v.visitor IS NOT NULL
    ), numbered AS (
        SELECT m.visitor, m.at, m.product_key, count(m.ended_at) OVER w AS session,
               max(m.ended_at) OVER w AS until, max(m.day) OVER w AS of_day
        FROM moments m
        WINDOW w AS (PARTITION BY m.visitor ORDER BY m.at, m.ended_at ROWS UNBOUNDED PRECEDING)
    ), viewed AS MATERIALIZED (
        SELECT d.*, count(*) OVER w AS products, row_number() OVER w = 1 AS is_first
        FROM (SELECT DISTINCT n.of_day AS day, n.visitor, n.session, n.product_key
              FROM numbered n WHERE n.product_key IS NOT NULL AND n.at <= n.until) d
        WINDOW w AS (PARTITION BY d.visitor, d.session)
    )
    SELECT a.day, a.product_key, b.product_key, count(*)
    FROM viewed a JOIN viewed b ON b.visitor = a.visitor AND b.session = a.session
                                 AND b.product_key > a.product_key
    WHERE a.products <= 100
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT v.day, v.product_key, NULL, count(*) FROM viewed v GROUP BY 1, 2
    UNION ALL
    SELECT v.day, NULL, NULL, count(*) FROM viewed v WHERE v.is_first GROUP BY 1;
END;

CREATE FUNCTION analytics.day_journeys_of(from_day date, to_day date)
RETURNS SETOF analytics.day_journeys STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.day, s.person, string_agg(s.steps, '' ORDER BY s.started_at, s.visitor)
    FROM analytics.sessions_in(from_day, to_day) s
    WHERE s.person IS NOT NULL AND s.steps IS NOT NULL GROUP BY 1, 2;
END;

CREATE FUNCTION analytics.day_order_times_of(from_day date, to_day date)
RETURNS SETOF analytics.day_order_times STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH lines AS MATERIALIZED (
        SELECT l.day, l.order_began, hashtextextended(l.person, 0) AS person, l.product_key
        FROM analytics.order_items_in(from_day, to_day) l
        WHERE l.person IS NOT NULL AND l.product_key IS NOT NULL
    ), orders AS MATERIALIZED (
        SELECT o.day, o.order_id, o.order_began,
               hashtextextended(min(o.person COLLATE "C"), 0) AS person
        FROM analytics.order_totals_in(from_day, to_day) o WHERE o.person IS NOT NULL
        GROUP BY 1, 2, 3
    ), open_visits AS (
        SELECT v.person, min(v.first_at) AS at
        FROM analytics.open_visits('-infinity', 'infinity') v GROUP BY 1
    ), open_views AS (
        SELECT v.person, v.product_key, min(v.event_time) AS at
        FROM analytics.open_product_views('-infinity', 'infinity') v GROUP BY 1, 2
    ), first_visits AS MATERIALIZED (
        SELECT p.person, least(v.at, (
                   SELECT s.first_at FROM analytics.hourly_visits s
                   WHERE s.person = p.person AND s.hour
                       NOT IN (SELECT o.hour FROM analytics.open_hours o)
                   ORDER BY s.first_at LIMIT 1)) AS at
        FROM (SELECT DISTINCT o.person FROM orders o) p LEFT JOIN open_visits v USING (person)
    ), first_views AS MATERIALIZED (
        SELECT p.person, p.product_key, least(v.at, (
                   SELECT s.event_time FROM analytics.hourly_product_views s
                   WHERE s.person = p.person AND s.product_key = p.product_key
                     AND s.hour NOT IN (SELECT o.hour FROM analytics.open_hours o)
                   ORDER BY s.event_time LIMIT 1)) AS at
        FROM (SELECT DISTINCT l.person, l.product_key FROM lines l) p
        LEFT JOIN open_views v USING (person, product_key)
    ), moments AS (
        SELECT s.person, s.started_at AS at, s.ended_at, s.day, NULL AS order_id
        FROM analytics.sessions_in(from_day - 1, to_day) s
        WHERE s.person IN (SELECT o.person FROM orders o)
        UNION ALL
        SELECT o.person, o.order_began, NULL, o.day, o.order_id FROM orders o
    ), numbered AS MATERIALIZED (
        SELECT m.*, count(m.ended_at) OVER (PARTITION BY m.person ORDER BY m.at, m.ended_at
                                            ROWS UNBOUNDED PRECEDING) AS session
        FROM moments m
    ), asked AS MATERIALIZED (
        -- Each order is compared with 100 sessions at most: those of its hundred and of the one
        -- before.
        SELECT n.*, n.session / 100 - b.before AS hundred
        FROM numbered n, (VALUES (0), (1)) b (before) WHERE n.ended_at IS NULL
    ), sessions AS (
        SELECT o.day, o.person, o.order_id, o.at AS order_began, max(s.at) AS at
        FROM asked o
        JOIN (SELECT n.*, n.session / 100 AS hundred FROM numbered n
              WHERE n.ended_at IS NOT NULL) s USING (person, hundred)
        WHERE s.session <= o.session AND s.session > o.session - 100
          AND s.ended_at >= o.at AND s.day >= o.day - 1
        GROUP BY 1, 2, 3, 4
    )
    SELECT o.day, 'first_visit', o.person, NULL::bigint, o.order_began,
           CASE WHEN v.at <= o.order_began THEN v.at END
    FROM orders o LEFT JOIN first_visits v USING (person)
    UNION ALL
    SELECT l.day, 'first_view', l.person, l.product_key, l.order_began,
           CASE WHEN v.at <= l.order_began THEN v.at END
    FROM lines l LEFT JOIN first_views v USING (person, product_key)
    UNION ALL
    SELECT s.day, 'session_start', s.person, NULL, s.order_began, s.at FROM sessions s;
END;

SELECT analytics.make_day_readers(kind)
FROM unnest(ARRAY['steps', 'journeys', 'viewed_pairs', 'order_times']) AS kind;
DROP FUNCTION analytics.make_day_readers;

COMMENT ON FUNCTION analytics.sessions_in IS
    'Grain: one session that begins in the range, with all of it. Events with a session id are a '
    'session with the others of that id of the device (user_pseudo_id, else user_id), unless 8 '
    'hours lie between. Without one, a session is a device''s events with no gap above '
    'analytics.session_gap. A sign-in doesn''t split it. is_engaged as in GA4: longer than 10 '
    'seconds, or a purchase, or two views or more. is_bounce: it has one event.';

CREATE FUNCTION analytics.activities_of(
    from_day date, to_day date,
    activities analytics.activity[] DEFAULT enum_range(NULL::analytics.activity))
RETURNS TABLE (day date, activity analytics.activity, key bigint, person bigint)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.day, s.activity, s.key, s.person FROM (
        SELECT p.day, unnest(ARRAY['visited'::analytics.activity,
                                   CASE WHEN bit_or(p.done) & 64 > 0
                                       THEN 'bought'::analytics.activity END]) AS activity,
               0::bigint AS key, p.person
        FROM analytics.people_in(from_day, to_day) p
        WHERE activities && '{visited,bought}' GROUP BY p.day, p.person
        UNION ALL
        SELECT l.day, unnest(ARRAY[CASE WHEN sum(l.impressions) > 0
                                       THEN 'list_viewed'::analytics.activity END,
                                   CASE WHEN sum(l.clicks) > 0
                                       THEN 'list_clicked'::analytics.activity END,
                                   CASE WHEN sum(l.engaged) > 0
                                       THEN 'list_engaged'::analytics.activity END]),
               l.list_key, l.person
        FROM analytics.lists(analytics.start_of(from_day), analytics.start_of(to_day + 1)) l
        WHERE l.person IS NOT NULL AND activities && '{list_viewed,list_clicked,list_engaged}'
        GROUP BY l.day, l.list_key, l.person
        UNION ALL
        SELECT p.day, unnest(ARRAY[CASE WHEN sum(p.views) > 0
                                       THEN 'product_viewed'::analytics.activity END,
                                   CASE WHEN sum(p.add_to_carts) > 0
                                       THEN 'product_added'::analytics.activity END,
                                   CASE WHEN sum(p.checkouts) > 0
                                       THEN 'product_checked_out'::analytics.activity END,
                                   CASE WHEN sum(p.purchases) > 0
                                       THEN 'product_bought'::analytics.activity END]),
               p.product_key, p.person
        FROM analytics.products(analytics.start_of(from_day), analytics.start_of(to_day + 1)) p
        WHERE p.person IS NOT NULL
            AND activities && '{product_viewed,product_added,product_checked_out,product_bought}'
        GROUP BY p.day, p.product_key, p.person) s
    WHERE s.day BETWEEN from_day AND to_day AND s.activity = ANY (activities);
END;
COMMENT ON FUNCTION analytics.activities_of IS
    'People by day, activity and key, computed from the hours.';

CREATE FUNCTION analytics.unstored_reach(activities analytics.activity[], from_day date,
                                         to_day date, since date, stored date[], edge date)
RETURNS SETOF analytics.day_reach LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10000 AS $$
BEGIN
    IF edge IS NULL THEN
        RETURN;
    END IF;
    -- Before the edge all days are stored, and say truly which day was before.
    RETURN QUERY
    WITH active AS (
        SELECT r.day, r.activity, r.key, r.person FROM analytics.day_reach r
        WHERE r.day > edge AND r.day <= to_day AND r.activity = ANY (activities)
          AND r.day = ANY (stored)
        UNION ALL
        SELECT a.* FROM analytics.unstored_days(edge, to_day, stored) u,
               LATERAL analytics.activities_of(u.first_day, u.last_day, activities) a
    ), followed AS (
        -- A single day, mostly today, has none before it.
        SELECT a.*, NULL::date AS before FROM active a WHERE edge = to_day
        UNION ALL
        SELECT a.*, lag(a.day) OVER (PARTITION BY a.activity, a.key, a.person ORDER BY a.day)
        FROM active a WHERE edge <> to_day
    )
    SELECT f.day, f.activity, f.key, f.person,
           coalesce(f.before, CASE WHEN since < edge AND analytics.asked_zone() IS NULL THEN
               (SELECT max(r.day + 0) FROM analytics.day_reach r
                WHERE r.person = f.person AND r.key = f.key AND r.activity = f.activity
                  AND r.day + 0 < edge AND r.day + 0 >= since) END)
    FROM followed f WHERE f.day >= from_day;
END $$;
COMMENT ON FUNCTION analytics.unstored_reach IS
    'The part of analytics.reach that begins with the first day that is not stored, the edge.';

CREATE FUNCTION analytics.reach_edge(to_day date, since date, OUT stored date[], OUT edge date)
STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.days, (SELECT min(u.first_day) FROM analytics.unstored_days(since, to_day, s.days) u)
    FROM (SELECT coalesce(array_agg(d.day), '{}') AS days
          FROM analytics.stored_days(since, to_day) AS d (day) OFFSET 0) s;
END;
COMMENT ON FUNCTION analytics.reach_edge IS
    'The stored days from since on, and the first day among them that is not stored.';

CREATE FUNCTION analytics.reach(activities analytics.activity[], from_day date, to_day date,
                                since date)
RETURNS SETOF analytics.day_reach STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH known AS MATERIALIZED (
        SELECT e.* FROM analytics.reach_edge(to_day, since) e
    )
    SELECT r.* FROM analytics.day_reach r
    WHERE r.day BETWEEN from_day AND to_day AND r.activity = ANY (activities)
      AND r.day < coalesce((SELECT k.edge FROM known k), 'infinity')
      AND r.day IN (SELECT unnest(k.stored) FROM known k)
    UNION ALL
    SELECT u.* FROM analytics.unstored_reach(activities, from_day, to_day, since,
                                             (SELECT k.stored FROM known k),
                                             (SELECT k.edge FROM known k)) u;
END;
COMMENT ON FUNCTION analytics.reach IS
    'analytics.day_reach of a range. The day before is true from since on: where it is earlier, '
    'or there is none, the person did not do this from since to the day.';

CREATE FUNCTION analytics.reach_counts(activities analytics.activity[], from_day date, to_day date,
                                       since date)
RETURNS SETOF analytics.day_reach_counts STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH known AS MATERIALIZED (
        SELECT e.* FROM analytics.reach_edge(to_day, since) e
    )
    SELECT c.* FROM analytics.day_reach_counts c
    WHERE c.day BETWEEN from_day AND to_day AND c.activity = ANY (activities)
      AND c.day < coalesce((SELECT k.edge FROM known k), 'infinity')
      AND c.day IN (SELECT unnest(k.stored) FROM known k)
    UNION ALL
    SELECT u.day, u.activity, u.key, u.before, count(*)
    FROM analytics.unstored_reach(activities, from_day, to_day, since,
                                  (SELECT k.stored FROM known k), (SELECT k.edge FROM known k)) u
    GROUP BY 1, 2, 3, 4;
END;
COMMENT ON FUNCTION analytics.reach_counts IS 'The rows of analytics.reach, counted.';
