-- Which lists do people click in, and what did each sell?
-- Lists shown fewer than 20 times are left out. A list that sold in two currencies has two rows.
--
-- Example:
--      list   | impressions | viewers | clicks | click_through_rate | click_through_user_rate | engagement_rate | orders | revenue | currency
--   ----------+-------------+---------+--------+--------------------+-------------------------+-----------------+--------+---------+----------
--    Shelf 50 |         452 |      63 |     58 |             0.1283 |                  0.8413 |          0.1350 |      8 | 1597.49 | EUR
SELECT list, impressions, viewers, clicks,
       round(click_through_rate, 4)      AS click_through_rate,
       round(click_through_user_rate, 4) AS click_through_user_rate,
       round(engagement_rate, 4)         AS engagement_rate,
       orders, revenue, currency
FROM analytics.list_performance(analytics.first_day(), analytics.last_day(), analytics.at_least(20))
ORDER BY click_through_user_rate DESC NULLS LAST, impressions DESC, list
LIMIT 10;
