-- One row for each day from the first with facts to the last, also for those without.
WITH funnel AS (
    SELECT f.day, f.events, f.orders FROM analytics.daily_funnel($1::date, $2::date) f
), people AS (
    SELECT * FROM analytics.daily_people($1::date, $2::date)
), days AS (
    SELECT moment::date AS day
    FROM (SELECT min(day)::timestamp AS first, max(day)::timestamp AS last FROM funnel) bounds,
         LATERAL generate_series(first, last, interval '1 day') moment
)
SELECT d.day, coalesce(p.people, 0), coalesce(f.events, 0), coalesce(p.list_viewers, 0), coalesce(p.viewers, 0),
       coalesce(p.checkout_starters, 0), coalesce(p.buyers, 0), p.checkout_to_purchase_user_rate::float8, coalesce(f.orders, 0)
FROM days d
LEFT JOIN people p USING (day)
LEFT JOIN funnel f USING (day)
ORDER BY d.day
