-- What was sold on each day, each order counted once, and what is an order worth?
SELECT day, currency, count(*) AS orders, sum(units) AS units, sum(item_revenue) AS revenue,
       round(sum(item_revenue) / nullif(count(*), 0), 2) AS revenue_per_order
FROM analytics.purchases
GROUP BY day, currency
ORDER BY day DESC, currency
LIMIT 28;
