-- Who keeps the rollups: triggers on fact_events, a check, and a rebuild.

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

CREATE FUNCTION analytics.transaction_number() RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN pg_current_xact_id()::text::bigint + (SELECT s.shift FROM analytics.fold_state s);
END $$;
COMMENT ON FUNCTION analytics.transaction_number IS 'The number of this transaction, as in fact_events.written_in.';

CREATE FUNCTION analytics.index_new_pages() RETURNS void LANGUAGE plpgsql SET lock_timeout = '10ms' AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT i.inhrelid::regclass FROM pg_inherits i WHERE i.inhparent = 'fact_events_written_in'::regclass LOOP
        BEGIN
            PERFORM brin_summarize_new_values(part);
        EXCEPTION WHEN lock_not_available THEN
            NULL;  -- VACUUM or ANALYZE is at the table: another time
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION analytics.index_new_pages IS
    'Has the index on written_in tell of the newest pages; those that it does not tell of are read whenever somebody looks for new facts.';

CREATE FUNCTION analytics.fold() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_custom_plan SET jit = off SET enable_sort = off SET work_mem = '64MB' AS $$
DECLARE
    state analytics.fold_state;
    horizon bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN false;  -- an older snapshot doesn't show what others have folded
    END IF;
    SELECT * INTO state FROM analytics.fold_state FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;  -- somebody else is at it
    END IF;
    -- All transactions with lower numbers have ended. Each statement below sees what they wrote, and though it has a
    -- snapshot of its own, what it adds up to is the same: a fact that is removed meanwhile is in analytics.removed.
    horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint + state.shift;
    IF horizon < state.folded_to THEN
        -- The tables were restored on another server, whose numbers are lower. Until rebuild_rollups() has them go on
        -- from there, facts of higher numbers are counted whenever somebody asks.
        PERFORM analytics.forget_rollups('-infinity', 'infinity', false);
        UPDATE analytics.day_state SET sealed_to = -1;
        state.folded_to := 0;
    END IF;
    PERFORM analytics.index_new_pages();

    -- What was removed since counts -1; what came and went meanwhile, 0; what came, and is gone for later numbers, 1.
    WITH counted AS MATERIALIZED (
        SELECT c.day, c.event_name, c.currency, c.list_key, c.list_position, count(*) AS interactions,
               sum(c.events) AS events, sum(c.units) AS units, coalesce(sum(c.revenue), 0) AS revenue,
               min(c.event_time) AS first_at, max(c.event_time) AS last_at
        FROM analytics.countable c WHERE c.written_in >= state.folded_to AND c.written_in < horizon
        GROUP BY 1, 2, 3, 4, 5
        UNION ALL
        SELECT r.day, r.event_name, r.currency, r.list_key, r.list_position, sum(s.sign),
               sum(s.sign * r.events), sum(s.sign * r.units), coalesce(sum(s.sign * r.revenue), 0),
               min(r.event_time), max(r.event_time)
        FROM analytics.removed r, LATERAL (SELECT (r.written_in >= state.folded_to)::int - (r.removed_in < horizon)::int) AS s (sign)
        WHERE r.written_in < horizon
        GROUP BY 1, 2, 3, 4, 5
    ), changed AS (
        INSERT INTO analytics.day_state AS d
        SELECT DISTINCT touched, horizon, -1
        FROM (SELECT c.day, min(c.first_at) AS first_at, max(c.last_at) AS last_at FROM counted c GROUP BY c.day) c,
             analytics.days_touched(c.day, c.first_at, c.last_at) AS touched
        WHERE c.day NOT IN ('-infinity', 'infinity')
        ON CONFLICT (day) DO UPDATE SET changed_to = excluded.changed_to
    ), by_event AS (
        INSERT INTO analytics.rollup_event AS r
        SELECT c.day, c.event_name, c.currency, sum(c.interactions), sum(c.events), sum(c.units), sum(c.revenue)
        FROM counted c GROUP BY 1, 2, 3
        ON CONFLICT (day, event_name, currency) DO UPDATE SET
            interactions = r.interactions + excluded.interactions, events = r.events + excluded.events,
            units = r.units + excluded.units, revenue = r.revenue + excluded.revenue
    )
    INSERT INTO analytics.rollup_list AS r
    SELECT c.day, c.list_key, c.event_name, c.list_position, sum(c.interactions), sum(c.units)
    FROM counted c WHERE c.list_key IS NOT NULL GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, list_key, event_name, list_position) DO UPDATE SET
        interactions = r.interactions + excluded.interactions, units = r.units + excluded.units;

    WITH counted AS (
        SELECT c.day, c.product_key, c.event_name, c.currency, count(*) AS interactions, sum(c.units) AS units,
               coalesce(sum(c.revenue), 0) AS revenue
        FROM analytics.countable c
        WHERE c.written_in >= state.folded_to AND c.written_in < horizon
          AND c.event_name <> 'view_item_list' AND c.product_key IS NOT NULL
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT r.day, r.product_key, r.event_name, r.currency, sum(s.sign), sum(s.sign * r.units), coalesce(sum(s.sign * r.revenue), 0)
        FROM analytics.removed r, LATERAL (SELECT (r.written_in >= state.folded_to)::int - (r.removed_in < horizon)::int) AS s (sign)
        WHERE r.written_in < horizon AND r.product_key IS NOT NULL
        GROUP BY 1, 2, 3, 4
    )
    INSERT INTO analytics.rollup_product AS r
    SELECT c.day, c.product_key, c.event_name, c.currency, sum(c.interactions), sum(c.units), sum(c.revenue)
    FROM counted c GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, product_key, event_name, currency) DO UPDATE SET
        interactions = r.interactions + excluded.interactions,
        units = r.units + excluded.units, revenue = r.revenue + excluded.revenue;

    DELETE FROM analytics.removed WHERE removed_in < horizon;
    UPDATE analytics.fold_state SET folded_to = horizon, folded_at = clock_timestamp();
    RETURN true;
