-- The range in one row: people, events, facts. Whoever sends neither user_id nor user_pseudo_id is nobody's.
SELECT (SELECT count(DISTINCT p.person COLLATE "C") FROM analytics.people($1::date, $2::date) p),
       coalesce(sum(c.events), 0)::bigint, coalesce(sum(c.interactions), 0)::bigint
FROM analytics.event_counts c
WHERE c.day BETWEEN $1::date AND $2::date
