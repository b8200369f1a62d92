SELECT l.day, l.facts, l.late_facts, (l.late_facts::numeric / nullif(l.facts, 0))::float8,
       l.early_facts, extract(epoch FROM l.median_delay)::float8
FROM analytics.lateness($1::date, $2::date) l
ORDER BY l.day
