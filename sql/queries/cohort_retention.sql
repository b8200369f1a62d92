-- Of the people who first came in a week, how many come again in the weeks after, and how many buy
-- then?
-- Put order in the place of visit for people who first bought in a week, and day or month in the
-- place of week.
--
-- Example:
--      cohort   | period | cohort_people | people | retention_rate | buyers | repeat_rate
--   ------------+--------+---------------+--------+----------------+--------+-------------
--    2026-11-02 |      0 |          2839 |   2839 |         1.0000 |   1156 |      0.4072
--    2026-11-02 |      1 |          2839 |   2423 |         0.8535 |    936 |      0.3297
SELECT cohort, period, cohort_people, people, round(retention_rate, 4) AS retention_rate, buyers,
       round(repeat_rate, 4) AS repeat_rate
FROM analytics.cohorts('week', 'visit', analytics.first_day(), analytics.last_day())
ORDER BY cohort DESC, period
LIMIT 60;
