-- People by day, by platform and in all. Events without user_id and user_pseudo_id have no person.
WITH people AS MATERIALIZED (
    SELECT p.person, p.day, coalesce(p.platform, 'no platform') AS platform, p.done,
           p.day >= $1::date AS is_shown, p.day BETWEEN $1::date AND $4::date AS is_compared,
           coalesce(p.day <= $5::date, false) AS is_before
    FROM analytics.people($3::date, $2::date) p
), days AS (
    SELECT p.day, p.person, bit_or(p.done) AS done FROM people p GROUP BY 1, 2
), platforms AS (
    SELECT p.platform, p.person, bool_or(p.is_shown) AS is_shown,
           bool_or(p.is_compared) AS is_compared, bool_or(p.is_before) AS is_before
    FROM people p GROUP BY GROUPING SETS ((p.platform, p.person), (p.person))
)
SELECT d.day, NULL AS platform, count(*), count(*) FILTER (WHERE d.done & 2 > 0),
       count(*) FILTER (WHERE d.done & 8 > 0), count(*) FILTER (WHERE d.done & 32 > 0),
       count(*) FILTER (WHERE d.done & 64 > 0)
FROM days d GROUP BY d.day
UNION ALL
SELECT NULL, p.platform, count(*) FILTER (WHERE p.is_shown), count(*) FILTER (WHERE p.is_compared),
       count(*) FILTER (WHERE p.is_before), 0, 0
FROM platforms p GROUP BY p.platform
