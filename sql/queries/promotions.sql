-- Which promotions are clicked?
--
-- Example:
--    promotion_id | promotion_name | promotion_views | promotion_clicks | viewers | click_through_user_rate
--   --------------+----------------+-----------------+------------------+---------+-------------------------
--    P3           | Two for one    |             542 |              131 |     294 |                  0.3912
--    P2           | New in         |             564 |              129 |     303 |                  0.3729
SELECT promotion_id, promotion_name, promotion_views, promotion_clicks, viewers,
       round(click_through_user_rate, 4) AS click_through_user_rate
FROM analytics.promotions(analytics.first_day(), analytics.last_day(), analytics.at_least(1))
ORDER BY click_through_user_rate DESC NULLS LAST, promotion_views DESC, promotion_id
LIMIT 20;
