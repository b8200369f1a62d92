-- Which products do many people look at and nobody buys: price, stock or description?
-- Products that fewer than 10 people viewed are left out.
--
-- Example:
--          product       |  brand  | category | viewers | views
--   ---------------------+---------+----------+---------+-------
--    Granite tent No. 22 | Granite | Sports   |      10 |    10
SELECT DISTINCT product, brand, category, viewers, views
FROM analytics.product_performance(analytics.first_day(), analytics.last_day(),
                                   analytics.at_least(10))
WHERE buyers = 0
ORDER BY viewers DESC, product
LIMIT 20;
