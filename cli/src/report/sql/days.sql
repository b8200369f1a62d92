-- One row for each day from the first with facts to the last, also for those without.
WITH people AS (
    SELECT p.day, count(DISTINCT p.person COLLATE "C") AS people FROM analytics.people($1::date, $2::date) p GROUP BY p.day
), counts AS (
    SELECT c.day, sum(c.events)::bigint AS events
    FROM analytics.event_counts c
    WHERE c.day BETWEEN $1::date AND $2::date
    GROUP BY c.day
    HAVING sum(c.interactions) > 0
), orders AS (
    SELECT p.day, count(*) AS orders FROM analytics.orders($1::date, $2::date) p GROUP BY p.day
), days AS (
    SELECT analytics.day_of(moment) AS day
    FROM (SELECT min(day)::timestamp AS first, max(day)::timestamp AS last FROM counts) bounds,
         LATERAL generate_series(first AT TIME ZONE 'UTC', last AT TIME ZONE 'UTC', interval '24 hours') moment
)
SELECT d.day, coalesce(p.people, 0), coalesce(c.events, 0), coalesce(n.list_viewers, 0), coalesce(n.viewers, 0),
       coalesce(n.checkout_starters, 0), coalesce(n.buyers, 0), n.checkout_to_purchase_rate::float8, coalesce(o.orders, 0)
FROM days d
LEFT JOIN people p USING (day)
LEFT JOIN counts c USING (day)
LEFT JOIN analytics.funnel_people($1::date, $2::date) n USING (day)
LEFT JOIN orders o USING (day)
ORDER BY d.day
