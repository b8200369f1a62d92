-- Which lists do sessions begin with, and how do they go on from there?
-- The entry list is the first list that the session showed. Lists with fewer than 20 sessions are
-- left out.
--
-- Example:
--    entry_list | sessions | bounce_rate | conversion_rate
--   ------------+----------+-------------+-----------------
--    Shelf 1    |      512 |      0.1348 |          0.2109
SELECT value AS entry_list, sessions, round(bounce_rate, 4) AS bounce_rate,
       round(conversion_rate, 4) AS conversion_rate
FROM analytics.sessions_by('entry_list', analytics.first_day(), analytics.last_day())
WHERE sessions >= analytics.at_least(20)
ORDER BY sessions DESC, entry_list
LIMIT 20;
