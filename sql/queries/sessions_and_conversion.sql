-- How many sessions were there each day, and which part of them bought something?
--
-- Example:
--       day     | sessions | engaged_sessions | converted_sessions | engagement_rate | conversion_rate
--   ------------+----------+------------------+--------------------+-----------------+-----------------
--    2026-11-20 |        1 |                1 |                  0 |          1.0000 |          0.0000
--    2026-11-19 |      300 |              257 |                 60 |          0.8567 |          0.2000
SELECT day, sessions, engaged_sessions, converted_sessions,
       round(engagement_rate, 4) AS engagement_rate, round(conversion_rate, 4) AS conversion_rate
FROM analytics.daily_sessions(analytics.first_day(), analytics.last_day())
ORDER BY day DESC
LIMIT 28;
