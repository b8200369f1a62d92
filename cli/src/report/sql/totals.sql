-- The range in one row: people, events, facts, orders. Whoever sends neither user_id nor user_pseudo_id is nobody's.
SELECT (SELECT count(DISTINCT p.person COLLATE "C") FROM analytics.people($1::date, $2::date) p),
       coalesce(sum(c.events), 0)::bigint, coalesce(sum(c.interactions), 0)::bigint,
       (SELECT count(*) FROM analytics.orders($1::date, $2::date))
FROM analytics.event_counts c
WHERE c.day BETWEEN $1::date AND $2::date
