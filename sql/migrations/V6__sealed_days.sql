-- People don't add up over days, so they are counted from single rows: of fact_events, or of narrower tables that hold what
-- questions about people need of a day, once the day has been sealed. What takes all facts of a day to tell, a median or what
-- follows on an impression, is told when the day is sealed. A day that changes afterwards is read from the facts again, until
-- it is sealed anew. So sealing changes no number, only the time that it takes.

-- The facts of a day, as the sealed tables hold them.
CREATE FUNCTION analytics.product_people_of(of_day date)
RETURNS TABLE (day date, product_key bigint, person text, views integer, add_to_carts integer, checkouts integer, purchases integer)
STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT of_day, f.product_key, coalesce(f.user_id, f.user_pseudo_id),
           (count(*) FILTER (WHERE f.event_name = 'view_item'))::integer, (count(*) FILTER (WHERE f.event_name = 'add_to_cart'))::integer,
           (count(*) FILTER (WHERE f.event_name = 'begin_checkout'))::integer, (count(*) FILTER (WHERE f.event_name = 'purchase'))::integer
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of(of_day) AND f.event_time < analytics.start_of(of_day + 1)
      AND f.event_name IN ('view_item', 'add_to_cart', 'begin_checkout', 'purchase') AND f.product_key IS NOT NULL
    GROUP BY 2, 3;
END;
COMMENT ON FUNCTION analytics.product_people_of IS 'What each person did with each product on a day, and how often; nobody knows who is a row, too.';

CREATE FUNCTION analytics.people_of(of_day date)
RETURNS TABLE (day date, person text, platform text, saw_list boolean, selected boolean, viewed boolean, added boolean, started boolean,
               bought boolean) STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT of_day, coalesce(f.user_id, f.user_pseudo_id), f.platform, bool_or(f.event_name = 'view_item_list'),
           bool_or(f.event_name = 'select_item'), bool_or(f.event_name = 'view_item'), bool_or(f.event_name = 'add_to_cart'),
           bool_or(f.event_name = 'begin_checkout'), bool_or(f.event_name = 'purchase')
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of(of_day) AND f.event_time < analytics.start_of(of_day + 1)
      AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
    GROUP BY 2, 3;
END;
COMMENT ON FUNCTION analytics.people_of IS 'Everybody with an event on a day, by platform, and which steps of the funnel they took.';

CREATE FUNCTION analytics.sessions_of(of_day date)
RETURNS TABLE (day date, person text, session_id text, started_at timestamptz, ended_at timestamptz, platform text,
               views bigint, is_converted boolean) STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT of_day, coalesce(f.user_pseudo_id, f.user_id), f.session_id, min(f.event_time), max(f.event_time), min(f.platform),
           count(*) FILTER (WHERE f.item_ordinal <= 1 AND f.event_name IN ('view_item_list', 'view_item', 'page_view', 'screen_view')),
           bool_or(f.event_name = 'purchase')
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of(of_day) AND f.event_time < analytics.start_of(of_day + 1)
      AND f.session_id IS NOT NULL
    GROUP BY 2, 3;
END;
COMMENT ON FUNCTION analytics.sessions_of IS 'The parts of sessions that lie in a day.';

CREATE FUNCTION analytics.clicks_of(of_day date)
RETURNS TABLE (day date, event_time timestamptz, fact_hash uuid, person text, product_key bigint, list_key bigint,
               list_position integer, is_substitute boolean) STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH led AS (
        SELECT DISTINCT ON (v.event_time, v.fact_hash)
               v.event_time, v.fact_hash, coalesce(v.user_id, v.user_pseudo_id) AS person, v.product_key, i.list_key, i.list_position
        FROM fact_events v
        JOIN fact_events i
          ON i.product_key = v.product_key
         AND coalesce(i.user_id, i.user_pseudo_id) = coalesce(v.user_id, v.user_pseudo_id)
         AND i.event_time <= v.event_time AND i.event_time >= v.event_time - interval '30 minutes'
        WHERE v.event_name = 'view_item'
          AND v.event_time >= analytics.start_of(of_day) AND v.event_time < analytics.start_of(of_day + 1)
          AND i.event_name = 'view_item_list' AND i.list_key IS NOT NULL
          AND i.event_time >= analytics.start_of(of_day) - interval '30 minutes' AND i.event_time < analytics.start_of(of_day + 1)
        ORDER BY v.event_time, v.fact_hash, i.event_time DESC, i.list_key DESC, i.fact_hash DESC
    )
    SELECT of_day, led.event_time, led.fact_hash, led.person, led.product_key, led.list_key, led.list_position, true FROM led
    UNION ALL
    SELECT of_day, s.event_time, s.fact_hash, coalesce(s.user_id, s.user_pseudo_id), s.product_key, s.list_key, s.list_position, false
    FROM fact_events s
    WHERE s.event_name = 'select_item' AND s.list_key IS NOT NULL
      AND s.event_time >= analytics.start_of(of_day) AND s.event_time < analytics.start_of(of_day + 1);
