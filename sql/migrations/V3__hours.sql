-- Hourly aggregates of the facts, kept by one mechanism.
--
-- The facts are the truth. Whoever changes facts notes, in the same transaction, the hours that
-- they touch: rows are only appended to touched_hours, so that no writer waits for another. An hour
-- with a note is open: questions compute it from its facts. analytics.refresh, which sinks call all
-- the time, deletes the notes of an hour and stores what the very same function computes from its
-- facts. A question adds stored hours and open ones, so that every answer is exact at every moment.
--
-- People, visits and orders are stored as they are within one hour, never across hours. Questions
-- merge them.

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
    'Metrics with definitions: each view and function states its formula, its grain and the GA4 '
    'metric that it equals or replaces. Days are those of the reporting time zone, and ranges '
    'include both ends. Rates are fractions, NULL where nothing can be divided by. A person is '
    'user_id, or user_pseudo_id where nobody is signed in.';

-- Settings are functions that analytics.configure replaces: the planner sees constants, and plans
-- anew when they change.
CREATE FUNCTION analytics.asked_zone() RETURNS text
STABLE PARALLEL SAFE RETURN nullif(current_setting('etl.time_zone', true), '');
CREATE FUNCTION analytics.time_zone() RETURNS text
STABLE PARALLEL SAFE RETURN coalesce(nullif(current_setting('etl.time_zone', true), ''), 'UTC');
CREATE FUNCTION analytics.session_gap() RETURNS interval
STABLE PARALLEL SAFE RETURN interval '30 minutes';
CREATE FUNCTION analytics.reporting_currency() RETURNS text STABLE PARALLEL SAFE RETURN NULL::text;
CREATE FUNCTION analytics.search_lists() RETURNS text STABLE PARALLEL SAFE RETURN '^list_s$|search';
COMMENT ON FUNCTION analytics.asked_zone IS
    'The IANA time zone that a session asks for instead, by the setting etl.time_zone: answers '
    'are exact, but computed from hours.';
COMMENT ON FUNCTION analytics.time_zone IS 'Setting: the IANA time zone of days, weeks and months.';
COMMENT ON FUNCTION analytics.session_gap IS
    'Setting: events of a person that are further apart belong to different sessions, where no '
    'session id is sent.';
COMMENT ON FUNCTION analytics.search_lists IS
    'Setting: lists whose id matches this regular expression, in any case, are searches, and '
    'their names are what people typed.';
COMMENT ON FUNCTION analytics.reporting_currency IS
    'Setting: the currency of the columns reporting_revenue; NULL: they are empty. Rates are in '
    'analytics.exchange_rates.';

CREATE FUNCTION analytics.day_of(moment timestamptz) RETURNS date
    STABLE PARALLEL SAFE RETURN (moment AT TIME ZONE analytics.time_zone())::date;
CREATE FUNCTION analytics.start_of(day date) RETURNS timestamptz
    STABLE PARALLEL SAFE RETURN day::timestamp AT TIME ZONE analytics.time_zone();
CREATE FUNCTION analytics.hour_of(moment timestamptz) RETURNS timestamptz
    IMMUTABLE PARALLEL SAFE RETURN date_bin('1 hour', moment, '2000-01-01 00:00:00+00');
-- Keys of 64 bits: half the size of the ids, and several times faster to compare.
CREATE FUNCTION analytics.person_of(user_id text, user_pseudo_id text) RETURNS bigint
    IMMUTABLE PARALLEL SAFE RETURN hashtextextended(coalesce(user_id, user_pseudo_id), 0);
-- A sign-in within a visit doesn't split it, so that the device comes first.
CREATE FUNCTION analytics.visitor_of(user_id text, user_pseudo_id text, session_id text)
RETURNS bigint
    IMMUTABLE PARALLEL SAFE RETURN CASE
        WHEN session_id IS NULL THEN hashtextextended(coalesce(user_pseudo_id, user_id), 0)
        ELSE hashtextextended(session_id,
                              hashtextextended(coalesce(user_pseudo_id, user_id, ''), 1)) END;
CREATE FUNCTION analytics.step_of(event_name text) RETURNS integer
    IMMUTABLE PARALLEL SAFE RETURN CASE event_name
        WHEN 'view_item_list' THEN 1 WHEN 'select_item' THEN 2 WHEN 'view_item' THEN 3
        WHEN 'add_to_cart' THEN 4 WHEN 'begin_checkout' THEN 5 WHEN 'purchase' THEN 6 END;
-- GA4 takes events that are up to 72 hours old:
-- https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events
CREATE FUNCTION analytics.is_distant(event_time timestamptz, sent_at timestamptz) RETURNS boolean
    IMMUTABLE PARALLEL SAFE
    RETURN coalesce(event_time - sent_at NOT BETWEEN interval '-72 hours' AND interval '72 hours',
                    false);
CREATE FUNCTION analytics.position_of(list_position integer) RETURNS integer
    IMMUTABLE PARALLEL SAFE RETURN CASE WHEN list_position >= 0 THEN CASE WHEN list_position > 1000
        THEN 1000 ELSE list_position END END;
