-- What was sold on each day, each order counted once, and what is an order worth?
--
-- Example:
--       day     | currency | orders | units | revenue  | revenue_per_order
--   ------------+----------+--------+-------+----------+-------------------
--    2026-11-19 | EUR      |     62 |    93 |  8984.88 |            144.92
--    2026-11-18 | EUR      |     77 |   112 | 10991.04 |            142.74
SELECT day, currency, count(*) AS orders, sum(units) AS units, sum(item_revenue) AS revenue,
       round(sum(item_revenue) / nullif(count(*), 0), 2) AS revenue_per_order
FROM analytics.orders(analytics.first_day(), analytics.last_day())
GROUP BY day, currency
ORDER BY day DESC, currency
LIMIT 28;
