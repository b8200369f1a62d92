-- How late do the events of each day arrive: how many after more than a day, how many dated in the
-- future, and the half of them?
--
-- Example:
--       day     | facts | late_facts | early_facts | median_delay
--   ------------+-------+------------+-------------+--------------
--    2026-11-20 |  5970 |         25 |           0 | 00:00:55
--    2026-11-19 |  5746 |         44 |           0 | 00:00:56
SELECT day, facts, late_facts, early_facts, justify_hours(median_delay) AS median_delay
FROM analytics.lateness(analytics.first_day(), analytics.last_day())
ORDER BY day DESC
LIMIT 28;