END;
COMMENT ON FUNCTION analytics.clicks_of IS
    'The select_item items of a day, and its view_item items that a list led to within the 30 minutes before. Which of them count says analytics.list_clicks.';

CREATE FUNCTION analytics.list_people_of(of_day date)
RETURNS TABLE (day date, list_key bigint, person text, impressions integer, engaged integer) STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH followed AS (
        SELECT f.product_key, coalesce(f.user_id, f.user_pseudo_id) AS person,
               range_agg(tstzrange(f.event_time - interval '30 minutes', f.event_time, '[]')) AS moments
        FROM fact_events f
        WHERE f.event_time >= analytics.start_of(of_day) AND f.event_time < analytics.start_of(of_day + 1) + interval '30 minutes'
          AND f.event_name IN ('select_item', 'view_item', 'add_to_cart', 'begin_checkout', 'purchase') AND f.product_key IS NOT NULL
        GROUP BY 1, 2
    )
    SELECT of_day, i.list_key, coalesce(i.user_id, i.user_pseudo_id), count(*)::integer,
           (count(*) FILTER (WHERE f.moments @> i.event_time))::integer
    FROM fact_events i
    LEFT JOIN followed f ON f.product_key = i.product_key AND f.person = coalesce(i.user_id, i.user_pseudo_id)
    WHERE i.event_time >= analytics.start_of(of_day) AND i.event_time < analytics.start_of(of_day + 1)
      AND i.event_name = 'view_item_list' AND i.list_key IS NOT NULL AND i.product_key IS NOT NULL
      AND coalesce(i.user_id, i.user_pseudo_id) IS NOT NULL
    GROUP BY 2, 3;
END;
COMMENT ON FUNCTION analytics.list_people_of IS
    'How many products each list showed to each person on a day (impressions), and how many of these the person selected, viewed, added, checked out or bought at that time or within the 30 minutes after (engaged).';

CREATE FUNCTION analytics.lateness_of(of_day date)
RETURNS TABLE (day date, facts bigint, late_facts bigint, early_facts bigint, median_delay interval) STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT of_day, count(*), count(*) FILTER (WHERE f.ingested_at - f.event_time > interval '24 hours'),
           count(*) FILTER (WHERE f.event_time - f.ingested_at > interval '5 minutes'),
           make_interval(secs => percentile_cont(0.5) WITHIN GROUP (ORDER BY date_part('epoch', f.ingested_at - f.event_time)))
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of(of_day) AND f.event_time < analytics.start_of(of_day + 1)
    HAVING count(*) > 0;
END;
COMMENT ON FUNCTION analytics.lateness_of IS 'How late the facts of a day arrived; analytics.lateness says what its columns count.';