END $$;
COMMENT ON FUNCTION analytics.fold IS
    'Adds what was written and removed since the last fold to the rollups. False where somebody else is doing so. Writers call it every five seconds; without it the views are as exact, only slower.';

CREATE FUNCTION analytics.fold_when_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM analytics.fold_state s WHERE s.folded_at < clock_timestamp() - interval '5 seconds') THEN
        PERFORM analytics.fold();
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.fold_when_due IS 'Folds what earlier transactions wrote, if nobody has done so for five seconds.';

CREATE FUNCTION analytics.note_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO analytics.removed
    SELECT (SELECT analytics.transaction_number()), f.written_in, f.event_time, analytics.day_of(f.event_time), f.event_name,
           coalesce(f.currency, ''), CASE WHEN f.event_name <> 'view_item_list' THEN f.product_key END,
           f.list_key, CASE WHEN f.list_key IS NOT NULL THEN greatest(-1, least(1000, coalesce(f.list_position, -1))) END,
           (f.item_ordinal <= 1)::int, coalesce(f.quantity, 1),
           CASE WHEN f.event_name <> 'view_item_list' THEN f.price * coalesce(f.quantity, 1) END
    FROM removed f;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.note_removed IS 'Notes facts that are deleted or replaced, for the next fold.';

CREATE FUNCTION analytics.number_anew() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    NEW.written_in := analytics.transaction_number();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION analytics.number_anew IS 'Gives a fact that is changed the number of the transaction that does it.';

CREATE FUNCTION analytics.forget_all() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM FROM analytics.fold_state FOR UPDATE;
    DELETE FROM analytics.removed;
    DELETE FROM analytics.day_state;
    PERFORM analytics.forget_rollups('-infinity', 'infinity', true);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION analytics.forget_all IS 'Empties the rollups with the facts.';

-- On the parent: a month that is made, detached or dropped moves no numbers.
CREATE TRIGGER fold_when_due AFTER INSERT ON fact_events FOR EACH STATEMENT EXECUTE FUNCTION analytics.fold_when_due();
CREATE TRIGGER note_deleted AFTER DELETE ON fact_events
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION analytics.note_removed();
CREATE TRIGGER note_replaced AFTER UPDATE ON fact_events
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION analytics.note_removed();
CREATE TRIGGER number_anew BEFORE UPDATE ON fact_events FOR EACH ROW EXECUTE FUNCTION analytics.number_anew();
CREATE TRIGGER forget_all AFTER TRUNCATE ON fact_events FOR EACH STATEMENT EXECUTE FUNCTION analytics.forget_all();

