-- Orders and their amounts by currency, each order once.
SELECT p.currency, count(*), sum(p.units)::text, sum(p.item_revenue)::text, p.currency,
       round(sum(p.item_revenue) / nullif(count(p.item_revenue), 0), 2)::text, p.currency
FROM analytics.orders($1::date, $2::date) p
GROUP BY p.currency
ORDER BY count(*) DESC, p.currency
