-- Which products are bought together more often than by chance (lift above 1)?
-- Pairs in fewer than 2 orders are left out.
--
-- Example:
--            product_a          |          product_b           | orders | confidence |  lift
--   ----------------------------+------------------------------+--------+------------+--------
--    Birch & Co saucepan No. 1  | Driftwood headphone No. 3    |      5 |     0.0208 |   2.26
--    Birch & Co saucepan No. 1  | Granite tent No. 14          |      3 |     0.0125 |   2.13
SELECT product_a, product_b, orders, round(confidence_a_to_b, 4) AS confidence,
       round(lift, 2) AS lift
FROM analytics.product_pairs(analytics.first_day(), analytics.last_day(), analytics.at_least(2))
ORDER BY orders DESC, lift DESC, product_a, product_b
LIMIT 20;
