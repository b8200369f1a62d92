-- Who keeps the rollups: whoever folds, triggers on fact_events, a check, and a rebuild.

CREATE FUNCTION analytics.has_facts_of_month(day date) RETURNS boolean STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM fact_events
    WHERE event_time >= analytics.start_of(date_trunc('month', day::timestamp)::date)
      AND event_time < analytics.start_of((date_trunc('month', day::timestamp) + interval '1 month')::date)
);
COMMENT ON FUNCTION analytics.has_facts_of_month IS
    'Whether facts of the day''s month are there. Where a month was detached or dropped, its rollups are all that is left and are kept.';

CREATE FUNCTION analytics.forget_rollups(from_day date, to_day date, with_those_alone boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    kept date[];
BEGIN
    SELECT coalesce(array_agg(m.month), '{}') INTO kept
    FROM (SELECT DISTINCT date_trunc('month', r.day::timestamp)::date AS month FROM analytics.rollup_event r
          WHERE r.day BETWEEN from_day AND to_day) m
    WHERE NOT with_those_alone AND NOT analytics.has_facts_of_month(m.month);
    DELETE FROM analytics.rollup_event r
    WHERE r.day BETWEEN from_day AND to_day AND date_trunc('month', r.day::timestamp)::date <> ALL (kept);
    DELETE FROM analytics.rollup_product r
    WHERE r.day BETWEEN from_day AND to_day AND date_trunc('month', r.day::timestamp)::date <> ALL (kept);
    DELETE FROM analytics.rollup_list r
    WHERE r.day BETWEEN from_day AND to_day AND date_trunc('month', r.day::timestamp)::date <> ALL (kept);
END $$;
COMMENT ON FUNCTION analytics.forget_rollups IS
    'Removes the rollups of these days; those of months whose facts are gone only if with_those_alone is true.';

CREATE FUNCTION analytics.fold() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    fold bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN false;  -- an older snapshot doesn't show what others have folded
    END IF;
    SELECT s.folds + 1 INTO fold FROM analytics.fold_state s FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;  -- somebody else is at it
    END IF;
    -- One statement: what it counts is what it takes.
    WITH taken AS (
        DELETE FROM analytics.pending RETURNING touched
    ), counted AS MATERIALIZED (
        SELECT u.day, u.event_name, u.currency, u.product_key, u.list_key, u.list_position,
               sum(u.interactions) AS interactions, sum(u.events) AS events, sum(u.units) AS units, sum(u.revenue) AS revenue
        FROM analytics.unfolded u GROUP BY 1, 2, 3, 4, 5, 6
    ), changed AS (
        INSERT INTO analytics.day_state AS d
        SELECT DISTINCT near.day, fold, -1 FROM taken t, unnest(t.touched) AS near (day) WHERE near.day NOT IN ('-infinity', 'infinity')
        ON CONFLICT (day) DO UPDATE SET changed_in = excluded.changed_in
    ), by_event AS (
        INSERT INTO analytics.rollup_event AS r
        SELECT c.day, c.event_name, c.currency, sum(c.interactions), sum(c.events), sum(c.units), sum(c.revenue)
        FROM counted c WHERE c.product_key IS NULL GROUP BY 1, 2, 3
        ON CONFLICT (day, event_name, currency) DO UPDATE SET
            interactions = r.interactions + excluded.interactions, events = r.events + excluded.events,
            units = r.units + excluded.units, revenue = r.revenue + excluded.revenue
    ), by_product AS (
        INSERT INTO analytics.rollup_product AS r
        SELECT c.day, c.product_key, c.event_name, c.currency, c.interactions, c.units, c.revenue
        FROM counted c WHERE c.product_key IS NOT NULL
        ON CONFLICT (day, product_key, event_name, currency) DO UPDATE SET
            interactions = r.interactions + excluded.interactions,
            units = r.units + excluded.units, revenue = r.revenue + excluded.revenue
    )
    INSERT INTO analytics.rollup_list AS r
    SELECT c.day, c.list_key, c.event_name, c.list_position, sum(c.interactions), sum(c.units)
    FROM counted c WHERE c.product_key IS NULL AND c.list_key IS NOT NULL GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, list_key, event_name, list_position) DO UPDATE SET
        interactions = r.interactions + excluded.interactions, units = r.units + excluded.units;
    UPDATE analytics.fold_state SET folds = fold, folded_at = clock_timestamp();
    RETURN true;
