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
SELECT etl_grant_roles();
