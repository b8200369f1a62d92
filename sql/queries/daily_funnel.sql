-- How many events of each step were there on each of the last 28 days with data, and how did the steps convert?
-- From the rollups. For people instead of events: SELECT * FROM analytics.funnel_people(from, to).
SELECT day, impressions, views, checkouts, purchases,
       round(views::numeric / nullif(impressions, 0), 4)     AS view_rate,
       round(checkouts::numeric / nullif(views, 0), 4)       AS checkout_rate,
       round(purchases::numeric / nullif(checkouts, 0), 4)   AS purchase_rate
FROM analytics.daily_funnel
ORDER BY day DESC
LIMIT 28;
