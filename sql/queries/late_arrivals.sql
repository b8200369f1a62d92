-- How late do events arrive: by day of arrival, those older than a day, and those dated in the future?
--
-- Example:
--       day     | facts | late_facts | early_facts | median_delay
--   ------------+-------+------------+-------------+--------------
--    2026-11-20 |    90 |         35 |           0 | 10:00:04
--    2026-11-19 |  5744 |         34 |           0 | 00:00:55
SELECT day, facts, late_facts, early_facts, date_trunc('second', median_delay) AS median_delay
FROM analytics.lateness(analytics.first_day(), analytics.last_day())
ORDER BY day DESC
LIMIT 28;
