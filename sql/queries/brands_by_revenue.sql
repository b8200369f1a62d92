-- Which brands earn most, and what part of all revenue in the currency is theirs?
-- orders have a line of the brand; an order with two brands is one of each. For other dimensions
-- put platform, category, list, coupon or all in the place of brand.
--
-- Example:
--      brand    | currency | orders | purchases | units | revenue  | revenue_per_order | share_of_revenue
--   ------------+----------+--------+-----------+-------+----------+-------------------+------------------
--    Driftwood  | EUR      |    105 |       107 |   160 | 17152.04 |            163.35 |           0.1612
--    Granite    | EUR      |     86 |        91 |   136 | 14525.48 |            168.90 |           0.1365
SELECT value AS brand, currency, orders, purchases, units, revenue,
       round(revenue_per_order, 2) AS revenue_per_order,
       round(revenue / nullif(sum(revenue) OVER (PARTITION BY currency), 0), 4) AS share_of_revenue
FROM analytics.orders_by('brand', analytics.first_day(), analytics.last_day())
ORDER BY revenue DESC NULLS LAST, brand
LIMIT 20;
