-- Partitions of the facts, which the sink makes and the owner drops, and who may do what.
--
-- There is no BRIN index on event_time: the primary key begins with it, and partitions are pruned
-- by their bounds.

CREATE FUNCTION etl_schema() RETURNS text STABLE PARALLEL SAFE
    RETURN (SELECT c.relnamespace::regnamespace FROM pg_class c
            WHERE c.oid = 'fact_events'::regclass);
COMMENT ON FUNCTION etl_schema IS 'The schema of the tables, quoted where it has to be.';

CREATE FUNCTION etl_partition_unit() RETURNS text IMMUTABLE PARALLEL SAFE RETURN 'month';
COMMENT ON FUNCTION etl_partition_unit IS
    'Setting: new partitions of fact_events hold a month or a day (UTC). Changed by '
    'etl_partition_by.';

CREATE FUNCTION etl_partition_by(unit text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF unit NOT IN ('month', 'day') THEN
        RAISE EXCEPTION 'partitions hold a month or a day, not a %', unit;
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION etl_partition_unit() RETURNS text '
                   'IMMUTABLE PARALLEL SAFE RETURN %L', unit);
END $$;
COMMENT ON FUNCTION etl_partition_by IS
    'Sets how much new partitions of fact_events hold: month or day. Those that exist stay as '
    'they are.';

CREATE FUNCTION etl_partitions()
RETURNS TABLE (name text, since timestamptz, until timestamptz, facts bigint, bytes bigint)
STABLE
BEGIN ATOMIC
    SELECT part.relname::text, bounds[1]::timestamptz, bounds[2]::timestamptz,
           greatest(part.reltuples, 0)::bigint, pg_total_relation_size(part.oid)
    FROM pg_inherits
    JOIN pg_class part ON part.oid = inhrelid
    LEFT JOIN LATERAL regexp_match(pg_get_expr(part.relpartbound, part.oid),
                                   $re$FROM \('(.+)'\) TO \('(.+)'\)$re$) AS bounds ON true
    WHERE inhparent = 'fact_events'::regclass
    ORDER BY 2, 1;
END;
COMMENT ON FUNCTION etl_partitions IS
    'The partitions of fact_events with the times they hold (the default one has none), the '
    'number of facts as the server estimates it, and their size with indexes.';

CREATE FUNCTION etl_add_partition(day date) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    home text := etl_schema();
    unit text := etl_partition_unit();
    starts timestamptz;
    ends timestamptz;
    name text;
    range text;
    has_facts boolean;
    moved bigint;
BEGIN
    -- "etl par" in ASCII. One at a time: two sessions that make the same partition would wait for
    -- each other.
    PERFORM pg_advisory_xact_lock(x'65746c20706172'::bigint);
    IF EXISTS (SELECT FROM etl_partitions() p
               WHERE p.since <= day::timestamp AT TIME ZONE 'UTC'
                   AND p.until > day::timestamp AT TIME ZONE 'UTC') THEN
        RETURN NULL;
    END IF;
    LOOP
        starts := date_trunc(unit, day::timestamp) AT TIME ZONE 'UTC';
        ends := (date_trunc(unit, day::timestamp) + ('1 ' || unit)::interval) AT TIME ZONE 'UTC';
        EXIT WHEN unit = 'day' OR NOT EXISTS (SELECT FROM etl_partitions() p
                                              WHERE p.since < ends AND p.until > starts);
        unit := 'day';  -- other days of the month have partitions of their own
    END LOOP;
    name := to_char(starts AT TIME ZONE 'UTC',
                    CASE unit WHEN 'day' THEN '"fact_events_y"YYYY"m"MM"d"DD'
                        ELSE '"fact_events_y"YYYY"m"MM' END);
    -- A partition that somebody has detached on purpose is left alone: its facts go to the default
    -- partition.
    IF to_regclass(format('%s.%I', home, name)) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    range := format('event_time >= %L AND event_time < %L', starts, ends);
    EXECUTE 'SELECT EXISTS (SELECT FROM fact_events_default WHERE ' || range || ')' INTO has_facts;
    IF has_facts THEN
        -- A reader that waits for the default partition knows the partitions of before, and would
        -- find moved facts in none of them.
        LOCK TABLE ONLY fact_events IN ACCESS EXCLUSIVE MODE;
    END IF;
    -- CREATE TABLE ... PARTITION OF would lock out every reader and writer of the facts. ATTACH locks
    -- out those of the default partition, so it is locked before its facts are moved: who waits for
    -- one of them would hold the partition that ATTACH then waits for.
    LOCK TABLE fact_events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %s.%I (LIKE fact_events INCLUDING DEFAULTS '
                   'INCLUDING CONSTRAINTS INCLUDING STORAGE)', home, name);
    EXECUTE format('COMMENT ON TABLE %s.%I IS %L', home, name,
                   format('Facts of one %s (UTC).', unit));
    EXECUTE format('WITH early AS (DELETE FROM fact_events_default WHERE %s RETURNING *) '
                   'INSERT INTO %s.%I SELECT * FROM early', range, home, name);
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved > 0 AND NOT has_facts THEN
        RAISE EXCEPTION 'facts of % have just come to fact_events_default; call again', name
            USING ERRCODE = 'lock_not_available';
    END IF;
    EXECUTE format('ALTER TABLE fact_events ATTACH PARTITION %s.%I FOR VALUES FROM (%L) TO (%L)',
                   home, name, starts, ends);
    RETURN name;
