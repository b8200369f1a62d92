-- Which rules of the tracking plan are violated?
--
-- Example:
--       day     | event_name |        rule         | facts |        last_at
--   ------------+------------+---------------------+-------+------------------------
--    2026-11-19 | purchase   | currency: required  |    13 | 2026-11-19 21:20:00+00
--    2026-11-18 | view_item  | items.price: type   |     2 | 2026-11-18 08:15:00+00
SELECT day, event_name, rule, facts, last_at
FROM analytics.plan_violations(analytics.first_day(), analytics.last_day())
ORDER BY day DESC, facts DESC, event_name, rule
LIMIT 50;
