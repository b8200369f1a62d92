-- Partitions of the facts, which the sink makes and the owner drops, and who may do what.
--
-- There is no BRIN index on event_time: the primary key begins with it, and partitions are pruned by their bounds.

CREATE FUNCTION etl_partition_unit() RETURNS text IMMUTABLE PARALLEL SAFE RETURN 'month';
COMMENT ON FUNCTION etl_partition_unit IS 'Setting: new partitions of fact_events hold a month or a day (UTC). Changed by etl_partition_by.';

CREATE FUNCTION etl_partition_by(unit text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF unit NOT IN ('month', 'day') THEN
        RAISE EXCEPTION 'partitions hold a month or a day, not a %', unit;
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION etl_partition_unit() RETURNS text IMMUTABLE PARALLEL SAFE RETURN %L', unit);
END $$;
COMMENT ON FUNCTION etl_partition_by IS 'Sets how much new partitions of fact_events hold: month or day. Those that exist stay as they are.';

CREATE FUNCTION etl_partitions()
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
COMMENT ON FUNCTION etl_partitions IS
    'The partitions of fact_events with the times they hold (the default one has none), the number of facts as the server estimates it, and their size with indexes.';

CREATE FUNCTION etl_make_partition(day date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '1s' AS $$
DECLARE
    unit text := etl_partition_unit();
    starts timestamptz;
    ends timestamptz;
    name text;
BEGIN
    -- "etl par" in ASCII. One at a time: two sessions that make the same partition would wait for each other.
    PERFORM pg_advisory_xact_lock(x'65746c20706172'::bigint);
    IF EXISTS (SELECT FROM etl_partitions() p WHERE p.since <= day::timestamp AT TIME ZONE 'UTC' AND p.until > day::timestamp AT TIME ZONE 'UTC') THEN
        RETURN NULL;
    END IF;
    LOOP
        starts := date_trunc(unit, day::timestamp) AT TIME ZONE 'UTC';
        ends := (date_trunc(unit, day::timestamp) + ('1 ' || unit)::interval) AT TIME ZONE 'UTC';
        EXIT WHEN unit = 'day' OR NOT EXISTS (SELECT FROM etl_partitions() p WHERE p.since < ends AND p.until > starts);
        unit := 'day';  -- other days of the month have partitions of their own
    END LOOP;
    name := to_char(starts AT TIME ZONE 'UTC', CASE unit WHEN 'day' THEN '"fact_events_y"YYYY"m"MM"d"DD' ELSE '"fact_events_y"YYYY"m"MM' END);
    -- A partition that somebody has detached on purpose is left alone: its facts go to the default partition.
    IF to_regclass(name) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    FOR attempt IN 1..10 LOOP
        BEGIN
            -- CREATE TABLE ... PARTITION OF would lock out every reader and writer of the facts. ATTACH
            -- locks only the default partition against them, and for a moment.
            EXECUTE format('CREATE TABLE %I (LIKE fact_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', name);
            EXECUTE format('COMMENT ON TABLE %I IS %L', name, format('Facts of one %s (UTC).', unit));
            EXECUTE format('WITH early AS (DELETE FROM fact_events_default WHERE event_time >= %L AND event_time < %L RETURNING *) '
                           'INSERT INTO %I SELECT * FROM early', starts, ends, name);
            EXECUTE format('ALTER TABLE fact_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, starts, ends);
            RETURN name;
        EXCEPTION WHEN check_violation THEN
            -- A fact of this partition came into the default one since we looked.
            IF attempt = 10 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION etl_make_partition IS
    'Makes the partition of fact_events for a day (UTC), and moves its facts there from the default partition. Returns its name, or NULL where the day has one or had one that was detached. Runs with the rights of the tables'' owner, so that the sink needs none.';

-- What runs with the owner's rights must not be led to tables that somebody else puts in its way.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION etl_make_partition SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE ALL ON FUNCTION etl_make_partition FROM PUBLIC;

CREATE FUNCTION etl_retire_partitions(age interval, with_drop boolean) RETURNS SETOF text
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    retired record;
BEGIN
    IF age < ('1 ' || etl_partition_unit())::interval THEN
        RAISE EXCEPTION 'an age of % would take the partition that is being written; name one of a % or more', age, etl_partition_unit();
    END IF;
    FOR retired IN SELECT * FROM etl_partitions() p WHERE p.until <= now() - age ORDER BY p.since LOOP
        PERFORM analytics.keep_history(retired.since, retired.until);
        EXECUTE format('ALTER TABLE fact_events DETACH PARTITION %I', retired.name);
        IF with_drop THEN
            EXECUTE format('DROP TABLE %I', retired.name);
        END IF;
        RETURN NEXT retired.name;
    END LOOP;
END $$;
COMMENT ON FUNCTION etl_retire_partitions IS
    'Detaches the partitions of fact_events that ended longer ago than this, and drops them if asked to. Returns their names. The numbers of the schema analytics stay. Waits 5 s at most for queries that read the facts, then fails and changes nothing.';

CREATE FUNCTION etl_empty_default(earliest date, latest date) RETURNS TABLE (name text, moved bigint)
LANGUAGE plpgsql AS $$
DECLARE
    day date;
BEGIN
    FOR day IN
        SELECT DISTINCT (event_time AT TIME ZONE 'UTC')::date FROM fact_events_default
        WHERE event_time >= earliest::timestamp AT TIME ZONE 'UTC' AND event_time < (latest + 1)::timestamp AT TIME ZONE 'UTC'
        ORDER BY 1
    LOOP
        name := etl_make_partition(day);
        IF name IS NOT NULL THEN
            EXECUTE format('SELECT count(*) FROM %I', name) INTO moved;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION etl_empty_default IS
    'Moves facts out of the default partition: makes the partitions of the days between two dates that it holds facts of. Returns their names and the number of facts moved. Facts of a partition that was detached stay.';

-- Events that are corrected: what a sink with `on-conflict: update` needs besides replacing facts.
CREATE FUNCTION etl_remove_vanished(times timestamptz[], event_ids text[], event_names text[], last_ordinals integer[]) RETURNS integer[]
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    places       integer[];
    gone_times   timestamptz[];
    gone_hashes  uuid[];
BEGIN
    -- OFFSET 0: each event is looked up by its time, instead of a join that reads the table.
    SELECT array_agg(e.place), array_agg(f.event_time), array_agg(f.fact_hash) INTO places, gone_times, gone_hashes
    FROM unnest(times, event_ids, event_names, last_ordinals) WITH ORDINALITY AS e (event_time, event_id, event_name, last_ordinal, place),
         LATERAL (SELECT g.event_time, g.fact_hash FROM fact_events g
                  WHERE g.event_time = e.event_time AND g.event_id = e.event_id AND g.event_name = e.event_name
                    AND (g.item_ordinal > e.last_ordinal OR (g.item_ordinal = 0 AND e.last_ordinal > 0)) OFFSET 0) f;
    IF places IS NOT NULL THEN
        DELETE FROM fact_events f USING unnest(gone_times, gone_hashes) AS g (event_time, fact_hash)
        WHERE f.event_time = g.event_time AND f.fact_hash = g.fact_hash;
    END IF;
    RETURN coalesce(places, '{}');
END $$;
COMMENT ON FUNCTION etl_remove_vanished IS
    'Of events that came again with fewer items (the last one''s item_ordinal; 0: none), removes the facts of the items that they no longer have. Returns the place of the event, from 1, for each fact removed. The sink calls it with on-conflict: update; it needs no right to delete.';
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION etl_remove_vanished SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE ALL ON FUNCTION etl_remove_vanished FROM PUBLIC;

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
        GRANT USAGE ON SCHEMA analytics TO etl_writer;
        GRANT SELECT, INSERT, UPDATE ON fact_events, dim_product, dim_list, sink_offsets TO etl_writer;
        GRANT SELECT, INSERT, DELETE ON rejected_events TO etl_writer;
        GRANT SELECT ON refinery_schema_history TO etl_writer;
        GRANT INSERT ON analytics.touched_hours TO etl_writer;
        GRANT EXECUTE ON FUNCTION etl_make_partition, etl_remove_vanished, analytics.refresh TO etl_writer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO etl_reader', current_schema());
        GRANT USAGE ON SCHEMA analytics TO etl_reader;
        GRANT SELECT ON fact_events, dim_product, dim_list, rejected_events, sink_offsets, product_interactions TO etl_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO etl_reader;
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO etl_reader', current_schema());
        ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO etl_reader;
    END IF;
END $$;
COMMENT ON FUNCTION etl_grant_roles IS
    'Makes the groups etl_writer (what the sink needs) and etl_reader (what analysts need), as far as the user may, and gives them their rights. Later tables and views of the same owner can be read by etl_reader. Can be called again at any time.';
