-- How do sessions go on each platform: how many are engaged, bounce, or end with a purchase?
-- In place of platform put device_category, country or app_version. For the week before this one put
-- date_trunc('week', current_date)::date - 7 and date_trunc('week', current_date)::date - 1 in the
-- place of the days.
--
-- Example:
--    platform | sessions | engagement_rate | bounce_rate | conversion_rate
--   ----------+----------+-----------------+-------------+-----------------
--    ANDROID  |     2412 |          0.9130 |      0.0871 |          0.2104
SELECT value AS platform, sessions, round(engagement_rate, 4) AS engagement_rate,
       round(bounce_rate, 4) AS bounce_rate, round(conversion_rate, 4) AS conversion_rate
FROM analytics.sessions_by('platform', analytics.first_day(), analytics.last_day())
ORDER BY sessions DESC, platform;
