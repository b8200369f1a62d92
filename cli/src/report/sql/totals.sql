-- The range in one row: people, events, facts. Whoever sends neither user_id nor user_pseudo_id is nobody's.
SELECT (SELECT count(DISTINCT p.person) FROM analytics.people($1::date, $2::date) p),
       (SELECT coalesce(sum(f.events), 0)::bigint FROM analytics.daily_funnel($1::date, $2::date) f),
       (SELECT coalesce(sum(l.facts), 0)::bigint FROM analytics.lateness($1::date, $2::date) l)
