-- The mechanism that keeps hours and days: notes of touched hours, storing, settings, checks.

CREATE FUNCTION analytics.hours_around(VARIADIC moments timestamptz[]) RETURNS timestamptz[]
IMMUTABLE PARALLEL SAFE RETURN ARRAY(
    SELECT DISTINCT analytics.hour_of(m + a)
    FROM unnest(moments) m, unnest(ARRAY[interval '-30 minutes', '0', '30 minutes']) a ORDER BY 1);
COMMENT ON FUNCTION analytics.hours_around IS
    'The hours of all moments within 30 minutes of these.';

CREATE FUNCTION analytics.note_touched() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    hours timestamptz[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        hours := analytics.hours_around(NEW.event_time);
    ELSIF TG_OP = 'DELETE' THEN
        hours := analytics.hours_around(OLD.event_time);
    ELSE
        hours := analytics.hours_around(OLD.event_time, NEW.event_time);
    END IF;
    -- Rows of one statement lie together: one note for all of an hour. The setting ends with the
    -- (sub)transaction.
    IF current_setting('etl.noted', true) IS DISTINCT FROM hours::text THEN
        INSERT INTO analytics.touched_hours (hour) SELECT unnest(hours);
        PERFORM set_config('etl.noted', hours::text, true);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.note_touched IS
    'Notes the hours of facts that are changed, or inserted by others than the sink, which notes '
    'them itself.';

CREATE FUNCTION analytics.forget_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    EXECUTE (SELECT 'TRUNCATE ' || string_agg('analytics.' || t.name, ', ')
             FROM (SELECT 'hourly_' || h FROM unnest(analytics.hour_kinds()) AS h
                   UNION ALL
                   SELECT 'day_' || d
                   FROM unnest(analytics.day_kinds() || ARRAY['reach', 'reach_counts']) AS d
                   UNION ALL
                   SELECT unnest(ARRAY['repeated_transactions', 'touched_hours',
                                       'refresh_failures', 'history', 'days'])) AS t (name));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.forget_all IS 'Empties the tables with the facts.';

-- For each row: transition tables would keep COPY from inserting many rows at once.
CREATE TRIGGER note_inserted AFTER INSERT ON fact_events FOR EACH ROW
    WHEN (current_setting('etl.notes_hours', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION analytics.note_touched();
CREATE TRIGGER note_changed AFTER UPDATE OR DELETE ON fact_events
    FOR EACH ROW EXECUTE FUNCTION analytics.note_touched();
CREATE TRIGGER forget_all AFTER TRUNCATE ON fact_events
    FOR EACH STATEMENT EXECUTE FUNCTION analytics.forget_all();

CREATE FUNCTION analytics.transactions_in(since timestamptz, until timestamptz) RETURNS bigint[]
STABLE
    RETURN ARRAY(SELECT DISTINCT p.transaction_key FROM analytics.hourly_purchases p
                 WHERE p.hour >= since AND p.hour < until AND p.transaction_key IS NOT NULL
                   AND NOT p.is_refund);
COMMENT ON FUNCTION analytics.transactions_in IS 'The stored transactions of some hours.';

CREATE FUNCTION analytics.moved_beginnings(since timestamptz, until timestamptz)
RETURNS SETOF date STABLE ROWS 2
BEGIN ATOMIC
    WITH firsts AS MATERIALIZED (
        SELECT v.person, NULL::bigint AS product_key, min(v.first_at) AS at
        FROM analytics.hourly_visits v
        WHERE v.hour >= since AND v.hour < until AND v.person IS NOT NULL GROUP BY 1
        UNION ALL
        SELECT v.person, v.product_key, min(v.event_time) FROM analytics.hourly_product_views v
        WHERE v.hour >= since AND v.hour < until AND v.person IS NOT NULL GROUP BY 1, 2
    )
    SELECT e.day
    FROM (SELECT array_agg(f.person) AS persons, array_agg(f.product_key) AS product_keys,
                 array_agg(f.at) AS moments FROM firsts f) a,
         LATERAL analytics.earlier_beginnings(a.persons, a.product_keys, a.moments) AS e (day)
    UNION
    SELECT t.day FROM analytics.day_order_times t
    WHERE t.began >= since AND t.began < until AND t.counted_from <> 'session_start'
      AND (t.person, coalesce(t.product_key, 0), t.began)
          NOT IN (SELECT f.person, coalesce(f.product_key, 0), f.at FROM firsts f);
END;
COMMENT ON FUNCTION analytics.moved_beginnings IS
    'The days with orders whose stored beginning is no longer true since these hours were stored.';

CREATE FUNCTION analytics.store_hours(hours timestamptz[]) RETURNS void
-- The server doesn't know how much has just been stored, and would compare each row with each.
LANGUAGE plpgsql SET enable_nestloop = off SET plan_cache_mode = force_custom_plan SET jit = off
    SET work_mem = '64MB' AS $$
DECLARE
    part record;
    kind text;
    transactions bigint[];
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    -- First the notes, then the facts, each statement with a newer snapshot: a fact that this does
    -- not see leaves its note.
    DELETE FROM analytics.touched_hours t WHERE t.hour = ANY (hours);
    DELETE FROM analytics.refresh_failures f WHERE f.hour = ANY (hours);
    FOR part IN
        SELECT r.* FROM analytics.ranges_of(ARRAY(SELECT h.hour FROM unnest(hours) AS h (hour)
            WHERE NOT EXISTS (SELECT FROM analytics.history k
                              WHERE h.hour >= k.since AND h.hour < k.until))) r
    LOOP
        transactions := analytics.transactions_in(part.since, part.until);
        FOREACH kind IN ARRAY analytics.hour_kinds() LOOP
            EXECUTE format('DELETE FROM analytics.hourly_%s WHERE hour >= $1 AND hour < $2', kind)
                USING part.since, part.until;
            EXECUTE format('INSERT INTO analytics.hourly_%1$s '
                           'SELECT * FROM analytics.%1$s_of($1, $2)', kind)
                USING part.since, part.until;
        END LOOP;
        INSERT INTO analytics.repeated_transactions
        SELECT p.transaction_key
        FROM (SELECT DISTINCT transaction_key, hour FROM analytics.hourly_purchases
              WHERE hour >= part.since AND hour < part.until AND transaction_key IS NOT NULL) p
        -- OFFSET 0: each is looked up; the server doesn't know yet how much has been stored.
        WHERE EXISTS (SELECT FROM analytics.hourly_purchases o
                      WHERE o.transaction_key = p.transaction_key AND o.hour <> p.hour OFFSET 0)
        ON CONFLICT DO NOTHING;
        transactions := transactions || analytics.transactions_in(part.since, part.until);
        UPDATE analytics.days d SET is_stored = false, noted_at = clock_timestamp()
        WHERE d.since < part.until AND d.until > part.since OR d.day IN (
            -- Orders that began, or begin now, in another hour.
            SELECT analytics.day_of(f.first_at)
            FROM analytics.repeated_transactions r,
                 LATERAL (SELECT coalesce(min(p.event_time) FILTER (WHERE NOT p.is_distant),
                                          min(p.event_time)) AS first_at
                          FROM analytics.hourly_purchases p
                          WHERE p.transaction_key = r.transaction_key AND NOT p.is_refund
                            AND (p.hour < part.since OR p.hour >= part.until) OFFSET 0) f
            WHERE r.transaction_key = ANY (transactions) AND f.first_at IS NOT NULL)
           OR d.day IN (SELECT b.day
                        FROM analytics.moved_beginnings(part.since, part.until) AS b (day));
        INSERT INTO analytics.days
        SELECT s.day, analytics.start_of(s.day - 1) - interval '8 hours',
               analytics.start_of(s.day + 1) + interval '8 hours', false, clock_timestamp()
        FROM (SELECT day::date FROM generate_series(
                  analytics.day_of(part.since)::timestamp,
                  analytics.day_of(part.until - interval '1 microsecond'), '1 day') AS day) s
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$;
COMMENT ON FUNCTION analytics.store_hours IS
    'Stores these hours as their facts say, and closes them. The caller holds the lock that '
    'analytics.refresh takes.';

CREATE FUNCTION analytics.store_reach(of_day date) RETURNS void
-- Few rows of a day change: each is looked up, however large the table is. day + 0 keeps a server
-- that has no statistics of the table yet from looking them up by the index on day.
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
    SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    has_later boolean := EXISTS (SELECT FROM analytics.days d WHERE d.day > of_day);
    changed analytics.day_reach_counts[];
BEGIN
    WITH active AS MATERIALIZED (
        SELECT a.activity, a.key, a.person FROM analytics.activities_of(of_day, of_day) a
    ), stored AS MATERIALIZED (
        SELECT r.activity, r.key, r.person, r.before, r.ctid AS place FROM analytics.day_reach r
        WHERE r.day = of_day
    ), gone AS (
        DELETE FROM analytics.day_reach r
        USING (SELECT s.activity, s.key, s.person FROM stored s EXCEPT SELECT a.* FROM active a) s
        WHERE r.person = s.person AND r.key = s.key AND r.activity = s.activity
          AND r.day = of_day
        RETURNING r.activity, r.key, r.person, r.before
    ), come AS (
        INSERT INTO analytics.day_reach
        SELECT of_day, a.activity, a.key, a.person, (
                   SELECT max(r.day + 0) FROM analytics.day_reach r
                   WHERE r.person = a.person AND r.key = a.key AND r.activity = a.activity
                     AND r.day + 0 < of_day)
        FROM (SELECT a.* FROM active a
              EXCEPT SELECT s.activity, s.key, s.person FROM stored s) a
        ORDER BY a.person, a.key, a.activity
        RETURNING activity, key, person, day
    ), followed AS MATERIALIZED (
        SELECT c.before, CASE WHEN has_later THEN
                   (SELECT r.ctid FROM analytics.day_reach r
                    WHERE r.person = c.person AND r.key = c.key AND r.activity = c.activity
                      AND r.day + 0 > of_day ORDER BY r.day + 0 LIMIT 1) END AS next
        FROM (SELECT g.* FROM gone g UNION ALL SELECT c.* FROM come c) c
        UNION ALL
        SELECT k.is_before, k.place
        FROM (SELECT s.*, (SELECT max(r.day + 0) FROM analytics.day_reach r
                           WHERE r.person = s.person AND r.key = s.key AND r.activity = s.activity
                               AND r.day + 0 < of_day) AS is_before FROM stored s) k
        WHERE k.is_before IS DISTINCT FROM k.before
    ), moved AS (
        UPDATE analytics.day_reach r SET before = f.before FROM followed f WHERE r.ctid = f.next
        RETURNING r.day, r.activity, r.key
    )
    SELECT array_agg(DISTINCT (m.day, m.activity, m.key, NULL, 0)::analytics.day_reach_counts)
    INTO changed FROM moved m WHERE m.day <> of_day;
    -- What has been moved is counted anew, and the whole day.
    DELETE FROM analytics.day_reach_counts c WHERE c.day = of_day;
    INSERT INTO analytics.day_reach_counts
    SELECT r.day, r.activity, r.key, r.before, count(*) FROM analytics.day_reach r
    WHERE r.day = of_day GROUP BY 1, 2, 3, 4;
    DELETE FROM analytics.day_reach_counts c USING unnest(changed) m
    WHERE c.day = m.day AND c.activity = m.activity AND c.key = m.key;
    INSERT INTO analytics.day_reach_counts
    SELECT r.day, r.activity, r.key, r.before, count(*)
    FROM unnest(changed) m
    JOIN analytics.day_reach r ON r.day = m.day AND r.activity = m.activity AND r.key = m.key
    GROUP BY 1, 2, 3, 4;
END $$;
COMMENT ON FUNCTION analytics.store_reach IS
    'Stores analytics.day_reach of a day: inserts and deletes what has changed, mends the day '
    'before of its rows and of those that follow, and counts the rows.';

CREATE FUNCTION analytics.store_day(of_day date) RETURNS void
-- The server doesn't know how much has just been stored, and would compare each row with each.
LANGUAGE plpgsql SET enable_nestloop = off SET plan_cache_mode = force_custom_plan SET jit = off
    SET work_mem = '64MB' AS $$
DECLARE
    kind text;
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    -- What is computed from another table of the day reads what has just been stored of it.
    UPDATE analytics.days d SET is_stored = true WHERE d.day = of_day;
    DELETE FROM analytics.refresh_failures f WHERE f.day = of_day;
    FOREACH kind IN ARRAY analytics.day_kinds() LOOP
        EXECUTE format('DELETE FROM analytics.day_%s WHERE day = $1', kind) USING of_day;
        EXECUTE format('INSERT INTO analytics.day_%1$s SELECT * FROM analytics.day_%1$s_of($1, $1)',
                       kind) USING of_day;
    END LOOP;
    PERFORM analytics.store_reach(of_day);
    UPDATE analytics.days d
    SET since = analytics.start_of(of_day - 1) - interval '8 hours',
        -- Clicks before the last line of its orders count as well.
        until = greatest(l.longer_until, (SELECT max(i.event_time) + interval '1 microsecond'
                                          FROM analytics.day_order_items i WHERE i.day = of_day))
    FROM analytics.longer_sessions(analytics.start_of(of_day + 1)) l WHERE d.day = of_day;
END $$;
COMMENT ON FUNCTION analytics.store_day IS
    'Stores a day as its hours say. The caller holds the lock that analytics.refresh takes.';

CREATE TABLE analytics.refresh_failures (
    hour      timestamptz UNIQUE,
    day       date UNIQUE,
    failures  integer NOT NULL,
    error     text NOT NULL,
    since     timestamptz NOT NULL,
    retry_at  timestamptz NOT NULL,
    CHECK ((hour IS NULL) <> (day IS NULL))
);
COMMENT ON TABLE analytics.refresh_failures IS
    'Hours and days that analytics.refresh could not store. It sets them aside, goes on with the '
    'others, and tries these again one by one. Answers stay exact meanwhile.';
COMMENT ON COLUMN analytics.refresh_failures.hour IS 'Beginning of the hour (UTC).';
COMMENT ON COLUMN analytics.refresh_failures.day IS 'The day, where it is one and no hour.';
COMMENT ON COLUMN analytics.refresh_failures.failures IS 'How often it has failed.';
COMMENT ON COLUMN analytics.refresh_failures.error IS 'The last error.';
COMMENT ON COLUMN analytics.refresh_failures.since IS 'When it failed first.';
COMMENT ON COLUMN analytics.refresh_failures.retry_at IS
    'When it is tried again: each pause is twice as long, up to an hour. At once where several '
    'hours failed together: each of them is tried alone.';

CREATE FUNCTION analytics.set_aside(hours timestamptz[], of_day date, error text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'cannot store the aggregates of %: %',
        coalesce(of_day::text, array_to_string(hours, ', ')), error;
    INSERT INTO analytics.refresh_failures AS f
    SELECT h.hour, NULL::date, 1, error, clock_timestamp(),
           clock_timestamp() + interval '1 minute' * (cardinality(hours) = 1)::integer
    FROM unnest(hours) AS h (hour)
    UNION ALL
    SELECT NULL, of_day, 1, error, clock_timestamp(), clock_timestamp() + interval '1 minute'
    WHERE of_day IS NOT NULL
    ON CONFLICT DO NOTHING;
    UPDATE analytics.refresh_failures f
    SET failures = f.failures + 1, error = set_aside.error,
        retry_at = clock_timestamp()
            + least(interval '1 minute' * power(2, least(f.failures, 10)), interval '1 hour')
    WHERE (f.hour = ANY (hours) OR f.day = of_day) AND f.since < statement_timestamp();
END $$;
COMMENT ON FUNCTION analytics.set_aside IS
    'Notes that these hours, or this day, could not be stored, and when to try again.';

CREATE FUNCTION analytics.refresh_state(OUT open_hours integer, OUT open_days integer,
                                        OUT failed integer, OUT age interval, OUT error text)
STABLE SECURITY DEFINER LANGUAGE sql AS $$
    SELECT (SELECT count(DISTINCT t.hour) FROM analytics.touched_hours t),
           (SELECT count(*) FROM analytics.days d WHERE NOT d.is_stored),
           (SELECT count(*) FROM analytics.refresh_failures f),
           clock_timestamp() - least(
               clock_timestamp(),
               (SELECT min(h.noted_at)
                FROM (SELECT max(t.noted_at) AS noted_at FROM analytics.touched_hours t
                      GROUP BY t.hour) h WHERE isfinite(h.noted_at)),
               (SELECT min(d.noted_at) + interval '5 minutes' FROM analytics.days d
                WHERE NOT d.is_stored
                  AND NOT EXISTS (SELECT FROM analytics.open_hours o
                                  WHERE o.hour > d.since - interval '1 hour'
                                    AND o.hour < d.until)),
               (SELECT min(f.since) FROM analytics.refresh_failures f)),
           (SELECT f.error FROM analytics.refresh_failures f ORDER BY f.since LIMIT 1)
$$;
COMMENT ON FUNCTION analytics.refresh_state IS
    'How far analytics.refresh is: open hours, days that are not stored, how many of both it '
    'could not store (refresh_failures) and the error of the first, and its age: for how long '
    'the oldest hour or day has been quiet, or failing, without being stored. Usually seconds, '
    'or a few minutes.';

CREATE FUNCTION analytics.refresh(at_most integer DEFAULT 6, quiet interval DEFAULT '10 seconds',
                                  OUT stored integer, OUT open integer)
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    part record;
    days_due date[];
    is_cancelled boolean := false;
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    -- "etl agg" in ASCII: one at a time, and nobody waits.
    IF NOT pg_try_advisory_xact_lock(x'65746c20616767'::bigint) THEN
        RETURN;
    END IF;
    stored := 0;
    -- Hours that follow on each other are stored together; one that has failed, alone.
    FOR part IN
        SELECT array_agg(n.hour) AS hours
        FROM (SELECT q.hour, q.has_failed,
                     q.hour - row_number() OVER (ORDER BY q.hour) * interval '1 hour' AS island
              FROM (SELECT t.hour, f.hour IS NOT NULL AS has_failed
                    FROM analytics.touched_hours t
                    LEFT JOIN analytics.refresh_failures f USING (hour)
                    WHERE (f.retry_at > clock_timestamp()) IS NOT TRUE
                    GROUP BY t.hour, f.hour, f.retry_at
                    HAVING max(t.noted_at) <= clock_timestamp() - quiet
                    ORDER BY f.retry_at NULLS FIRST, max(t.noted_at), t.hour LIMIT at_most) q) n
        GROUP BY n.island, CASE WHEN n.has_failed THEN n.hour END
        ORDER BY bool_or(n.has_failed), 1
    LOOP
        BEGIN
            PERFORM analytics.store_hours(part.hours);
            stored := stored + cardinality(part.hours);
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            PERFORM analytics.set_aside(part.hours, NULL, sqlerrm);
            is_cancelled := sqlstate = '57014';
        END;
        EXIT WHEN is_cancelled;
    END LOOP;
    -- Hours that are written all the time gather notes: one with the latest time is enough.
    IF (SELECT count(*) > 1000 + 2 * count(DISTINCT t.hour) FROM analytics.touched_hours t) THEN
        WITH notes AS (DELETE FROM analytics.touched_hours RETURNING hour, noted_at)
        INSERT INTO analytics.touched_hours SELECT n.hour, max(n.noted_at) FROM notes n
            GROUP BY n.hour;
    END IF;
    -- A day costs as much as many hours, and is asked for when it is over: it waits longer.
    days_due := ARRAY(
        SELECT d.day FROM analytics.days d LEFT JOIN analytics.refresh_failures f USING (day)
        WHERE NOT d.is_stored AND d.noted_at <= clock_timestamp() - 30 * quiet
          AND (f.retry_at > clock_timestamp()) IS NOT TRUE
          AND NOT EXISTS (SELECT FROM analytics.open_hours o
                          WHERE o.hour > d.since - interval '1 hour' AND o.hour < d.until)
        ORDER BY f.retry_at NULLS FIRST, d.day LIMIT greatest(at_most - stored, 0));
    FOR part IN SELECT d.day FROM unnest(days_due) AS d (day) LOOP
        -- The time limit of a statement comes once: after it nothing is begun.
        EXIT WHEN is_cancelled;
        BEGIN
            PERFORM analytics.store_day(part.day);
            stored := stored + 1;
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            PERFORM analytics.set_aside('{}', part.day, sqlerrm);
            is_cancelled := sqlstate = '57014';
        END;
    END LOOP;
    SELECT (SELECT count(DISTINCT t.hour) FROM analytics.touched_hours t) + (SELECT count(*)
        FROM analytics.days d WHERE NOT d.is_stored) INTO open;
END $$;
COMMENT ON FUNCTION analytics.refresh IS
    'Stores up to so many open hours that nobody has touched for a while, those first that have '
    'been quiet longest, and then days that have been quiet 30 times as long. One that fails, or '
    'meets the statement timeout, is set aside in refresh_failures. Returns how many hours and '
    'days it stored, and how many are to be stored still; NULL where somebody else is at it. '
    'Sinks call it every ten seconds; without it every answer is the same, only slower.';

CREATE FUNCTION analytics.hours_known(from_day date, to_day date) RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    since timestamptz := analytics.start_of(from_day);
    until timestamptz := analytics.start_of(to_day + 1);
    kind text;
BEGIN
    RETURN QUERY SELECT DISTINCT analytics.hour_of(f.event_time) FROM fact_events f
        WHERE f.event_time >= since AND f.event_time < until AND isfinite(f.event_time);
    FOREACH kind IN ARRAY analytics.hour_kinds() LOOP
        RETURN QUERY EXECUTE format('SELECT DISTINCT hour FROM analytics.hourly_%s '
                                    'WHERE hour >= analytics.hour_of($1) AND hour < $2', kind)
            USING since, until;
    END LOOP;
END $$;
COMMENT ON FUNCTION analytics.hours_known IS
    'The hours of these days that have facts or something stored, several times each.';

CREATE FUNCTION analytics.touch(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity',
                                forget boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    touched bigint;
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    IF forget THEN
        DELETE FROM analytics.history h
            WHERE h.since < analytics.start_of(to_day + 1)
                AND h.until > analytics.start_of(from_day);
    END IF;
    INSERT INTO analytics.touched_hours SELECT DISTINCT k.hour, timestamptz '-infinity'
        FROM analytics.hours_known(from_day, to_day) AS k (hour);
    GET DIAGNOSTICS touched = ROW_COUNT;
    UPDATE analytics.refresh_failures f SET retry_at = clock_timestamp()
    WHERE f.day BETWEEN from_day AND to_day
       OR f.hour >= analytics.start_of(from_day) - interval '1 hour'
          AND f.hour < analytics.start_of(to_day + 1);
    RETURN touched;
END $$;
COMMENT ON FUNCTION analytics.touch IS
    'Opens all hours of these days, so that they are stored anew; returns how many. With forget '
    'also those whose facts are gone, which are emptied by it.';

CREATE FUNCTION analytics.keep_history(since timestamptz, until timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    PERFORM pg_advisory_xact_lock(x'65746c20616767'::bigint);
    PERFORM analytics.store_hours(ARRAY(SELECT DISTINCT t.hour FROM analytics.touched_hours t
                                        WHERE t.hour >= since AND t.hour < until));
    -- Few facts were written meanwhile.
    LOCK TABLE fact_events IN ACCESS EXCLUSIVE MODE;
    PERFORM analytics.store_hours(ARRAY(SELECT DISTINCT t.hour FROM analytics.touched_hours t
                                        WHERE t.hour >= since AND t.hour < until));
    INSERT INTO analytics.history VALUES (since, until);
END $$;
COMMENT ON FUNCTION analytics.keep_history IS
    'Stores the open hours of a time whose facts are about to be dropped, and keeps them from '
    'then on. etl_retire_partitions calls it; call it before a DROP TABLE of your own.';

CREATE FUNCTION analytics.differences(from_day date DEFAULT '-infinity',
                                      to_day date DEFAULT 'infinity')
RETURNS TABLE (table_name text, day date, missing bigint, superfluous bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    part record;
    kind text;
    of_day date;
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    FOR part IN
        SELECT r.* FROM (SELECT array_agg(k.hour) AS hours
                         FROM analytics.hours_known(from_day, to_day) AS k (hour)
                         WHERE k.hour NOT IN (SELECT o.hour FROM analytics.open_hours o)
                           -- A click in the half hour after it can be on an impression in it.
                           AND NOT EXISTS (
                               SELECT FROM analytics.history h
                               WHERE k.hour >= h.since AND k.hour < h.until + interval '30 minutes')
                         GROUP BY date_bin('24 hours', k.hour, '2000-01-01 00:00:00+00')) d,
                         analytics.ranges_of(d.hours) r
    LOOP
        FOREACH kind IN ARRAY analytics.hour_kinds() LOOP
            RETURN QUERY EXECUTE format($sql$
                SELECT 'hourly_%1$s', u.day, sum(greatest(u.side, 0))::bigint,
                       sum(greatest(-u.side, 0))::bigint
                FROM (SELECT (b.content).day, sum(b.side) AS side
                      FROM (SELECT 1 AS side, f AS content FROM analytics.%1$s_of($1, $2) f
                            UNION ALL
                            SELECT -1, s FROM analytics.hourly_%1$s s
                            WHERE s.hour >= $1 AND s.hour < $2) b
                      GROUP BY b.content HAVING sum(b.side) <> 0) u
                GROUP BY u.day $sql$, kind) USING part.since, part.until;
        END LOOP;
    END LOOP;
    RETURN QUERY
    SELECT 'repeated_transactions', min(p.day), 1::bigint, 0::bigint
    FROM analytics.hourly_purchases p
    WHERE p.transaction_key IS NOT NULL
        AND NOT EXISTS (SELECT FROM analytics.repeated_transactions r
                        WHERE r.transaction_key = p.transaction_key)
    GROUP BY p.transaction_key HAVING count(DISTINCT p.hour) > 1 AND min(p.day) BETWEEN from_day
        AND to_day;
    FOR of_day IN SELECT s.day FROM analytics.stored_days(from_day, to_day, true, true) AS s (day)
    LOOP
        FOREACH kind IN ARRAY analytics.day_kinds() LOOP
            RETURN QUERY EXECUTE format($sql$
                SELECT 'day_%1$s', $1, count(*) FILTER (WHERE u.side > 0),
                       count(*) FILTER (WHERE u.side < 0)
                FROM (SELECT sum(b.side) AS side
                      FROM (SELECT 1 AS side, f AS content FROM analytics.day_%1$s_of($1, $1) f
                            UNION ALL
                            SELECT -1, s FROM analytics.day_%1$s s WHERE s.day = $1) b
                      GROUP BY b.content HAVING sum(b.side) <> 0) u
                HAVING count(*) > 0 $sql$, kind) USING of_day;
        END LOOP;
        RETURN QUERY
        WITH active AS (
            SELECT a.activity, a.key, a.person, (SELECT max(r.day + 0) FROM analytics.day_reach r
                WHERE r.person = a.person AND r.key = a.key AND r.activity = a.activity
                    AND r.day + 0 < of_day) AS before
            FROM analytics.activities_of(of_day, of_day) a
        ), stored AS (
            SELECT r.activity, r.key, r.person, r.before FROM analytics.day_reach r
            WHERE r.day = of_day
        ), missing AS (SELECT * FROM active EXCEPT SELECT * FROM stored),
        superfluous AS (SELECT * FROM stored EXCEPT SELECT * FROM active)
        SELECT 'day_reach', of_day, m.missing, s.superfluous
        FROM (SELECT count(*) AS missing FROM missing) m,
        (SELECT count(*) AS superfluous FROM superfluous) s WHERE m.missing + s.superfluous > 0;
    END LOOP;
    RETURN QUERY
    SELECT 'day_reach', r.day, 0::bigint, count(*) FROM analytics.day_reach r
    WHERE r.day BETWEEN from_day AND to_day
        AND NOT EXISTS (SELECT FROM analytics.days d WHERE d.day = r.day) GROUP BY 2;
    RETURN QUERY
    SELECT 'day_reach_counts', (u.content).day, count(*) FILTER (WHERE u.side > 0),
           count(*) FILTER (WHERE u.side < 0)
    FROM (SELECT b.content, sum(b.side) AS side
          FROM (SELECT 1 AS side, (r.day, r.activity, r.key, r.before,
                                   count(*))::analytics.day_reach_counts AS content
                FROM analytics.day_reach r WHERE r.day BETWEEN from_day AND to_day
                GROUP BY r.day, r.activity, r.key, r.before
                UNION ALL
                SELECT -1, c FROM analytics.day_reach_counts c
                WHERE c.day BETWEEN from_day AND to_day) b
          GROUP BY b.content HAVING sum(b.side) <> 0) u
    GROUP BY 2;
END $$;
COMMENT ON FUNCTION analytics.differences IS
    'Differences of stored hours from their facts, and of stored days from their hours: missing '
    'and superfluous rows by table and day. No row means that they agree. Writers can go on '
    'meanwhile. Open hours are not compared, nor are hours without facts in history and the hour '
    'after them.';

CREATE FUNCTION analytics.configure(time_zone text DEFAULT NULL, session_gap interval DEFAULT NULL,
                                    reporting_currency text DEFAULT NULL,
                                    search_lists text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    kind text;
BEGIN
    PERFORM set_config('etl.time_zone', '', true);
    PERFORM pg_advisory_xact_lock(x'65746c20616767'::bigint);
    IF time_zone IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = time_zone) THEN
            RAISE EXCEPTION '% is not a time zone; pg_timezone_names has their names', time_zone;
        END IF;
        EXECUTE format('CREATE OR REPLACE FUNCTION analytics.time_zone() RETURNS text '
                       'STABLE PARALLEL SAFE RETURN '
                       'coalesce(nullif(current_setting(''etl.time_zone'', true), ''''), %L)',
                       time_zone);
    END IF;
    IF session_gap IS NOT NULL THEN
        IF session_gap <= interval '0' OR session_gap > interval '8 hours' THEN
            RAISE EXCEPTION 'a session gap is above 0 and at most 8 hours, not %', session_gap;
        END IF;
        EXECUTE format('CREATE OR REPLACE FUNCTION analytics.session_gap() RETURNS interval '
                       'STABLE PARALLEL SAFE RETURN interval %L', session_gap);
    END IF;
    IF reporting_currency IS NOT NULL THEN
        IF reporting_currency <> '' AND reporting_currency !~ '^[A-Z]{3}$' THEN
            RAISE EXCEPTION '% is not a currency; write its three letters (ISO 4217), such as EUR',
                            reporting_currency;
        END IF;
        EXECUTE format('CREATE OR REPLACE FUNCTION analytics.reporting_currency() RETURNS text '
                       'STABLE PARALLEL SAFE RETURN %L::text', reporting_currency);
    END IF;
    IF search_lists IS NOT NULL THEN
        -- Fails here, and not in each report, if it is no regular expression.
        PERFORM '' ~* search_lists;
        EXECUTE format('CREATE OR REPLACE FUNCTION analytics.search_lists() RETURNS text '
                       'STABLE PARALLEL SAFE RETURN %L', search_lists);
    END IF;
    IF time_zone IS NOT NULL OR session_gap IS NOT NULL THEN
        PERFORM analytics.touch();
        DELETE FROM analytics.refresh_failures;
        DELETE FROM analytics.days;
        FOREACH kind IN ARRAY analytics.day_kinds() || ARRAY['reach', 'reach_counts'] LOOP
            EXECUTE format('DELETE FROM analytics.day_%s', kind);
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION analytics.configure IS
    'Changes settings. With another time zone or session gap all hours are stored anew, and are '
    'exact meanwhile. Hours whose facts are gone keep the days of the old zone.';

-- What changes something is not called by everybody.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['note_touched', 'forget_all', 'store_hours', 'store_reach',
    'store_day', 'set_aside', 'refresh', 'refresh_state', 'touch', 'keep_history', 'hours_known',
    'configure'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION analytics.%s FROM PUBLIC', name);
    END LOOP;
    GRANT EXECUTE ON FUNCTION analytics.hours_known, analytics.refresh_state TO PUBLIC;
END $$;