COMMENT ON FUNCTION analytics.is_distant IS
    'True if the time of an event is more than 72 hours before or after SQS received it; false if '
    'that time is not known, as of imported history. A distant event has no part in an order that '
    'others tell of: whoever guesses a transaction_id could take the order by a date in the past.';
COMMENT ON FUNCTION analytics.position_of IS
    'A position as the position curve counts it: from 1000 on one, NULL where none or a negative '
    'one was sent.';
COMMENT ON FUNCTION analytics.day_of IS 'The day of a moment in the reporting time zone.';
COMMENT ON FUNCTION analytics.start_of IS 'The moment a day begins in the reporting time zone.';
COMMENT ON FUNCTION analytics.hour_of IS 'The beginning of the hour (UTC) of a moment.';
COMMENT ON FUNCTION analytics.person_of IS
    'Key of a person: a 64-bit hash of user_id, or of user_pseudo_id where nobody is signed in. '
    'NULL where both are missing.';
COMMENT ON FUNCTION analytics.visitor_of IS
    'Key of what a session belongs to: the device (user_pseudo_id, else user_id) and its session '
    'id, if one is sent. NULL where an event has none of them.';
COMMENT ON FUNCTION analytics.step_of IS
    'The step of the shop''s funnel that an event is, from 1 (view_item_list) to 6 (purchase); '
    'NULL for other events.';

-- Aggregates of rows that come in order: array_agg(... ORDER BY ...) would sort each session.
CREATE FUNCTION analytics.former(value anyelement, next anyelement) RETURNS anyelement
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'SELECT value';
CREATE FUNCTION analytics.latter(value anyelement, next anyelement) RETURNS anyelement
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'SELECT next';
CREATE AGGREGATE analytics.first_known(anyelement) (SFUNC = analytics.former, STYPE = anyelement);
CREATE AGGREGATE analytics.last_known(anyelement) (SFUNC = analytics.latter, STYPE = anyelement);
COMMENT ON FUNCTION analytics.former IS 'The first of two values.';
COMMENT ON FUNCTION analytics.latter IS 'The second of two values.';
COMMENT ON AGGREGATE analytics.first_known(anyelement) IS
    'The first value that is not NULL of rows that come in order.';
COMMENT ON AGGREGATE analytics.last_known(anyelement) IS
    'The last value that is not NULL of rows that come in order.';

CREATE TABLE analytics.exchange_rates (
    day      date NOT NULL,
    currency text NOT NULL CHECK (length(currency) <= 20),
    rate     numeric NOT NULL CHECK (rate > 0),
    PRIMARY KEY (currency, day)
);
COMMENT ON TABLE analytics.exchange_rates IS
    'Filled by you. What one unit of a currency is worth in the reporting currency, from a day '
    'on until the next row of the currency. The reporting currency itself needs no row.';
COMMENT ON COLUMN analytics.exchange_rates.day IS 'First day of the rate.';
COMMENT ON COLUMN analytics.exchange_rates.currency IS 'Currency as the events name it.';
COMMENT ON COLUMN analytics.exchange_rates.rate IS
    'Units of the reporting currency for one unit of this currency.';

CREATE FUNCTION analytics.reporting_rate(of_currency text, on_day date) RETURNS numeric
STABLE PARALLEL SAFE RETURN CASE
    WHEN of_currency = analytics.reporting_currency() THEN 1
    WHEN analytics.reporting_currency() IS NOT NULL THEN
        (SELECT r.rate FROM analytics.exchange_rates r
         WHERE r.currency = of_currency AND r.day <= on_day ORDER BY r.day DESC LIMIT 1) END;
COMMENT ON FUNCTION analytics.reporting_rate IS
    'The rate of a currency on a day: that of the last row up to the day. NULL where there is '
    'none.';

-- Which hours are open.

