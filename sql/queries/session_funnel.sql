-- How many sessions take each step after all steps before it?
-- A closed funnel: the steps are taken in this order within one session.
--
-- Example:
--    step |   event_name   | sessions | rate_of_first | rate_of_step_before
--   ------+----------------+----------+---------------+---------------------
--       1 | view_item_list |    20000 |        1.0000 |
--       3 | view_item      |    14357 |        0.7179 |              0.7179
--       5 | begin_checkout |     6558 |        0.3279 |              0.4568
SELECT step, event_name, sessions, round(rate_of_first, 4) AS rate_of_first,
       round(rate_of_step_before, 4) AS rate_of_step_before
FROM analytics.session_funnel(analytics.first_day(), analytics.last_day())
ORDER BY step;
