-- The range in one row: people, events, facts, orders. Whoever sends neither user_id nor user_pseudo_id is nobody's.
SELECT count(DISTINCT coalesce(f.user_id, f.user_pseudo_id) COLLATE "C"), count(*) FILTER (WHERE f.item_ordinal <= 1), count(*),
       (SELECT count(*) FROM analytics.purchases p WHERE p.day BETWEEN $1::date AND $2::date)
FROM fact_events f
WHERE f.event_time >= analytics.start_of($1::date) AND f.event_time < analytics.start_of($2::date + 1)
