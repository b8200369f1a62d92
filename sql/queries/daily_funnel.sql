-- How many events of each step were there on each of the last 28 days with data, and how did the steps convert?
-- From the rollups. For people instead of events there is analytics.funnel_people(from, to).
--
-- Example:
--       day     | impressions | views | checkouts | purchases | view_rate | checkout_rate | purchase_rate
--   ------------+-------------+-------+-----------+-----------+-----------+---------------+---------------
--    2026-11-19 |        4947 |   319 |       108 |        62 |    0.0645 |        0.3386 |        0.5741
SELECT day, impressions, views, checkouts, purchases,
       round(views::numeric / nullif(impressions, 0), 4)     AS view_rate,
       round(checkouts::numeric / nullif(views, 0), 4)       AS checkout_rate,
       round(purchases::numeric / nullif(checkouts, 0), 4)   AS purchase_rate
FROM analytics.daily_funnel
WHERE day BETWEEN analytics.first_day() AND analytics.last_day()
ORDER BY day DESC
LIMIT 28;