END $$;
COMMENT ON FUNCTION etl_add_partition IS
    'Makes the partition of fact_events for a day (UTC), and moves its facts there from the '
    'default partition. Returns its name, or NULL where the day has one or had one that was '
    'detached.';

CREATE FUNCTION etl_make_partition(day date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF day BETWEEN current_date - interval '10 years' AND current_date + interval '1 year' THEN
        RETURN etl_add_partition(day);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION etl_make_partition IS
    'etl_add_partition with the rights of the tables'' owner, so that the sink needs none. Makes '
    'partitions from ten years back to a year ahead, and returns NULL for other days.';
REVOKE ALL ON FUNCTION etl_make_partition FROM PUBLIC;

CREATE FUNCTION etl_retire_partitions(age interval, with_drop boolean) RETURNS SETOF text
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    home text := etl_schema();
    retired record;
BEGIN
    IF age < ('1 ' || etl_partition_unit())::interval THEN
        RAISE EXCEPTION
            'an age of % would take the partition that is being written; name one of a % or more',
            age, etl_partition_unit();
    END IF;
    FOR retired IN SELECT * FROM etl_partitions() p WHERE p.until <= now() - age
        ORDER BY p.since LOOP
        PERFORM analytics.keep_history(retired.since, retired.until);
        EXECUTE format('ALTER TABLE fact_events DETACH PARTITION %s.%I', home, retired.name);
        IF with_drop THEN
            EXECUTE format('DROP TABLE %s.%I', home, retired.name);
        END IF;
        RETURN NEXT retired.name;
    END LOOP;
END $$;
COMMENT ON FUNCTION etl_retire_partitions IS
    'Detaches the partitions of fact_events that ended longer ago than this, and drops them if '
    'asked to. Returns their names. The numbers of the schema analytics stay. Waits 5 s at most '
    'for queries that read the facts, then fails and changes nothing.';

CREATE FUNCTION etl_empty_default(earliest date, latest date)
RETURNS TABLE (name text, moved bigint)
LANGUAGE plpgsql AS $$
DECLARE
    day date;
BEGIN
    FOR day IN
        SELECT DISTINCT (event_time AT TIME ZONE 'UTC')::date FROM fact_events_default
        WHERE event_time >= earliest::timestamp AT TIME ZONE 'UTC'
            AND event_time < (latest + 1)::timestamp AT TIME ZONE 'UTC'
        ORDER BY 1
    LOOP
        name := etl_add_partition(day);
        IF name IS NOT NULL THEN
            EXECUTE format('SELECT count(*) FROM %s.%I', etl_schema(), name) INTO moved;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION etl_empty_default IS
    'Moves facts out of the default partition: makes the partitions of the days between two '
    'dates that it holds facts of. Returns their names and the number of facts moved. Facts of a '
    'partition that was detached stay.';

-- Events that are corrected: what a sink with `on-conflict: update` needs besides replacing facts.
CREATE FUNCTION etl_settle_events(times timestamptz[], event_ids text[], event_names text[],
                                     last_ordinals integer[], versions numeric[],
                                     sent_ats timestamptz[], is_correcting boolean, topic text,
                                     topic_partition integer)
RETURNS TABLE (place integer, outdated_offset bigint)
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    places       integer[];
    outdated     bigint[];
    gone_times   timestamptz[];
    gone_hashes  uuid[];
    late_times   timestamptz[];
    late_hashes  uuid[];
    first_sent   timestamptz[];
BEGIN
    -- Facts of this transaction are those with its time from its partition, since only one sink at
    -- a time writes a partition. OFFSET 0: each event is looked up by its time, instead of a join
    -- that reads the table.
    SELECT array_agg(e.place) FILTER (WHERE g.is_gone),
           array_agg(CASE WHEN f.is_outdated THEN f.source_offset END) FILTER (WHERE g.is_gone),
           array_agg(f.event_time) FILTER (WHERE g.is_gone),
           array_agg(f.fact_hash) FILTER (WHERE g.is_gone),
           array_agg(f.event_time) FILTER (WHERE NOT g.is_gone),
           array_agg(f.fact_hash) FILTER (WHERE NOT g.is_gone),
           array_agg(nullif(f.first_sent_at, '-infinity')) FILTER (WHERE NOT g.is_gone)
    INTO places, outdated, gone_times, gone_hashes, late_times, late_hashes, first_sent
    FROM unnest(times, event_ids, event_names, last_ordinals, versions, sent_ats) WITH ORDINALITY
        AS e (event_time, event_id, event_name, last_ordinal, version, sent_at, place),
         LATERAL (SELECT h.*, h.is_new AND h.version < h.stored_version AS is_outdated
                  FROM (SELECT n.*,
                               max(n.version) FILTER (WHERE NOT n.is_new) OVER ()
                                   AS stored_version,
                               least(min(n.sent_at) OVER (), coalesce(e.sent_at, '-infinity'))
                                   AS first_sent_at
                        FROM (SELECT g.event_time, g.fact_hash, g.item_ordinal, g.source_offset,
                                     coalesce(g.event_version, -1) AS version,
                                     coalesce(g.sent_at, '-infinity') AS sent_at,
                                     g.ingested_at = now() AND g.source_topic = topic
                                         AND g.source_partition = topic_partition AS is_new
                              FROM fact_events g
                              WHERE g.event_time = e.event_time AND g.event_id = e.event_id
                                  AND g.event_name = e.event_name OFFSET 0) n) h) f,
         LATERAL (SELECT (f.is_outdated
                          OR (coalesce(e.version, -1) >= coalesce(f.stored_version, -1)
                              AND (f.item_ordinal > e.last_ordinal
                                   OR (f.item_ordinal = 0 AND e.last_ordinal > 0)))) IS TRUE
                         AS is_gone) g
    WHERE g.is_gone OR (is_correcting AND f.sent_at > f.first_sent_at);
    IF late_times IS NOT NULL THEN
        UPDATE fact_events f SET sent_at = l.first_sent
        FROM unnest(late_times, late_hashes, first_sent) AS l (event_time, fact_hash, first_sent)
        WHERE f.event_time = l.event_time AND f.fact_hash = l.fact_hash;
    END IF;
    IF places IS NOT NULL THEN
        DELETE FROM fact_events f USING unnest(gone_times, gone_hashes) AS g (event_time, fact_hash)
        WHERE f.event_time = g.event_time AND f.fact_hash = g.fact_hash;
    END IF;
    RETURN QUERY SELECT * FROM unnest(places, outdated);
END $$;
COMMENT ON FUNCTION etl_settle_events IS
    'Settles events that came in several versions, in whichever order, after the facts of a batch '
    'are written. Of events whose newest version in the batch has fewer items (last_ordinals: the '
    'last one''s item_ordinal; 0: none; NULL: unknown) it removes the facts of the items that they '
    'no longer have, and facts of the batch whose event is stored in a newer version. Returns a '
    'row for each fact removed: the place of the event, from 1, and for the latter facts their '
    'source_offset. If is_correcting, the other facts of an event get the earliest sent_at of its '
    'versions (sent_ats: of those in the batch), of the facts it removes, too. The sink calls it '
    'with on-conflict: update; it needs no right to delete.';
REVOKE ALL ON FUNCTION etl_settle_events FROM PUBLIC;

-- A planted function runs with the rights of whoever calls it, and can match the arguments of a
-- call better than the server's own. So no function of ours looks for names in a schema that others
-- may create in.
CREATE FUNCTION etl_pin_functions() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ours text := '(?<![.\w"])(fact_events|fact_events_default|dim_product|dim_list|rejected_events|'
        'sink_offsets|sink_clusters|product_interactions|refinery_schema_history'
        || (SELECT string_agg('|' || p.proname, '') FROM pg_proc p
            WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'etl\_%')
        || ')(?![\w"])';
    unpinned regprocedure;
BEGIN
    FOR unpinned IN
        SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE (p.pronamespace = 'analytics'::regnamespace
               OR p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'etl\_%'
                   AND p.proname <> 'etl_pin_functions')
          -- Bodies that are parsed already have no names to look for. Immutable functions are
          -- called for each row, and read no tables.
          AND l.lanname IN ('plpgsql', 'sql') AND p.prosqlbody IS NULL AND p.provolatile <> 'i'
          AND p.proconfig::text NOT LIKE '%search_path=pg_catalog, pg_temp%' IS NOT FALSE
    LOOP
        EXECUTE regexp_replace(pg_get_functiondef(unpinned), ours,
                               quote_ident(current_schema()) || '.\1', 'g');
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', unpinned);
    END LOOP;
END $$;
COMMENT ON FUNCTION etl_pin_functions IS
    'Pins the functions of this project to pg_catalog: writes the schema of the tables before '
    'their names, and sets search_path. The last statement of a migration that creates functions.';

CREATE FUNCTION etl_grant_roles() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['etl_writer', 'etl_reader', 'etl_operator'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- made in another database of this server just now
            WHEN insufficient_privilege THEN
                RAISE NOTICE '% may not create the role %; ask an administrator to CREATE ROLE % '
                    'NOLOGIN, then SELECT etl_grant_roles()', current_user, role, role;
        END;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_writer') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO etl_writer', etl_schema());
        GRANT USAGE ON SCHEMA analytics TO etl_writer;
        GRANT SELECT, INSERT, UPDATE ON fact_events, dim_product, dim_list,
        sink_offsets, sink_clusters TO etl_writer;
        GRANT SELECT, INSERT, DELETE ON rejected_events TO etl_writer;
        GRANT SELECT ON refinery_schema_history TO etl_writer;
        GRANT INSERT (hour) ON analytics.touched_hours TO etl_writer;
        GRANT EXECUTE ON FUNCTION etl_make_partition, etl_settle_events,
        analytics.refresh TO etl_writer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO etl_reader', etl_schema());
        GRANT USAGE ON SCHEMA analytics TO etl_reader;
        GRANT SELECT ON fact_events, dim_product, dim_list, sink_offsets, product_interactions
        TO etl_reader;
        -- All but raw.
        GRANT SELECT (id, reason, detail, at_path, raw_encoding, raw_hash, source_topic,
                      source_partition, source_offset, source_key, ordinal, first_seen)
        ON rejected_events TO etl_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO etl_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_operator') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO etl_operator', etl_schema());
        GRANT SELECT, DELETE ON rejected_events TO etl_operator;
        GRANT SELECT, UPDATE (set_aside) ON sink_offsets TO etl_operator;
    END IF;
END $$;
COMMENT ON FUNCTION etl_grant_roles IS
    'Makes the groups etl_writer (what the sink needs), etl_reader (what analysts need) and '
    'etl_operator (rejected events with their payloads), as far as the user may, and gives them '
    'their rights. Tables and views outside of the schema analytics that are made later are '
    'granted to nobody. Can be called again at any time.';
