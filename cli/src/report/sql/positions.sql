-- The first ten positions of all lists together (without a list) and of the ten lists with most
-- impressions.
WITH positions AS MATERIALIZED (
    SELECT * FROM analytics.list_positions($1::date, $2::date, 1)
), everywhere AS (
    SELECT list_position, sum(impressions)::bigint AS impressions, sum(clicks)::bigint AS clicks
    FROM positions GROUP BY list_position
    HAVING sum(impressions) >= $3::bigint
    ORDER BY list_position LIMIT 10
), largest AS (
    SELECT list_key, sum(impressions) AS impressions FROM positions
    GROUP BY list_key ORDER BY sum(impressions) DESC, list_key LIMIT 10
)
SELECT NULL::bigint, NULL::text, list_position, impressions, clicks, 0 AS place FROM everywhere
UNION ALL
SELECT p.list_key, p.list, p.list_position, p.impressions, p.clicks,
       row_number() OVER (ORDER BY l.impressions DESC, p.list_key)
FROM positions p JOIN largest l USING (list_key) JOIN everywhere e USING (list_position)
ORDER BY place, list_position
