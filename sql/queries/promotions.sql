-- Which promotions are clicked, and what do they sell?
-- Sold: lines of orders that name the promotion, or that follow on a click on it within 24 hours.
--
-- Example:
--   promotion_id | promotion_name | promotion_views | promotion_clicks | viewers | click_through_user_rate | purchases | revenue |  currency
--  --------------+----------------+-----------------+------------------+---------+-------------------------+-----------+---------+-------------
--                | Two for one    |              51 |               22 |      18 |                  0.6667 |        10 |   302.1 | no currency
--                | Two for one    |              51 |               22 |      18 |                  0.6667 |         7 |   147.5 | EUR
--                | Two for one    |              51 |               22 |      18 |                  0.6667 |         6 |    94.5 | MXN
SELECT promotion_id, promotion_name, promotion_views, promotion_clicks, viewers,
       round(click_through_user_rate, 4) AS click_through_user_rate, purchases, revenue, currency
FROM analytics.promotions(analytics.first_day(), analytics.last_day(), analytics.at_least(1))
ORDER BY click_through_user_rate DESC NULLS LAST, promotion_views DESC, promotion_id, revenue DESC
LIMIT 20;
