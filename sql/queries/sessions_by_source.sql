-- Where do sessions come from, and what becomes of them?
-- last_source is the last source that a session names and that is not (direct). Others instead of
-- it: first_source, last_medium, last_campaign, device_category, country, app_version.
-- Sources with fewer than 20 sessions are left out.
--
-- Example:
--    last_source | sessions | engagement_rate | bounce_rate | conversion_rate
--   -------------+----------+-----------------+-------------+-----------------
--    google      |     1204 |          0.7317 |      0.1420 |          0.0613
SELECT value AS last_source, sessions, round(engagement_rate, 4) AS engagement_rate,
       round(bounce_rate, 4) AS bounce_rate, round(conversion_rate, 4) AS conversion_rate
FROM analytics.sessions_by('last_source', analytics.first_day(), analytics.last_day())
WHERE sessions >= analytics.at_least(20)
ORDER BY sessions DESC, last_source
LIMIT 20;