CREATE TABLE analytics.sealed_product_people (
    day date NOT NULL, product_key bigint NOT NULL, person text,
    views integer NOT NULL, add_to_carts integer NOT NULL, checkouts integer NOT NULL, purchases integer NOT NULL
);
CREATE TABLE analytics.sealed_people (
    day date NOT NULL, person text NOT NULL, platform text,
    saw_list boolean NOT NULL, selected boolean NOT NULL, viewed boolean NOT NULL, added boolean NOT NULL, started boolean NOT NULL, bought boolean NOT NULL
);
CREATE TABLE analytics.sealed_sessions (
    day date NOT NULL, person text, session_id text NOT NULL, started_at timestamptz NOT NULL, ended_at timestamptz NOT NULL,
    platform text, views bigint NOT NULL, is_converted boolean NOT NULL
);
CREATE TABLE analytics.sealed_clicks (
    day date NOT NULL, event_time timestamptz NOT NULL, fact_hash uuid NOT NULL, person text, product_key bigint,
    list_key bigint NOT NULL, list_position integer, is_substitute boolean NOT NULL
);
CREATE TABLE analytics.sealed_list_people (
    day date NOT NULL, list_key bigint NOT NULL, person text NOT NULL, impressions integer NOT NULL, engaged integer NOT NULL,
    seen_before date, engaged_before date
);
CREATE TABLE analytics.sealed_lateness (
    day date NOT NULL, facts bigint NOT NULL, late_facts bigint NOT NULL, early_facts bigint NOT NULL, median_delay interval NOT NULL
);
CREATE INDEX ON analytics.sealed_product_people (day);
CREATE INDEX ON analytics.sealed_people (day);
CREATE INDEX ON analytics.sealed_sessions (day);
CREATE INDEX ON analytics.sealed_clicks (day);
CREATE INDEX ON analytics.sealed_list_people (day);
CREATE INDEX ON analytics.sealed_lateness (day);
COMMENT ON TABLE analytics.sealed_product_people IS 'analytics.product_people_of the sealed days.';
COMMENT ON TABLE analytics.sealed_people IS 'analytics.people_of the sealed days.';
COMMENT ON TABLE analytics.sealed_sessions IS 'analytics.sessions_of the sealed days.';
COMMENT ON TABLE analytics.sealed_clicks IS 'analytics.clicks_of the sealed days.';
COMMENT ON TABLE analytics.sealed_list_people IS 'analytics.list_people_of the sealed days, and when the list had the person before.';
COMMENT ON TABLE analytics.sealed_lateness IS 'analytics.lateness_of the sealed days.';

CREATE FUNCTION analytics.days(from_day date, to_day date) RETURNS TABLE (day date, is_sealed boolean) ROWS 30 STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH known AS (
        SELECT s.day, s.sealed_after >= s.changed_in AS is_sealed FROM analytics.day_state s WHERE s.day BETWEEN from_day AND to_day
        UNION
        SELECT near.day, false FROM analytics.pending p, unnest(p.touched) AS near (day) WHERE near.day BETWEEN from_day AND to_day
    ), days AS (
        SELECT k.day, bool_and(k.is_sealed) AS is_sealed FROM known k GROUP BY k.day
    ), months AS MATERIALIZED (
        SELECT m.month FROM (SELECT DISTINCT date_trunc('month', d.day::timestamp)::date AS month FROM days d OFFSET 0) m
        WHERE analytics.has_facts_of_month(m.month)
    )
    SELECT d.day, d.is_sealed FROM days d WHERE date_trunc('month', d.day::timestamp)::date IN (SELECT m.month FROM months m);
END;
COMMENT ON FUNCTION analytics.days IS 'The days of a range that have facts, and whether what the sealed tables hold of them is true.';

-- One definition for all: a day after the other from the facts, each planned for itself, and the sealed ones.
DO $make$
DECLARE
    kind record;