CREATE TABLE analytics.touched_hours (
    -- The hours around those that fact_events takes.
    hour     timestamptz NOT NULL CHECK (
        hour = analytics.hour_of(hour)
        AND hour >= '1969-12-31 00:00:00+00' AND hour < '2300-01-02 00:00:00+00'),
    noted_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE analytics.touched_hours IS
    'Hours whose facts have changed since they were stored. Each transaction that changes facts '
    'appends the hours of all moments within 30 minutes of one of them: what follows on an '
    'impression can be in the next hour.';
COMMENT ON COLUMN analytics.touched_hours.hour IS 'Beginning of the hour (UTC).';
COMMENT ON COLUMN analytics.touched_hours.noted_at IS
    'When the transaction began that changed facts.';

CREATE TABLE analytics.history (
    since timestamptz NOT NULL,
    until timestamptz NOT NULL
);
COMMENT ON TABLE analytics.history IS
    'Times whose facts were dropped or detached by etl_retire_partitions, and whose stored hours '
    'are kept as they are. Facts that come for them later are not counted.';
COMMENT ON COLUMN analytics.history.since IS 'Beginning of the partition that is gone.';
COMMENT ON COLUMN analytics.history.until IS 'Its end.';

CREATE FUNCTION analytics.ranges_of(hours timestamptz[])
RETURNS TABLE (since timestamptz, until timestamptz) STABLE PARALLEL SAFE ROWS 5
BEGIN ATOMIC
    SELECT min(n.hour), max(n.hour) + interval '1 hour'
    FROM (SELECT h.hour, h.hour - row_number() OVER (ORDER BY h.hour) * interval '1 hour' AS island
          FROM (SELECT DISTINCT unnest(hours) AS hour) h) n
    GROUP BY n.island ORDER BY 1;
END;
COMMENT ON FUNCTION analytics.ranges_of IS 'Hours that follow on each other, as ranges.';

CREATE FUNCTION analytics.hour_kinds() RETURNS text[] IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['events', 'visits', 'products', 'responses', 'lists', 'positions', 'purchases',
                 'delays', 'sign_ins', 'product_views', 'promotion_facts'];
COMMENT ON FUNCTION analytics.hour_kinds IS
    'The tables hourly_*, in the order in which they are stored: lists and positions are counted '
    'from responses.';

-- The tables. Rows of an hour are deleted and inserted together; none has a key, for what producers
-- send has no limits.

CREATE TYPE analytics.traffic AS (source text, medium text, campaign text);
COMMENT ON TYPE analytics.traffic IS 'Traffic source, medium and campaign of one event.';
CREATE FUNCTION analytics.is_direct(traffic analytics.traffic) RETURNS boolean
IMMUTABLE PARALLEL SAFE
    RETURN coalesce(lower(traffic.source) IN ('(direct)', 'direct'), false);
COMMENT ON FUNCTION analytics.is_direct IS
    'True if the source is (direct), as GA4 names visits without a referrer.';

CREATE TABLE analytics.hourly_events (
    hour timestamptz NOT NULL, day date NOT NULL, event_name text NOT NULL, platform text,
    events integer NOT NULL, items integer NOT NULL
);
CREATE TABLE analytics.hourly_visits (
    hour timestamptz NOT NULL, day date NOT NULL, visitor bigint NOT NULL,
    has_session_id boolean NOT NULL, person bigint, platform text,
    first_at timestamptz NOT NULL, last_at timestamptz NOT NULL, events integer NOT NULL,
    views integer NOT NULL,
    done integer NOT NULL, steps text, entry_list bigint, first_traffic analytics.traffic,
    last_traffic analytics.traffic, device_category text,
    country text, app_version text
);
CREATE TABLE analytics.hourly_products (
    hour timestamptz NOT NULL, day date NOT NULL, product_key bigint NOT NULL, person bigint,
    impressions integer NOT NULL, views integer NOT NULL,
    add_to_carts integer NOT NULL, checkouts integer NOT NULL, purchases integer NOT NULL
);
CREATE TABLE analytics.hourly_lists (
    hour timestamptz NOT NULL, day date NOT NULL, list_key bigint NOT NULL, person bigint,
    list_views integer NOT NULL,
    impressions integer NOT NULL, engaged integer NOT NULL, clicks integer NOT NULL,
    substitutes integer NOT NULL
);
CREATE TABLE analytics.hourly_positions (
    hour timestamptz NOT NULL, day date NOT NULL, list_key bigint NOT NULL, list_position integer,
    impressions integer NOT NULL, clicks integer NOT NULL
);
CREATE TABLE analytics.hourly_responses (
    hour timestamptz NOT NULL, day date NOT NULL, event_time timestamptz NOT NULL,
    fact_hash uuid NOT NULL, person bigint, product_key bigint,
    list_key bigint NOT NULL, list_position integer, is_click boolean NOT NULL,
    is_substitute boolean NOT NULL
);
CREATE TABLE analytics.hourly_purchases (
    hour timestamptz NOT NULL, day date NOT NULL, event_time timestamptz NOT NULL,
    fact_hash uuid NOT NULL, is_refund boolean NOT NULL,
    order_id text NOT NULL, transaction_key bigint, item_ordinal integer NOT NULL, person text,
    session_id text, platform text,
    product_key bigint, product_variant text, list_key bigint, units numeric, revenue numeric,
    revenue_in_usd numeric, currency text NOT NULL,
    value numeric, tax numeric, shipping numeric, event_coupon text, item_coupon text,
    is_distant boolean NOT NULL, order_began timestamptz NOT NULL, is_repeated boolean NOT NULL
);
CREATE TABLE analytics.hourly_delays (
    hour timestamptz NOT NULL, day date NOT NULL, seconds bigint NOT NULL, facts integer NOT NULL,
    late_facts integer NOT NULL, early_facts integer NOT NULL
);
CREATE TABLE analytics.hourly_sign_ins (
    hour timestamptz NOT NULL, day date NOT NULL, user_pseudo_id text NOT NULL,
    user_id text NOT NULL, first_at timestamptz NOT NULL, last_at timestamptz NOT NULL
);
CREATE TABLE analytics.hourly_product_views (
    hour timestamptz NOT NULL, day date NOT NULL, event_time timestamptz NOT NULL, visitor bigint,
    person bigint, product_key bigint NOT NULL
);
CREATE TABLE analytics.hourly_promotion_facts (
    hour timestamptz NOT NULL, day date NOT NULL, event_time timestamptz NOT NULL,
    fact_hash uuid NOT NULL, event_name text NOT NULL, promotion_id text, promotion_name text,
    person bigint, product_key bigint
);
CREATE TABLE analytics.repeated_transactions (transaction_key bigint NOT NULL PRIMARY KEY);
CREATE INDEX ON analytics.hourly_purchases (transaction_key) WHERE transaction_key IS NOT NULL;
CREATE INDEX ON analytics.hourly_visits (person, first_at);
CREATE INDEX ON analytics.hourly_product_views (person, product_key, event_time);

COMMENT ON TABLE analytics.hourly_events IS
    'Events by hour, name and platform. Like all tables hourly_*, it holds hours that are not '
    'open, by the function named after it: analytics.events_of.';
COMMENT ON TABLE analytics.hourly_visits IS
    'Events of a visitor without a gap above analytics.session_gap within an hour, on one '
    'platform and as one person. analytics.sessions merges visits, across hours and days.';
COMMENT ON TABLE analytics.hourly_products IS
    'Interactions of each person with each product in an hour; impressions are summed over people.';
COMMENT ON TABLE analytics.hourly_lists IS
    'Impressions of each list by person in an hour, and the clicks and engagement that followed.';
COMMENT ON TABLE analytics.hourly_positions IS
    'Impressions and clicks of an hour by position in the list.';
COMMENT ON TABLE analytics.hourly_responses IS
    'Responses to lists in an hour: clicks (analytics.list_clicks says what counts as one), and '
    'engaged impressions.';
COMMENT ON TABLE analytics.hourly_purchases IS
    'The facts of purchases and refunds of an hour. order_began and is_repeated are those within '
    'the hour.';
COMMENT ON TABLE analytics.hourly_delays IS
    'Facts of an hour by their delay, rounded to two digits.';
COMMENT ON TABLE analytics.hourly_sign_ins IS
    'Devices and users that events of an hour name together.';
COMMENT ON TABLE analytics.hourly_product_views IS 'The view_item items of an hour.';
COMMENT ON TABLE analytics.hourly_promotion_facts IS
    'The items of view_promotion and select_promotion of an hour, and the items of its purchases '
    'that name a promotion.';
COMMENT ON TABLE analytics.repeated_transactions IS
    'Transactions with purchases in more than one stored hour, among others perhaps: only for '
    'these has a question to look at other hours than its own.';

DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY analytics.hour_kinds() LOOP
        EXECUTE format('CREATE INDEX ON analytics.hourly_%s (hour)', kind);
    END LOOP;
END $$;

-- Each table has a function that computes it from the facts, named *_of, and a reader, which adds
-- stored hours and open ones.

-- A function with a plan of its own: questions name open hours in many places, and would plan the
-- same each time.
CREATE FUNCTION analytics.find_open_hours() RETURNS TABLE (hour timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 5 AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
    SELECT DISTINCT t.hour FROM analytics.touched_hours t
    WHERE NOT EXISTS (SELECT FROM analytics.history h WHERE t.hour >= h.since AND t.hour < h.until)
    UNION
    -- If a session asks for a zone whose days begin within an hour, this hour has facts of two
    -- days.
    SELECT analytics.hour_of(analytics.start_of(d::date))
    FROM (SELECT analytics.day_of(min(e.hour)) AS first, analytics.day_of(max(e.hour)) + 1 AS last
          FROM analytics.hourly_events e WHERE analytics.asked_zone() IS NOT NULL) r,
          generate_series(r.first::timestamp, r.last::timestamp, '1 day') d
    WHERE analytics.start_of(d::date) <> analytics.hour_of(analytics.start_of(d::date));
END $$;
COMMENT ON FUNCTION analytics.find_open_hours IS 'The rows of analytics.open_hours.';
CREATE VIEW analytics.open_hours AS SELECT o.hour FROM analytics.find_open_hours() o;
COMMENT ON VIEW analytics.open_hours IS
    'Hours that questions compute from the facts, since what is stored of them is out of date.';
COMMENT ON COLUMN analytics.open_hours.hour IS 'Beginning of the hour (UTC).';

CREATE FUNCTION analytics.open_ranges(since timestamptz, until timestamptz)
RETURNS TABLE (since timestamptz, until timestamptz) STABLE PARALLEL SAFE ROWS 5
BEGIN ATOMIC
    SELECT r.since, r.until FROM analytics.ranges_of(ARRAY(SELECT o.hour FROM analytics.open_hours o
        WHERE o.hour >= analytics.hour_of(open_ranges.since) AND o.hour < open_ranges.until)) r;
END;
COMMENT ON FUNCTION analytics.open_ranges IS 'The open hours of a range.';

CREATE FUNCTION analytics.make_readers(kind text) RETURNS void LANGUAGE plpgsql AS $make$
DECLARE
    day text := 'CASE WHEN analytics.asked_zone() IS NULL THEN s.day '
                'ELSE analytics.day_of(s.hour) END';
    columns text := (
        SELECT string_agg(CASE a.attname WHEN 'day' THEN day ELSE format('s.%I', a.attname) END,
                          ', ' ORDER BY a.attnum)
        FROM pg_attribute a
        WHERE a.attrelid = format('analytics.hourly_%s', kind)::regclass AND a.attnum > 0);
BEGIN
    EXECUTE format($template$
COMMENT ON FUNCTION analytics.%1$s_of IS
    'analytics.hourly_%1$s of whole hours, computed from the facts.';

CREATE FUNCTION analytics.open_%1$s(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_%1$s
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10000 AS $body$
DECLARE
    open record;
BEGIN
    FOR open IN SELECT * FROM analytics.open_ranges(since, until) LOOP
        RETURN QUERY SELECT * FROM analytics.%1$s_of(open.since, open.until);
    END LOOP;
END $body$;
COMMENT ON FUNCTION analytics.open_%1$s IS 'analytics.%1$s_of the open hours of a range.';

CREATE FUNCTION analytics.%1$s(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_%1$s STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT %2$s FROM analytics.hourly_%1$s s
    WHERE s.hour >= analytics.hour_of(since) AND s.hour < until AND s.hour
        NOT IN (SELECT o.hour FROM analytics.open_hours o)
    UNION ALL
    SELECT o.* FROM analytics.open_%1$s(since, until) o;
END;
COMMENT ON FUNCTION analytics.%1$s IS
    'analytics.hourly_%1$s of the hours of a range, with those that are open.';
$template$, kind, columns);
END $make$;

-- Functions that compute the rows of a range of whole hours from the facts.

CREATE FUNCTION analytics.distinct_events(since timestamptz, until timestamptz)
RETURNS TABLE (event_time timestamptz, event_name text, event_id text, platform text, person bigint,
               visitor bigint, has_session_id boolean,
               list_key bigint, events bigint, items bigint, traffic analytics.traffic,
               device_category text, country text, app_version text)
STABLE PARALLEL SAFE ROWS 10000
BEGIN ATOMIC
    SELECT f.event_time, f.event_name, f.event_id, min(f.platform COLLATE "C"),
           min(analytics.person_of(f.user_id, f.user_pseudo_id)),
           min(analytics.visitor_of(f.user_id, f.user_pseudo_id, f.session_id)),
           bool_or(f.session_id IS NOT NULL),
           -- The list of the first item that names one.
           min((f.item_ordinal::bigint << 40) + f.list_key) & ((1::bigint << 40) - 1),
           greatest(count(*) FILTER (WHERE f.item_ordinal = 0),
                    count(*) FILTER (WHERE f.item_ordinal = 1), 1),
           count(*) FILTER (WHERE f.item_ordinal > 0),
           CASE WHEN count(coalesce(f.traffic_source, f.traffic_medium, f.traffic_campaign)) > 0
           THEN
               (min(f.traffic_source COLLATE "C"), min(f.traffic_medium COLLATE "C"),
                min(f.traffic_campaign COLLATE "C"))::analytics.traffic END,
           min(f.device_category COLLATE "C"), min(f.country COLLATE "C"),
           min(f.app_version COLLATE "C")
    FROM fact_events f
    WHERE f.event_time >= since AND f.event_time < until
    GROUP BY f.event_time, f.event_name, f.event_id,
             CASE WHEN f.event_id IS NULL THEN analytics.visitor_of(f.user_id, f.user_pseudo_id,
                                                                    f.session_id) END;
END;
COMMENT ON FUNCTION analytics.distinct_events IS
    'The events of the facts. Facts of one time, name and event id (or visitor, where no id is '
    'sent) are one event, or as many as have a first item. So an event that came first without '
    'items and then with some is one, and so is one whose first item was rejected.';

CREATE FUNCTION analytics.events_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_events STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.hour_of(e.event_time), analytics.day_of(e.event_time), e.event_name,
           e.platform COLLATE "C", sum(e.events), sum(e.items)
    FROM analytics.distinct_events(since, until) e GROUP BY 1, 2, 3, 4;
END;

CREATE FUNCTION analytics.visits_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_visits STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH events AS (
        SELECT e.*, analytics.hour_of(e.event_time) AS hour, analytics.day_of(e.event_time) AS day,
               analytics.step_of(e.event_name) AS step
        FROM analytics.distinct_events(since, until) e WHERE e.visitor IS NOT NULL
    ), followed AS (
        SELECT e.*, lag(e.step) OVER w IS DISTINCT FROM e.step AS is_new_step,
               (e.hour, e.day, e.person, e.platform) IS DISTINCT FROM (
                   lag(e.hour) OVER w, lag(e.day) OVER w, lag(e.person) OVER w,
                   lag(e.platform) OVER w)
               OR NOT e.has_session_id
                  AND e.event_time - lag(e.event_time) OVER w > analytics.session_gap() AS begins
        FROM events e
        WINDOW w AS (PARTITION BY e.visitor
                     ORDER BY e.event_time, e.step, e.person, e.platform, e.event_name COLLATE "C",
                     e.event_id COLLATE "C")
    ), numbered AS (
        SELECT f.*, count(*) FILTER (WHERE f.begins) OVER w AS visit
        FROM followed f
        WINDOW w AS (PARTITION BY f.visitor
                     ORDER BY f.event_time, f.step, f.person, f.platform, f.event_name COLLATE "C",
                     f.event_id COLLATE "C")
    )
    SELECT min(n.hour), min(n.day), n.visitor, bool_or(n.has_session_id), min(n.person),
           min(n.platform), min(n.event_time), max(n.event_time),
           sum(n.events),
           coalesce(sum(n.events) FILTER (WHERE n.event_name
                                          IN ('view_item_list', 'view_item', 'page_view',
                                              'screen_view')), 0),
           coalesce(bit_or(1 << n.step), 0),
           string_agg(substr('.LSVACP', 1 + n.step, 1), '' ORDER BY n.event_time, n.step)
               FILTER (WHERE n.is_new_step OR n.begins),
           (array_agg(n.list_key ORDER BY n.event_time)
            FILTER (WHERE n.step = 1 AND n.list_key IS NOT NULL))[1],
           (array_agg(n.traffic ORDER BY analytics.is_direct(n.traffic), n.event_time, n.traffic)
            FILTER (WHERE n.traffic IS DISTINCT FROM NULL))[1],
           (array_agg(n.traffic ORDER BY analytics.is_direct(n.traffic), n.event_time DESC,
                      n.traffic) FILTER (WHERE n.traffic IS DISTINCT FROM NULL))[1],
           (array_agg(n.device_category ORDER BY n.event_time, n.device_category)
            FILTER (WHERE n.device_category IS NOT NULL))[1],
           (array_agg(n.country ORDER BY n.event_time, n.country)
            FILTER (WHERE n.country IS NOT NULL))[1],
           (array_agg(n.app_version ORDER BY n.event_time, n.app_version)
            FILTER (WHERE n.app_version IS NOT NULL))[1]
    FROM numbered n GROUP BY n.visitor, n.visit;
END;

CREATE FUNCTION analytics.products_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_products STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.hour_of(f.event_time), analytics.day_of(f.event_time), f.product_key,
           CASE WHEN f.event_name <> 'view_item_list'
               THEN analytics.person_of(f.user_id, f.user_pseudo_id) END,
           count(*) FILTER (WHERE f.event_name = 'view_item_list'),
           count(*) FILTER (WHERE f.event_name = 'view_item'),
           count(*) FILTER (WHERE f.event_name = 'add_to_cart'),
           count(*) FILTER (WHERE f.event_name = 'begin_checkout'),
           count(*) FILTER (WHERE f.event_name = 'purchase')
    FROM fact_events f
    WHERE f.event_time >= since AND f.event_time < until AND f.product_key IS NOT NULL
      AND f.event_name IN ('view_item_list', 'view_item', 'add_to_cart', 'begin_checkout',
                           'purchase')
    GROUP BY 1, 2, 3, 4;
END;

-- The sort is n log n, and only over those pairs of person and product with more than impressions.
CREATE FUNCTION analytics.followed_products(since timestamptz, until timestamptz)
RETURNS TABLE (event_time timestamptz, fact_hash uuid, event_name text, person bigint,
               product_key bigint, list_key bigint, list_position integer,
               is_engaged boolean, led_by bigint, led_position integer)
               STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    WITH facts AS (
        SELECT f.event_time, f.fact_hash, f.event_name,
               analytics.person_of(f.user_id, f.user_pseudo_id) AS person, f.product_key,
               f.list_key, f.list_position, f.item_ordinal, analytics.step_of(f.event_name) AS step
        FROM fact_events f
        WHERE f.event_time >= since - interval '30 minutes'
            AND f.event_time < until + interval '30 minutes'
          AND f.event_name IN ('view_item_list', 'select_item', 'view_item', 'add_to_cart',
                               'begin_checkout', 'purchase')
          AND f.product_key IS NOT NULL AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
    ), pairs AS (
        SELECT f.*, f.step = 1 AND f.list_key IS NOT NULL AS shows FROM facts f
        WHERE f.step > 1 OR (f.person, f.product_key)
            IN (SELECT a.person, a.product_key FROM facts a WHERE a.step > 1)
    ), followed AS (
        SELECT p.*, count(*) FILTER (WHERE p.shows) OVER before AS showing,
               max(p.event_time) FILTER (WHERE p.step = 2) OVER before AS selected_at,
               min(p.event_time) FILTER (WHERE p.step > 1)
                   OVER (PARTITION BY p.person, p.product_key ORDER BY p.event_time DESC) AS next_at
        FROM pairs p
        WINDOW before AS (PARTITION BY p.person, p.product_key
                          ORDER BY p.event_time, p.step, p.item_ordinal, p.list_key, p.fact_hash)
    ), led AS (
        SELECT f.*, first_value(f.event_time) OVER showing AS shown_at,
               first_value(f.list_key) OVER showing AS shown_by,
               first_value(f.list_position) OVER showing AS shown_position
        FROM followed f
        WINDOW showing AS (PARTITION BY f.person, f.product_key, f.showing
                           ORDER BY f.event_time, f.step, f.item_ordinal, f.list_key, f.fact_hash)
    )
    SELECT l.event_time, l.fact_hash, l.event_name, l.person, l.product_key, l.list_key,
           l.list_position,
           l.next_at - l.event_time <= interval '30 minutes',
           CASE WHEN l.is_led THEN l.shown_by END, CASE WHEN l.is_led THEN l.shown_position END
    FROM (SELECT d.*,
                 d.step = 3 AND d.showing > 0 AND d.event_time - d.shown_at <= interval '30 minutes'
                 AND (d.selected_at IS NULL
                      OR d.event_time - d.selected_at > interval '30 minutes') AS is_led
          FROM led d) l
    WHERE l.event_time >= since AND l.event_time < until;
END;
COMMENT ON FUNCTION analytics.followed_products IS
    'Facts of known people and products of which more than impressions is known within half an '
    'hour around the range. is_engaged: something further follows within 30 minutes. led_by: the '
    'list that showed a viewed product last, in the 30 minutes before, where no select_item was '
    'sent meanwhile.';

CREATE FUNCTION analytics.responses_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_responses STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH followed AS MATERIALIZED (
        SELECT p.* FROM analytics.followed_products(since, until) p
    ), responses AS (
        SELECT f.event_time, f.fact_hash, analytics.person_of(f.user_id, f.user_pseudo_id)
                   AS person, f.product_key, f.list_key, f.list_position, true AS is_click,
               false AS is_substitute
        FROM fact_events f
        WHERE f.event_time >= since AND f.event_time < until AND f.event_name = 'select_item'
          AND f.list_key IS NOT NULL
        UNION ALL
        SELECT p.event_time, p.fact_hash, p.person, p.product_key, p.led_by, p.led_position, true,
               true
        FROM followed p WHERE p.led_by IS NOT NULL
        UNION ALL
        SELECT p.event_time, p.fact_hash, p.person, p.product_key, p.list_key, p.list_position,
               false, false
        FROM followed p
        WHERE p.is_engaged AND p.event_name = 'view_item_list' AND p.list_key IS NOT NULL
    )
    SELECT analytics.hour_of(r.event_time), analytics.day_of(r.event_time), r.event_time,
           r.fact_hash, r.person, r.product_key, r.list_key, analytics.position_of(r.list_position),
           r.is_click, r.is_substitute
    FROM responses r;
END;

SELECT analytics.make_readers('responses');

CREATE FUNCTION analytics.lists_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_lists STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH views AS (
        SELECT f.event_time, f.list_key, analytics.person_of(f.user_id, f.user_pseudo_id) AS person,
               count(*) AS items
        FROM fact_events f
        WHERE f.event_time >= since AND f.event_time < until AND f.event_name = 'view_item_list'
          AND f.list_key IS NOT NULL AND f.item_ordinal > 0
        GROUP BY 1, 2, 3, f.event_id
    ), counts AS (
        SELECT v.event_time, v.list_key, v.person, 1 AS list_views, v.items AS impressions,
               0 AS engaged, 0 AS clicks, 0 AS substitutes
        FROM views v
        UNION ALL
        SELECT r.event_time, r.list_key, r.person, 0, 0, (NOT r.is_click)::integer,
               r.is_click::integer, r.is_substitute::integer
        FROM analytics.responses(since, until) r
    )
    SELECT analytics.hour_of(c.event_time), analytics.day_of(c.event_time), c.list_key, c.person,
           sum(c.list_views), sum(c.impressions), sum(c.engaged), sum(c.clicks), sum(c.substitutes)
    FROM counts c GROUP BY 1, 2, 3, 4;
END;

CREATE FUNCTION analytics.positions_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_positions STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH counts AS (
        SELECT analytics.hour_of(f.event_time) AS hour, analytics.day_of(f.event_time) AS day,
               f.list_key,
               analytics.position_of(f.list_position) AS list_position, count(*) AS impressions,
               0 AS clicks
        FROM fact_events f
        WHERE f.event_time >= since AND f.event_time < until AND f.event_name = 'view_item_list'
            AND f.list_key IS NOT NULL AND f.item_ordinal > 0
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT r.hour, r.day, r.list_key, r.list_position, 0, 1
        FROM analytics.responses(since, until) r WHERE r.is_click
    )
    SELECT c.hour, c.day, c.list_key, c.list_position, sum(c.impressions), sum(c.clicks)::bigint
    FROM counts c GROUP BY 1, 2, 3, 4;
END;

CREATE FUNCTION analytics.purchases_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_purchases STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.hour_of(f.event_time), analytics.day_of(f.event_time), f.event_time,
           f.fact_hash, f.event_name = 'refund',
           coalesce(f.transaction_id, f.event_id,
                    md5(concat_ws(' ', date_part('epoch', f.event_time), f.user_id,
                                  f.user_pseudo_id, f.platform))),
           hashtextextended(f.transaction_id, 0), f.item_ordinal,
           coalesce(f.user_id, f.user_pseudo_id), f.session_id, f.platform,
           f.product_key, f.product_variant, f.list_key,
           CASE WHEN f.item_ordinal > 0 THEN coalesce(f.quantity, 1) END,
           CASE WHEN f.item_ordinal > 0 THEN
               coalesce(CASE f.event_name WHEN 'refund' THEN f.item_refund ELSE f.item_revenue END,
                        f.price * coalesce(f.quantity, 1)) END,
           CASE WHEN f.item_ordinal > 0 THEN
               coalesce(CASE f.event_name WHEN 'refund' THEN f.item_refund_in_usd
                                          ELSE f.item_revenue_in_usd END,
                        f.price_in_usd * coalesce(f.quantity, 1)) END,
           coalesce(f.currency, 'no currency'), f.value, f.tax, f.shipping, f.event_coupon,
           f.item_coupon, f.is_distant,
           CASE WHEN f.transaction_id IS NULL THEN f.event_time
                ELSE coalesce(min(f.event_time) FILTER (WHERE NOT f.is_distant) OVER whole,
                              min(f.event_time) OVER whole) END,
           f.transaction_id IS NOT NULL
           AND (f.is_distant AND NOT bool_and(f.is_distant) OVER whole
                OR row_number() OVER (
                    PARTITION BY f.event_name, analytics.hour_of(f.event_time), f.transaction_id,
                    f.item_ordinal, f.product_key
                    ORDER BY f.is_distant, f.event_time, f.fact_hash) > 1)
    -- Facts of one event are distant only together: a message that is sent again later may bring
    -- items of which the first one had none that could be read.
    FROM (SELECT p.*, bool_and(analytics.is_distant(p.event_time, p.sent_at))
                      OVER (PARTITION BY p.event_name, p.event_time, p.event_id, p.transaction_id)
                      AS is_distant
          FROM fact_events p
          WHERE p.event_time >= since AND p.event_time < until
            AND p.event_name IN ('purchase', 'refund')) f
    WINDOW whole AS (PARTITION BY f.event_name, analytics.hour_of(f.event_time), f.transaction_id);
END;

CREATE FUNCTION analytics.delays_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_delays STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Few are left to round once those of the same second are added up.
    WITH delays AS (
        SELECT analytics.hour_of(f.event_time) AS hour, analytics.day_of(f.event_time) AS day,
               floor(date_part('epoch', f.ingested_at - f.event_time))::bigint AS seconds,
               count(*) AS facts,
               count(*) FILTER (WHERE f.ingested_at - f.event_time > interval '24 hours')
                   AS late_facts
        FROM fact_events f WHERE f.event_time >= since AND f.event_time < until GROUP BY 1, 2, 3
    )
    SELECT d.hour, d.day, CASE WHEN abs(d.seconds) < 100 THEN d.seconds
           ELSE trunc(d.seconds, 2 - length(abs(d.seconds)::text))::bigint END,
           sum(d.facts), sum(d.late_facts),
           coalesce(sum(d.facts) FILTER (WHERE d.seconds < -300), 0)
    FROM delays d GROUP BY 1, 2, 3;
END;

CREATE FUNCTION analytics.sign_ins_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_sign_ins STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.hour_of(f.event_time), analytics.day_of(f.event_time), f.user_pseudo_id,
           f.user_id, min(f.event_time), max(f.event_time)
    FROM fact_events f
    WHERE f.event_time >= since AND f.event_time < until
      AND f.user_id IS NOT NULL AND f.user_pseudo_id IS NOT NULL
    GROUP BY 1, 2, 3, 4;
END;

CREATE FUNCTION analytics.product_views_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_product_views STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.hour_of(f.event_time), analytics.day_of(f.event_time), f.event_time,
           analytics.visitor_of(f.user_id, f.user_pseudo_id, f.session_id),
           analytics.person_of(f.user_id, f.user_pseudo_id), f.product_key
    FROM fact_events f
    WHERE f.event_time >= since AND f.event_time < until
      AND f.event_name = 'view_item' AND f.product_key IS NOT NULL;
END;

CREATE FUNCTION analytics.promotion_facts_of(since timestamptz, until timestamptz)
RETURNS SETOF analytics.hourly_promotion_facts STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT analytics.hour_of(f.event_time), analytics.day_of(f.event_time), f.event_time,
           f.fact_hash, f.event_name, f.promotion_id, f.promotion_name,
           analytics.person_of(f.user_id, f.user_pseudo_id), f.product_key
    FROM fact_events f
    WHERE f.event_time >= since AND f.event_time < until
      AND (f.event_name IN ('view_promotion', 'select_promotion')
           OR f.event_name = 'purchase' AND f.item_ordinal > 0
              AND coalesce(f.promotion_id, f.promotion_name) IS NOT NULL);
END;

SELECT analytics.make_readers(kind) FROM unnest(analytics.hour_kinds()) AS kind
WHERE kind <> 'responses';
DROP FUNCTION analytics.make_readers;
