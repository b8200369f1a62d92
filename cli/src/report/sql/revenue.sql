-- Each order once. Orders in several currencies have no amount and stand in a row of their own.
SELECT p.day, p.currency, count(*), sum(p.units)::text, sum(p.item_revenue)::text, p.currency,
       round(sum(p.item_revenue) / nullif(count(p.item_revenue), 0), 2)::text, p.currency
FROM analytics.orders($1::date, $2::date) p
GROUP BY p.day, p.currency
ORDER BY p.day, p.currency