CREATE FUNCTION analytics.rollup_differences(from_day date DEFAULT '-infinity', to_day date DEFAULT 'infinity')
RETURNS TABLE (rollup text, day date, key text, counted bigint, stored bigint) STABLE
BEGIN ATOMIC
    WITH facts AS (
        SELECT f.* FROM analytics.folded f
        WHERE f.event_time >= analytics.start_of(from_day) AND f.event_time < analytics.start_of(to_day + 1)
    ), kept AS (
        SELECT m.month FROM (SELECT DISTINCT date_trunc('month', r.day::timestamp)::date AS month FROM analytics.rollup_event r
                             WHERE r.day BETWEEN from_day AND to_day) m
        WHERE NOT analytics.has_facts_of_month(m.month)
    ), rows AS (
        SELECT 'event' AS rollup, r.day, concat_ws(' ', r.event_name, r.currency) AS key, 1 AS side,
               r.interactions, r.events, r.units, r.revenue FROM analytics.rollup_event r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'event', f.day, concat_ws(' ', f.event_name, f.currency), 0,
               count(*), sum(f.events), sum(f.units), coalesce(sum(f.revenue), 0) FROM facts f GROUP BY 2, f.event_name, f.currency
        UNION ALL
        SELECT 'product', r.day, concat_ws(' ', r.product_key, r.event_name, r.currency), 1,
               r.interactions, 0, r.units, r.revenue FROM analytics.rollup_product r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'product', f.day, concat_ws(' ', f.product_key, f.event_name, f.currency), 0,
               count(*), 0, sum(f.units), coalesce(sum(f.revenue), 0)
        FROM facts f WHERE f.product_key IS NOT NULL GROUP BY 2, f.product_key, f.event_name, f.currency
        UNION ALL
        SELECT 'list', r.day, concat_ws(' ', r.list_key, r.event_name, r.list_position), 1,
               r.interactions, 0, r.units, 0 FROM analytics.rollup_list r WHERE r.day BETWEEN from_day AND to_day
        UNION ALL
        SELECT 'list', f.day, concat_ws(' ', f.list_key, f.event_name, f.list_position), 0,
               count(*), 0, sum(f.units), 0
        FROM facts f WHERE f.list_key IS NOT NULL GROUP BY 2, f.list_key, f.event_name, f.list_position
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
) RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    state analytics.fold_state;
    made bigint;
    total bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'rebuild_rollups needs the isolation level read committed: it has to see what was folded while it waited';
    END IF;
    SELECT * INTO state FROM analytics.fold_state FOR UPDATE;  -- nobody folds meanwhile; writers don't wait
    IF EXISTS (SELECT FROM fact_events f WHERE f.written_in >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + state.shift) THEN
        -- Restored from a server with higher numbers: from now on they go on behind these.
        LOCK TABLE fact_events IN ACCESS EXCLUSIVE MODE;
        SELECT max(f.written_in) + 1 INTO state.folded_to FROM fact_events f;
        state.shift := state.folded_to - pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
        EXECUTE format('ALTER TABLE fact_events ALTER COLUMN written_in SET DEFAULT pg_current_xact_id()::text::bigint + %s', state.shift);
        UPDATE analytics.fold_state SET folded_to = state.folded_to, shift = state.shift;
        DELETE FROM analytics.removed;
        UPDATE analytics.day_state SET sealed_to = -1;
        from_day := '-infinity';
        to_day := 'infinity';
    END IF;
    PERFORM analytics.forget_rollups(from_day, to_day, forget);

    INSERT INTO analytics.rollup_event
    SELECT c.day, c.event_name, c.currency, count(*), sum(c.events), sum(c.units), coalesce(sum(c.revenue), 0)
    FROM analytics.folded c
    WHERE c.event_time >= analytics.start_of(from_day) AND c.event_time < analytics.start_of(to_day + 1)
    GROUP BY 1, 2, 3;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    INSERT INTO analytics.rollup_product
    SELECT c.day, c.product_key, c.event_name, c.currency, count(*), sum(c.units), coalesce(sum(c.revenue), 0)
    FROM analytics.folded c
    WHERE c.event_time >= analytics.start_of(from_day) AND c.event_time < analytics.start_of(to_day + 1)
      AND c.event_name <> 'view_item_list' AND c.product_key IS NOT NULL
    GROUP BY 1, 2, 3, 4;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    INSERT INTO analytics.rollup_list
    SELECT c.day, c.list_key, c.event_name, c.list_position, count(*), sum(c.units)
    FROM analytics.folded c
    WHERE c.event_time >= analytics.start_of(from_day) AND c.event_time < analytics.start_of(to_day + 1)
      AND c.list_key IS NOT NULL
    GROUP BY 1, 2, 3, 4;
    GET DIAGNOSTICS made = ROW_COUNT; total := total + made;
    PERFORM analytics.fold();
    RETURN total;
END $$;
COMMENT ON FUNCTION analytics.rebuild_rollups IS
    'Counts the rollups of these days anew from the facts; returns the rows made. Days of months whose facts are gone are kept, unless forget is true. Writers don''t wait. Once after a restore from a dump on another server it is a must, unless one wants the views slow.';

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
        IF with_drop THEN
            EXECUTE format('DROP TABLE %I', retired);
        END IF;
        RETURN NEXT retired;
    END LOOP;
END $$;

-- What runs with the owner's rights must not be led to tables that somebody else puts in its way, and only triggers call it.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['transaction_number()', 'index_new_pages()', 'fold()', 'fold_when_due()', 'note_removed()', 'number_anew()',
                                'forget_all()', 'forget_rollups(date, date, boolean)', 'rebuild_rollups(date, date, boolean)'] LOOP
        EXECUTE format('ALTER FUNCTION analytics.%s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION analytics.%s FROM PUBLIC', name);
    END LOOP;
END $$;

SELECT analytics.fold();