END $$;
COMMENT ON FUNCTION analytics.fold IS
    'Adds what is pending to the rollups. False where somebody else is doing so. Sinks call it every ten seconds; without it the views are as exact, only slower.';

CREATE FUNCTION analytics.fold_when_due() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM analytics.fold_state s WHERE s.folded_at > clock_timestamp() - interval '8 seconds') THEN
        RETURN false;
    END IF;
    RETURN analytics.fold();
END $$;
COMMENT ON FUNCTION analytics.fold_when_due IS 'Folds, unless somebody has done so within eight seconds: for sinks, of which there can be many.';

CREATE FUNCTION analytics.note_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- Dynamic, because a DELETE has no new rows to name.
    EXECUTE format($sql$
        WITH changed AS (
            SELECT -1 AS sign, r::fact_events AS fact FROM removed r %s
        ), sums AS (
            SELECT c.day, c.event_name, c.currency, c.product_key, c.list_key, c.list_position, sum(ch.sign)::bigint AS interactions,
                   sum(ch.sign * c.events)::bigint AS events, sum(ch.sign * c.units) AS units, coalesce(sum(ch.sign * c.revenue), 0) AS revenue
            FROM changed ch, analytics.counted(ch.fact) c
            GROUP BY GROUPING SETS ((c.day, c.event_name, c.currency, c.list_key, c.list_position), (c.day, c.event_name, c.currency, c.product_key))
            HAVING grouping(c.product_key) = 1 OR c.product_key IS NOT NULL
        ), days AS (
            SELECT DISTINCT analytics.day_of((ch.fact).event_time + around) AS day
            FROM changed ch, unnest(ARRAY[interval '-30 minutes', '0', '30 minutes']) AS around
        )
        INSERT INTO analytics.pending
        SELECT (SELECT array_agg(d.day) FROM days d), array_agg(s.day), array_agg(s.event_name), array_agg(s.currency), array_agg(s.product_key),
               array_agg(s.list_key), array_agg(s.list_position), array_agg(s.interactions), array_agg(s.events), array_agg(s.units), array_agg(s.revenue)
        FROM sums s HAVING count(*) > 0
        $sql$, CASE TG_OP WHEN 'UPDATE' THEN 'UNION ALL SELECT 1, a::fact_events FROM added a' ELSE '' END);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.note_change IS 'Says what facts that are deleted or replaced add up to.';

CREATE FUNCTION analytics.warn_of_uncounted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('etl.counts_facts', true), '') <> 'on' THEN
        RAISE WARNING 'these facts are not in the rollups of the schema analytics: only postgres-sink counts what it inserts'
            USING HINT = 'Have the days counted anew: etl rollups rebuild, or SELECT analytics.rebuild_rollups(from, to).';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.warn_of_uncounted IS 'Warns whoever inserts facts by hand.';

CREATE FUNCTION analytics.forget_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM FROM analytics.fold_state FOR UPDATE;
    DELETE FROM analytics.pending;
    -- What the sealed tables hold of the days is removed when they are sealed anew.
    UPDATE analytics.day_state d SET changed_in = s.folds + 1 FROM analytics.fold_state s;
    PERFORM analytics.forget_rollups('-infinity', 'infinity', true);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.forget_all IS 'Empties the rollups with the facts, and opens the days.';

-- On the parent: a month that is made, detached or dropped changes nothing.
CREATE TRIGGER warn_of_uncounted AFTER INSERT ON fact_events FOR EACH STATEMENT EXECUTE FUNCTION analytics.warn_of_uncounted();
CREATE TRIGGER note_deleted AFTER DELETE ON fact_events
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION analytics.note_change();
CREATE TRIGGER note_replaced AFTER UPDATE ON fact_events
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION analytics.note_change();
CREATE TRIGGER forget_all AFTER TRUNCATE ON fact_events FOR EACH STATEMENT EXECUTE FUNCTION analytics.forget_all();

CREATE FUNCTION analytics.recounted(from_day date, to_day date)
RETURNS TABLE (day date, event_name text, currency text, product_key bigint, list_key bigint, list_position integer,
               interactions bigint, events bigint, units numeric, revenue numeric) STABLE