BEGIN
    FOR kind IN VALUES
        ('product_people', 'product_people_of', 'sealed_product_people',
         'day date, product_key bigint, person text, views integer, add_to_carts integer, checkouts integer, purchases integer'),
        ('people', 'people_of', 'sealed_people',
         'day date, person text, platform text, saw_list boolean, selected boolean, viewed boolean, added boolean, started boolean, bought boolean'),
        ('session_parts', 'sessions_of', 'sealed_sessions',
         'day date, person text, session_id text, started_at timestamptz, ended_at timestamptz, platform text, views bigint, is_converted boolean'),
        ('possible_clicks', 'clicks_of', 'sealed_clicks',
         'day date, event_time timestamptz, fact_hash uuid, person text, product_key bigint, list_key bigint, list_position integer, is_substitute boolean'),
        ('list_people', 'list_people_of', 'sealed_list_people', 'day date, list_key bigint, person text, impressions integer, engaged integer'),
        ('lateness', 'lateness_of', 'sealed_lateness',
         'day date, facts bigint, late_facts bigint, early_facts bigint, median_delay interval')
    LOOP
        EXECUTE format($template$
CREATE FUNCTION analytics.open_%1$s(from_day date, to_day date) RETURNS TABLE (%4$s)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10000 SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $body$
DECLARE
    open_day date;
BEGIN
    FOR open_day IN SELECT d.day FROM analytics.days(from_day, to_day) d WHERE NOT d.is_sealed LOOP
        RETURN QUERY SELECT * FROM analytics.%2$s(open_day);
    END LOOP;
END $body$;
COMMENT ON FUNCTION analytics.open_%1$s IS 'analytics.%2$s each day of a range that is not sealed.';

CREATE FUNCTION analytics.%1$s(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (%4$s) STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT %5$s FROM analytics.%3$s s
    WHERE s.day = ANY (ARRAY(SELECT d.day FROM analytics.days(from_day, to_day) d WHERE d.is_sealed))
    UNION ALL
    SELECT o.* FROM analytics.open_%1$s(from_day, to_day) o;
END;
COMMENT ON FUNCTION analytics.%1$s IS 'analytics.%2$s each day of a range, from the sealed tables where they hold it.';
$template$, kind.column1, kind.column2, kind.column3, kind.column4, regexp_replace(kind.column4, '(\w+) \w+', 's.\1', 'g'));
    END LOOP;
END $make$;

-- People of a list are counted over days without comparing those of all days, as each row says when the list had its person before.
-- To find that, the rows of a month are looked through: they need no index, which would be large and grow at random places.
CREATE FUNCTION analytics.days_looked_back() RETURNS integer IMMUTABLE PARALLEL SAFE RETURN 31;
COMMENT ON FUNCTION analytics.days_looked_back IS 'How many days before a row of sealed_list_people its seen_before and engaged_before can be.';

CREATE FUNCTION analytics.seal_list_people(of_day date) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET jit = off SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- Rows that are as they were stay, and with them what others say of them. The next rows of the changed ones' lists and people,
    -- some days later, are told. All parts of the statement see the table as it was before.
    WITH changed AS MATERIALIZED (
        SELECT coalesce(n.list_key, o.list_key) AS list_key, coalesce(n.person, o.person) AS person, n.impressions, n.engaged
        FROM analytics.list_people_of(of_day) n
        FULL JOIN (SELECT * FROM analytics.sealed_list_people s WHERE s.day = of_day) o ON o.list_key = n.list_key AND o.person = n.person
        WHERE (n.impressions, n.engaged) IS DISTINCT FROM (o.impressions, o.engaged)
    ), near AS MATERIALIZED (
        SELECT s.list_key, s.person,
               max(s.day) FILTER (WHERE s.day < of_day) AS last_seen, min(s.day) FILTER (WHERE s.day > of_day) AS next_seen,
               max(s.day) FILTER (WHERE s.day < of_day AND s.engaged > 0) AS last_engaged,
               min(s.day) FILTER (WHERE s.day > of_day AND s.engaged > 0) AS next_engaged
        FROM analytics.sealed_list_people s
        WHERE s.day BETWEEN of_day - analytics.days_looked_back() AND of_day + analytics.days_looked_back() AND s.day <> of_day
          -- As a join, it would hash the days around and not these.
          AND (s.list_key, s.person) IN (SELECT c.list_key, c.person FROM changed c)
        GROUP BY 1, 2
    ), removed AS (
        DELETE FROM analytics.sealed_list_people s USING changed c
        WHERE s.day = of_day AND s.list_key = c.list_key AND s.person = c.person
    ), added AS (
        INSERT INTO analytics.sealed_list_people (day, list_key, person, impressions, engaged, seen_before, engaged_before)
        SELECT of_day, c.list_key, c.person, c.impressions, c.engaged, n.last_seen, CASE WHEN c.engaged > 0 THEN n.last_engaged END
        FROM changed c LEFT JOIN near n ON n.list_key = c.list_key AND n.person = c.person
        WHERE c.impressions IS NOT NULL
    )
    UPDATE analytics.sealed_list_people s
    SET seen_before = CASE
            WHEN s.day IS DISTINCT FROM n.next_seen THEN s.seen_before
            WHEN c.impressions IS NOT NULL THEN of_day
            WHEN n.last_seen >= s.day - analytics.days_looked_back() THEN n.last_seen END,
        engaged_before = CASE
            WHEN s.day IS DISTINCT FROM n.next_engaged THEN s.engaged_before
            WHEN c.engaged > 0 THEN of_day
            WHEN n.last_engaged >= s.day - analytics.days_looked_back() THEN n.last_engaged END
    FROM near n JOIN changed c ON c.list_key = n.list_key AND c.person = n.person
    WHERE s.day > of_day AND s.day <= of_day + analytics.days_looked_back()
      AND s.list_key = n.list_key AND s.person = n.person AND s.day IN (n.next_seen, n.next_engaged);
END $$;
COMMENT ON FUNCTION analytics.seal_list_people IS
    'Makes the rows of a day in sealed_list_people those of analytics.list_people_of. It keeps seen_before and engaged_before true of all rows, also those of days that have changed since they were sealed.';

CREATE FUNCTION analytics.seal_day(of_day date) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    sealing bigint;
    has_facts boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'seal_day needs the isolation level read committed: it has to see what was folded while it waited';
    END IF;
    -- "etl seal" in ASCII: one at a time.
    PERFORM pg_advisory_xact_lock(x'65746c207365616c'::bigint);
    -- Somebody has to say so when the day changes: nobody does of facts that were inserted by hand and not counted.
    IF NOT EXISTS (SELECT FROM analytics.day_state s WHERE s.day = of_day) THEN
        RETURN false;
    END IF;
    -- What is folded later than this unseals the day, whether the statements below have seen it or not.
    SELECT s.folds INTO sealing FROM analytics.fold_state s;
    has_facts := analytics.has_facts_of_month(of_day);
    DELETE FROM analytics.sealed_product_people s WHERE s.day = of_day;
    DELETE FROM analytics.sealed_people s WHERE s.day = of_day;
    DELETE FROM analytics.sealed_sessions s WHERE s.day = of_day;
    DELETE FROM analytics.sealed_clicks s WHERE s.day = of_day;
    DELETE FROM analytics.sealed_lateness s WHERE s.day = of_day;
    PERFORM analytics.seal_purchases(of_day, has_facts);
    IF NOT has_facts THEN
        PERFORM analytics.seal_list_people(of_day);  -- removes its rows
        UPDATE analytics.day_state s SET sealed_after = -1 WHERE s.day = of_day;
        RETURN false;
    END IF;
    INSERT INTO analytics.sealed_product_people SELECT * FROM analytics.product_people_of(of_day);
    INSERT INTO analytics.sealed_people SELECT * FROM analytics.people_of(of_day);
    INSERT INTO analytics.sealed_sessions SELECT * FROM analytics.sessions_of(of_day);
    INSERT INTO analytics.sealed_clicks SELECT * FROM analytics.clicks_of(of_day);
    PERFORM analytics.seal_list_people(of_day);
    INSERT INTO analytics.sealed_lateness SELECT * FROM analytics.lateness_of(of_day);
    UPDATE analytics.day_state s SET sealed_after = sealing WHERE s.day = of_day;
    RETURN true;
END $$;
COMMENT ON FUNCTION analytics.seal_day IS
    'Fills the sealed tables for a day. Where the month''s facts are gone, it removes what they hold of the day instead, and returns false; also where no fold has touched the day.';

CREATE PROCEDURE analytics.seal_days() LANGUAGE plpgsql AS $$
DECLARE
    open_day date;
BEGIN
    PERFORM analytics.fold();
    FOR open_day IN
        SELECT s.day FROM analytics.day_state s
        WHERE s.day < (now() AT TIME ZONE 'UTC')::date
          AND CASE WHEN analytics.has_facts_of_month(s.day) THEN s.sealed_after < s.changed_in ELSE s.sealed_after >= 0 END
        ORDER BY s.day  -- a day that is sealed before those after it has no rows of theirs to change
    LOOP
        PERFORM analytics.seal_day(open_day);
        COMMIT;
    END LOOP;
END $$;
COMMENT ON PROCEDURE analytics.seal_days IS
    'Seals the days before today that are not sealed, or have changed since, oldest first, each in a transaction of its own: CALL analytics.seal_days() once an hour, or a night after 00:30 UTC, up to when facts open the day before. Without it every number is the same, only slower.';

REVOKE ALL ON FUNCTION analytics.seal_list_people(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION analytics.seal_day(date) FROM PUBLIC;
REVOKE ALL ON PROCEDURE analytics.seal_days() FROM PUBLIC;
