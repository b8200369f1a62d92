-- Orders and their amounts by currency, each order once.
SELECT p.currency, count(*), sum(p.units)::text, sum(p.item_revenue)::text, p.currency,
       round(sum(p.item_revenue) / nullif(count(p.item_revenue), 0), 2)::text, p.currency
FROM analytics.purchases p
WHERE p.day BETWEEN $1::date AND $2::date
GROUP BY p.currency
ORDER BY count(*) DESC, p.currency