BEGIN ATOMIC
    SELECT c.day, c.event_name, c.currency, c.product_key, c.list_key, c.list_position,
           count(*), sum(c.events), sum(c.units), coalesce(sum(c.revenue), 0)
    FROM fact_events f, analytics.counted(f) c
    WHERE f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
    GROUP BY GROUPING SETS ((c.day, c.event_name, c.currency, c.list_key, c.list_position), (c.day, c.event_name, c.currency, c.product_key))
    HAVING grouping(c.product_key) = 1 OR c.product_key IS NOT NULL;
END;
COMMENT ON FUNCTION analytics.recounted IS 'The facts of these days, counted anew: elements as in analytics.unfolded.';

CREATE FUNCTION analytics.rollup_differences(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (rollup text, day date, key text, counted bigint, stored bigint) STABLE
BEGIN ATOMIC
    WITH facts AS MATERIALIZED (
        SELECT * FROM analytics.recounted(from_day, to_day)
    ), kept AS (
        SELECT m.month FROM (SELECT DISTINCT date_trunc('month', r.day::timestamp)::date AS month FROM analytics.rollup_event r
                             WHERE r.day BETWEEN from_day AND to_day) m
        WHERE NOT analytics.has_facts_of_month(m.month)
    ), rows AS (
        SELECT 'event' AS rollup, r.day, concat_ws(' ', r.event_name, r.currency) AS key, 1 AS side,
               r.interactions, r.events, r.units, r.revenue FROM analytics.event_counts r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'event', f.day, concat_ws(' ', f.event_name, f.currency), 0,
               f.interactions, f.events, f.units, f.revenue FROM facts f WHERE f.product_key IS NULL
        UNION ALL
        SELECT 'product', r.day, concat_ws(' ', r.product_key, r.event_name, r.currency), 1,
               r.interactions, 0, r.units, r.revenue FROM analytics.product_counts r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'product', f.day, concat_ws(' ', f.product_key, f.event_name, f.currency), 0,
               f.interactions, 0, f.units, f.revenue FROM facts f WHERE f.product_key IS NOT NULL
        UNION ALL
        SELECT 'list', r.day, concat_ws(' ', r.list_key, r.event_name, r.list_position), 1,
               r.interactions, 0, r.units, 0 FROM analytics.list_counts r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'list', f.day, concat_ws(' ', f.list_key, f.event_name, f.list_position), 0,
               f.interactions, 0, f.units, 0 FROM facts f WHERE f.product_key IS NULL AND f.list_key IS NOT NULL
    )
    SELECT r.rollup, r.day, r.key,
           coalesce(sum(r.interactions) FILTER (WHERE r.side = 0), 0)::bigint,
           coalesce(sum(r.interactions) FILTER (WHERE r.side = 1), 0)::bigint
    FROM rows r
    WHERE date_trunc('month', r.day::timestamp)::date NOT IN (SELECT kept.month FROM kept)
    GROUP BY r.rollup, r.day, r.key
    HAVING (coalesce(sum(r.interactions) FILTER (WHERE r.side = 0), 0), coalesce(sum(r.events) FILTER (WHERE r.side = 0), 0),
            coalesce(sum(r.units) FILTER (WHERE r.side = 0), 0), coalesce(sum(r.revenue) FILTER (WHERE r.side = 0), 0))
        <> (coalesce(sum(r.interactions) FILTER (WHERE r.side = 1), 0), coalesce(sum(r.events) FILTER (WHERE r.side = 1), 0),
            coalesce(sum(r.units) FILTER (WHERE r.side = 1), 0), coalesce(sum(r.revenue) FILTER (WHERE r.side = 1), 0))
    ORDER BY 1, 2, 3;
END;
COMMENT ON FUNCTION analytics.rollup_differences IS
    'Where the rollups differ from the facts: the facts counted anew and what is stored. No row means that they agree. Writers need not stop for it. Days of months whose facts are gone are not compared.';

CREATE FUNCTION analytics.rebuild_rollups(
    from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity', forget boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET work_mem = '64MB' AS $$
DECLARE
    made bigint;
    total bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'rebuild_rollups needs the isolation level read committed: it has to see what was folded while it waited';
    END IF;
    PERFORM FROM analytics.fold_state FOR UPDATE;  -- nobody else folds meanwhile; writers don't wait
    PERFORM analytics.fold();
    -- One statement, so that the facts and what is pending are those of the same moment. What is pending is folded later.
    CREATE TEMP TABLE recount ON COMMIT DROP AS
    SELECT r.day, r.event_name, r.currency, r.product_key, r.list_key, r.list_position, sum(r.interactions)::bigint AS interactions,
           sum(r.events)::bigint AS events, sum(r.units) AS units, sum(r.revenue) AS revenue
    FROM (SELECT * FROM analytics.recounted(from_day, to_day)
          UNION ALL
          SELECT u.day, u.event_name, u.currency, u.product_key, u.list_key, u.list_position, -u.interactions, -u.events, -u.units, -u.revenue
          FROM analytics.unfolded u WHERE u.day BETWEEN from_day AND to_day) r
    GROUP BY 1, 2, 3, 4, 5, 6;

    PERFORM analytics.forget_rollups(from_day, to_day, forget);
    INSERT INTO analytics.rollup_event
    SELECT c.day, c.event_name, c.currency, sum(c.interactions), sum(c.events), sum(c.units), sum(c.revenue)
    FROM pg_temp.recount c WHERE c.product_key IS NULL GROUP BY 1, 2, 3;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    INSERT INTO analytics.rollup_product
    SELECT c.day, c.product_key, c.event_name, c.currency, c.interactions, c.units, c.revenue
    FROM pg_temp.recount c WHERE c.product_key IS NOT NULL;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    INSERT INTO analytics.rollup_list
    SELECT c.day, c.list_key, c.event_name, c.list_position, sum(c.interactions), sum(c.units)
    FROM pg_temp.recount c WHERE c.product_key IS NULL AND c.list_key IS NOT NULL GROUP BY 1, 2, 3, 4;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    -- Whoever inserted or removed facts by hand has not said so of their days either.
    INSERT INTO analytics.day_state AS d
    SELECT DISTINCT k.day + around, s.folds + 1, -1
    FROM (SELECT c.day FROM pg_temp.recount c
          UNION
          SELECT d.day FROM analytics.day_state d WHERE d.day BETWEEN from_day AND to_day) k,
         analytics.fold_state s, generate_series(-1, 1) AS around
    WHERE isfinite(k.day)
    ON CONFLICT (day) DO UPDATE SET changed_in = excluded.changed_in;
    DROP TABLE pg_temp.recount;
    PERFORM analytics.fold();
    RETURN total;
END $$;
COMMENT ON FUNCTION analytics.rebuild_rollups IS
    'Counts the rollups of these days anew from the facts; returns the rows made. Days of months whose facts are gone are kept, unless forget is true. Writers don''t wait. Opens the days, so that they are sealed anew.';

CREATE OR REPLACE FUNCTION etl_retire_months(age interval, with_drop boolean) RETURNS SETOF text
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    retired text;
BEGIN
    IF age < interval '1 month' THEN
        RAISE EXCEPTION 'an age of % would take the month that is being written; name one of a month or more', age;
    END IF;
    PERFORM analytics.fold();  -- the rollups outlive the facts
    FOR retired IN SELECT m.name FROM etl_months() m WHERE m.until <= now() - age ORDER BY m.since LOOP
        EXECUTE format('ALTER TABLE fact_events DETACH PARTITION %I', retired);
        -- Late facts of these days can still come, into the default partition.
        UPDATE analytics.day_state d SET changed_in = s.folds + 1 FROM analytics.fold_state s
        WHERE retired = to_char(d.day, '"fact_events_y"YYYY"m"MM');
        IF with_drop THEN
            EXECUTE format('DROP TABLE %I', retired);
        END IF;
        RETURN NEXT retired;
    END LOOP;
END $$;

-- What runs with the owner's rights must not be led to tables that somebody else puts in its way, nor be called by everybody.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['fold()', 'fold_when_due()', 'note_change()', 'warn_of_uncounted()',
                                'forget_all()', 'forget_rollups(date, date, boolean)', 'rebuild_rollups(date, date, boolean)'] LOOP
        EXECUTE format('ALTER FUNCTION analytics.%s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION analytics.%s FROM PUBLIC', name);
    END LOOP;
END $$;
