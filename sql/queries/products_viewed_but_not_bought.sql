-- Which products do many people look at and nobody buys: price, stock or description?
SELECT product, brand, category, viewers, views
FROM analytics.product_performance('2000-01-01', '2100-01-01', 10)
WHERE buyers = 0
ORDER BY viewers DESC, product
LIMIT 20;
