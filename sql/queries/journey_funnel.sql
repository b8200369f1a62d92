-- How many people take each step of the shop after those before it, within 7 days of their first
-- step?
-- Sessions count in the order in which they begin. A step that the shop
-- does not send is left out.
--
-- Example:
--   step |   event_name   | people | rate_of_first | rate_of_step_before
--  ------+----------------+--------+---------------+---------------------
--      1 | view_item_list |     25 |        1.0000 |
--      2 | select_item    |     19 |        0.7600 |              0.7600
--      3 | view_item      |     19 |        0.7600 |              1.0000
--      4 | add_to_cart    |     13 |        0.5200 |              0.6842
--      5 | begin_checkout |     11 |        0.4400 |              0.8462
--      6 | purchase       |     10 |        0.4000 |              0.9091
SELECT step, event_name, people, round(rate_of_first, 4) AS rate_of_first,
       round(rate_of_step_before, 4) AS rate_of_step_before
FROM analytics.journey_funnel(7, analytics.first_day(), analytics.last_day())
ORDER BY step;
