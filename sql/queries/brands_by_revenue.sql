-- Which brands earn most, and what part of all revenue is theirs?
--
-- Example:
--      brand    | currency | orders | units | revenue  | share_of_revenue
--   ------------+----------+--------+-------+----------+------------------
--    Driftwood  | EUR      |    105 |   160 | 17152.04 |           0.1612
--    Granite    | EUR      |     86 |   136 | 14525.48 |           0.1365
SELECT coalesce(p.product_brand, '(none)') AS brand, l.currency, count(DISTINCT l.order_id COLLATE "C") AS orders, sum(l.units) AS units,
       sum(l.revenue) AS revenue,
       round(sum(l.revenue) / nullif(sum(sum(l.revenue)) OVER (PARTITION BY l.currency), 0), 4) AS share_of_revenue
FROM analytics.lines(analytics.first_day(), analytics.last_day()) l
LEFT JOIN dim_product p USING (product_key)
GROUP BY 1, 2
ORDER BY revenue DESC NULLS LAST, brand
LIMIT 20;
