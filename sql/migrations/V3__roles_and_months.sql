-- Who may do what, and the months of the facts: made by whoever writes, dropped by whoever owns.
--
-- There is no BRIN index on event_time: the primary key begins with it, months are left out by their
-- bounds, and the analysts' questions ask for people and products, not for hours.

CREATE FUNCTION etl_make_month(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '1s' AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    since timestamptz := first::timestamp AT TIME ZONE 'UTC';
    until timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
    name text := to_char(first, '"fact_events_y"YYYY"m"MM');
BEGIN
    -- "etl mon" in ASCII. One at a time: two that make the same month would wait for each other.
    PERFORM pg_advisory_xact_lock(x'65746c206d6f6e'::bigint);
    -- A month that somebody has detached on purpose is left alone: its facts go to the default partition.
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    FOR attempt IN 1..10 LOOP
        BEGIN
            -- CREATE TABLE ... PARTITION OF would lock out every reader and writer of the facts. ATTACH
            -- locks only the default partition against them, and for a moment.
            EXECUTE format('CREATE TABLE %I (LIKE fact_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', name);
            EXECUTE format('COMMENT ON TABLE %I IS %L', name, 'Facts of ' || to_char(first, 'YYYY-MM') || ' (UTC).');
            EXECUTE format('WITH early AS (DELETE FROM fact_events_default WHERE event_time >= %L AND event_time < %L RETURNING *) '
                           'INSERT INTO %I SELECT * FROM early', since, until, name);
            EXECUTE format('ALTER TABLE fact_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, since, until);
            RETURN true;
        EXCEPTION WHEN check_violation THEN
            -- Somebody has put a fact of this month into the default partition since we looked.
            IF attempt = 10 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
    RETURN false;
END $$;

COMMENT ON FUNCTION etl_make_month(date) IS
    'Makes the partition of fact_events for the month of a date (UTC), and moves its facts there from the default partition. False where a table of that name is there already. Runs with the rights of the tables'' owner, so that the sink needs none.';

-- What runs with the owner's rights must not be led to tables that somebody else puts in its way.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION etl_make_month(date) SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE ALL ON FUNCTION etl_make_month(date) FROM PUBLIC;

CREATE FUNCTION etl_months()
RETURNS TABLE (name text, since timestamptz, until timestamptz, facts bigint, bytes bigint)
LANGUAGE sql STABLE AS $$
    SELECT part.relname::text, bounds[1]::timestamptz, bounds[2]::timestamptz,
           greatest(part.reltuples, 0)::bigint, pg_total_relation_size(part.oid)
    FROM pg_inherits
    JOIN pg_class part ON part.oid = inhrelid
    LEFT JOIN LATERAL regexp_match(pg_get_expr(part.relpartbound, part.oid), $re$FROM \('(.+)'\) TO \('(.+)'\)$re$) AS bounds ON true
    WHERE inhparent = 'fact_events'::regclass
    ORDER BY 2, 1
$$;

COMMENT ON FUNCTION etl_months() IS
    'The partitions of fact_events with the times they hold (the default one has none), the number of facts as the server estimates it, and their size with indexes.';

CREATE FUNCTION etl_retire_months(age interval, with_drop boolean) RETURNS SETOF text
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    retired text;
BEGIN
    IF age < interval '1 month' THEN
        RAISE EXCEPTION 'an age of % would take the month that is being written; name one of a month or more', age;
    END IF;
    FOR retired IN SELECT m.name FROM etl_months() m WHERE m.until <= now() - age ORDER BY m.since LOOP
        EXECUTE format('ALTER TABLE fact_events DETACH PARTITION %I', retired);
        IF with_drop THEN
            EXECUTE format('DROP TABLE %I', retired);
        END IF;
        RETURN NEXT retired;
    END LOOP;
END $$;

COMMENT ON FUNCTION etl_retire_months(interval, boolean) IS
    'Detaches the months of fact_events that ended longer ago than this, and drops them if asked to. Returns their names. Waits 5 s at most for queries that read the facts, then fails and changes nothing.';

CREATE FUNCTION etl_empty_default(earliest date, latest date) RETURNS TABLE (name text, moved bigint)
LANGUAGE plpgsql AS $$
DECLARE
    month date;
BEGIN
    FOR month, moved IN
        SELECT date_trunc('month', event_time AT TIME ZONE 'UTC')::date, count(*)
        FROM fact_events_default
        WHERE event_time >= earliest::timestamp AT TIME ZONE 'UTC' AND event_time < latest::timestamp AT TIME ZONE 'UTC' + interval '1 month'
        GROUP BY 1 ORDER BY 1
    LOOP
        IF etl_make_month(month) THEN
            name := to_char(month, '"fact_events_y"YYYY"m"MM');
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

COMMENT ON FUNCTION etl_empty_default(date, date) IS
    'Moves facts out of the default partition: makes the months between two dates that it holds facts of. Returns their names and the number of facts moved. Facts of a month that was detached stay.';

CREATE FUNCTION etl_grant_roles() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['etl_writer', 'etl_reader'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- made in another database of this server just now
            WHEN insufficient_privilege THEN
                RAISE NOTICE '% may not create roles: the group % is left out; have it made (CREATE ROLE % NOLOGIN), then SELECT etl_grant_roles()',
                    current_user, role, role;
        END;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_writer') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO etl_writer', current_schema());
        GRANT SELECT, INSERT, UPDATE ON fact_events, dim_product, dim_list, sink_offsets TO etl_writer;
        GRANT SELECT, INSERT, DELETE ON rejected_events TO etl_writer;
        GRANT SELECT ON refinery_schema_history TO etl_writer;
        GRANT EXECUTE ON FUNCTION etl_make_month(date) TO etl_writer;
        IF to_regprocedure('etl_remove_vanished(timestamptz[], text[], text[], integer[])') IS NOT NULL THEN
            GRANT EXECUTE ON FUNCTION etl_remove_vanished TO etl_writer;
        END IF;
        IF to_regprocedure('analytics.fold_when_due()') IS NOT NULL THEN
            GRANT USAGE ON SCHEMA analytics TO etl_writer;
            GRANT INSERT ON analytics.pending TO etl_writer;
            GRANT EXECUTE ON FUNCTION analytics.fold_when_due() TO etl_writer;
        END IF;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO etl_reader', current_schema());
        GRANT SELECT ON fact_events, dim_product, dim_list, rejected_events, sink_offsets, product_interactions TO etl_reader;
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO etl_reader', current_schema());
        IF to_regnamespace('analytics') IS NOT NULL THEN
            GRANT USAGE ON SCHEMA analytics TO etl_reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO etl_reader;
            ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO etl_reader;
        END IF;
    END IF;
END $$;

COMMENT ON FUNCTION etl_grant_roles() IS
    'Makes the groups etl_writer (what the sink needs) and etl_reader (what analysts need), as far as the user may, and gives them their rights. Later tables and views of the same owner can be read by etl_reader. Can be called again at any time.';

SELECT etl_grant_roles();

COMMENT ON COLUMN fact_events.source_topic IS
    'Fluvio topic of the record that brought the fact first; where the sink replaces facts (on-conflict: update), of the one that gave the row its content.';
COMMENT ON COLUMN fact_events.ingested_at IS 'When the transaction that wrote the row, or replaced its content, began.';
