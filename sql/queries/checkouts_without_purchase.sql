-- Which platforms lose people between checkout and purchase?
-- People with a begin_checkout in the range, and those of them without a purchase in it.
--
-- Example:
--    platform | checkout_starters | of_them_buyers | abandonment_rate
--   ----------+-------------------+----------------+------------------
--    ANDROID  |               253 |            213 |           0.1581
--    IOS      |               172 |            138 |           0.1977
SELECT coalesce(platform, 'no platform') AS platform,
       count(*) FILTER (WHERE done & 32 > 0)                  AS checkout_starters,
       count(*) FILTER (WHERE done & 32 > 0 AND done & 64 > 0) AS of_them_buyers,
       round(count(*) FILTER (WHERE done & 32 > 0 AND done & 64 = 0)::numeric
             / nullif(count(*) FILTER (WHERE done & 32 > 0), 0), 4) AS abandonment_rate
FROM (
    SELECT platform, person, bit_or(done) AS done
    FROM analytics.people(analytics.first_day(), analytics.last_day())
    GROUP BY 1, 2
) people
GROUP BY 1
ORDER BY checkout_starters DESC, platform;
