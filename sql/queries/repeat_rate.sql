-- Which part of the customers orders again, and how long does that take?
--
-- Example:
--    currency | customers | repeat_customers | repeat_rate | median_time_between_orders
--   ----------+-----------+------------------+-------------+----------------------------
--    EUR      |      2371 |             1264 |      0.5331 | 13:22:05
SELECT currency, count(*) AS customers, count(*) FILTER (WHERE orders > 1) AS repeat_customers,
       round(count(*) FILTER (WHERE orders > 1)::numeric / count(*), 4) AS repeat_rate,
       date_trunc('second', percentile_disc(0.5) WITHIN GROUP (ORDER BY time_between_orders))
           AS median_time_between_orders
FROM analytics.customers(analytics.first_day(), analytics.last_day())
GROUP BY currency
ORDER BY customers DESC, currency;
