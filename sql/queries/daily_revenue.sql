-- What was sold on each day, each order counted once, what was refunded, and what is an order
-- worth?
--
-- Example:
--       day     | currency | orders | purchases | units | revenue  | refunds | net_revenue | revenue_per_order | purchases_per_order
--   ------------+----------+--------+-----------+-------+----------+---------+-------------+-------------------+---------------------
--    2026-11-19 | EUR      |     62 |        71 |    93 |  8984.88 |       0 |     8984.88 |            144.92 |                1.15
SELECT day, currency, orders, purchases, units, revenue, refunds, net_revenue,
       round(revenue_per_order, 2) AS revenue_per_order,
       round(purchases_per_order, 2) AS purchases_per_order
FROM analytics.daily_revenue(analytics.first_day(), analytics.last_day())
ORDER BY day DESC, currency
LIMIT 28;
