-- One row for each day from the first with facts to the last, also for those without.
WITH facts AS (
    SELECT analytics.day_of(f.event_time) AS day, count(DISTINCT coalesce(f.user_id, f.user_pseudo_id) COLLATE "C") AS people,
           count(*) FILTER (WHERE f.item_ordinal <= 1) AS events
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of($1::date) AND f.event_time < analytics.start_of($2::date + 1)
    GROUP BY 1
), orders AS (
    SELECT p.day, count(*) AS orders FROM analytics.purchases p WHERE p.day BETWEEN $1::date AND $2::date GROUP BY 1
), days AS (
    SELECT analytics.day_of(moment) AS day
    FROM (SELECT min(day)::timestamp AS first, max(day)::timestamp AS last FROM facts) bounds,
         LATERAL generate_series(first AT TIME ZONE 'UTC', last AT TIME ZONE 'UTC', interval '24 hours') moment
)
SELECT d.day, coalesce(f.people, 0), coalesce(f.events, 0), coalesce(n.list_viewers, 0), coalesce(n.viewers, 0),
       coalesce(n.checkout_starters, 0), coalesce(n.buyers, 0), n.checkout_to_purchase_rate::float8, coalesce(o.orders, 0)
FROM days d
LEFT JOIN facts f USING (day)
LEFT JOIN analytics.funnel_people($1::date, $2::date) n USING (day)
LEFT JOIN orders o USING (day)
ORDER BY d.day
