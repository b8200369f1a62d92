-- How many products were shown, viewed, checked out and bought on each of the last 28 days with
-- data, and how did the steps convert? For people instead of products there is
-- analytics.daily_people(from, to), for sessions in order analytics.session_funnel(from, to).
--
-- Example:
--       day     | impressions | views | checkouts | purchases | orders | view_rate | checkout_rate | purchase_rate
--   ------------+-------------+-------+-----------+-----------+--------+-----------+---------------+---------------
--    2026-11-19 |        4947 |   319 |       108 |        93 |     62 |    0.0645 |        0.3386 |        0.8611
SELECT day, impressions, views, checkouts, purchases, orders,
       round(views::numeric / nullif(impressions, 0), 4)     AS view_rate,
       round(checkouts::numeric / nullif(views, 0), 4)       AS checkout_rate,
       round(purchases::numeric / nullif(checkouts, 0), 4)   AS purchase_rate
FROM analytics.daily_funnel(analytics.first_day(), analytics.last_day())
ORDER BY day DESC
LIMIT 28;
