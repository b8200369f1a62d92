-- Which lists do people click in, and what did each sell?
-- Lists shown fewer than 20 times are left out.
--
-- Example:
--      list   | impressions | viewers | clicks | click_through_user_rate | engagement_rate | purchases | revenue | currency
--   ----------+-------------+---------+--------+-------------------------+-----------------+-----------+---------+----------
--    Shelf 50 |         630 |      89 |     75 |                  0.7978 |          0.1260 |        10 | 1914.14 | EUR
--    Shelf 40 |         738 |      93 |     73 |                  0.6989 |          0.1078 |        13 | 2149.99 | EUR
SELECT list, impressions, viewers, clicks,
       round(click_through_user_rate, 4) AS click_through_user_rate,
       round(engagement_rate, 4)         AS engagement_rate,
       purchases, revenue, currency
FROM analytics.list_performance(analytics.first_day(), analytics.last_day(), analytics.at_least(20))
ORDER BY click_through_user_rate DESC NULLS LAST, impressions DESC, list
LIMIT 10;
