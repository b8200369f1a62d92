-- How many sessions were there each day, which part of them was engaged, bounced, and bought
-- something?
-- bounce_rate: sessions with one event. ga4_bounce_rate: sessions that were not engaged, which is
-- what GA4 calls bounce rate. Put platform, entry_list or all in the place of day for these.
--
-- Example:
--       day     | sessions | engagement_rate | bounce_rate | ga4_bounce_rate | conversion_rate
--   ------------+----------+-----------------+-------------+-----------------+-----------------
--    2026-11-19 |      300 |          0.8567 |      0.1433 |          0.1433 |          0.2000
SELECT value AS day, sessions, round(engagement_rate, 4) AS engagement_rate,
       round(bounce_rate, 4) AS bounce_rate,
       round(ga4_bounce_rate, 4) AS ga4_bounce_rate, round(conversion_rate, 4) AS conversion_rate
FROM analytics.sessions_by('day', analytics.first_day(), analytics.last_day())
ORDER BY day DESC
LIMIT 28;
