-- Orders and their amounts by currency, each order once.
SELECT r.currency, sum(r.orders)::bigint, sum(r.units)::text, sum(r.revenue)::text, r.currency,
       round(sum(r.revenue) / nullif(sum(r.orders), 0), 2)::text, r.currency
FROM analytics.daily_revenue($1::date, $2::date) r
GROUP BY r.currency
HAVING sum(r.orders) > 0
ORDER BY sum(r.orders) DESC, r.currency
