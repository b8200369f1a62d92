-- What do people search for, and what comes of it?
-- Search lists are told by analytics.search_lists(). Terms shown fewer than 5 products are left
-- out.
--
-- Example:
--    search_term | list_views | impressions | viewers | clicks | click_through_rate | orders
--   -------------+------------+-------------+---------+--------+--------------------+--------
--    red shoes   |         41 |         205 |      33 |     12 |             0.0585 |      2
SELECT search_term, list_views, impressions, viewers, clicks,
       round(click_through_rate, 4) AS click_through_rate, orders
FROM analytics.search_terms(analytics.first_day(), analytics.last_day(), analytics.at_least(5))
ORDER BY impressions DESC, search_term
LIMIT 20;
