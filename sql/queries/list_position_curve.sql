-- How fast do clicks fall from the first position of a list to the last?
-- Positions shown fewer than 20 times are left out.
--
-- Example:
--      list   | list_position | impressions | clicks | click_through_rate
--   ----------+---------------+-------------+--------+--------------------
--    Shelf 1  |             0 |         532 |     28 |             0.0526
--    Shelf 1  |             1 |         532 |     28 |             0.0526
SELECT list, list_position, impressions, clicks, round(click_through_rate, 4) AS click_through_rate
FROM analytics.list_positions(analytics.first_day(), analytics.last_day(), analytics.at_least(20))
ORDER BY list, list_position
LIMIT 100;
