-- Which platforms lose people between checkout and purchase?
--
-- Example:
--    platform | checkout_starters | of_them_buyers | lost_rate
--   ----------+-------------------+----------------+-----------
--    ANDROID  |               253 |            213 |    0.1581
--    IOS      |               172 |            138 |    0.1977
SELECT coalesce(platform, '(none)') AS platform,
       count(*) FILTER (WHERE started)            AS checkout_starters,
       count(*) FILTER (WHERE started AND bought) AS of_them_buyers,
       round(count(*) FILTER (WHERE started AND NOT bought)::numeric / nullif(count(*) FILTER (WHERE started), 0), 4) AS lost_rate
FROM (
    SELECT platform, person, bool_or(started) AS started, bool_or(bought) AS bought
    FROM analytics.people(analytics.first_day(), analytics.last_day())
    WHERE started OR bought
    GROUP BY 1, 2
) people
GROUP BY 1
ORDER BY checkout_starters DESC, platform;
