-- Which promotions are clicked?
SELECT promotion_id, promotion_name, views, clicks, viewers,
       round(click_through_user_rate, 4) AS click_through_user_rate
FROM analytics.promotions('2000-01-01', '2100-01-01', 1)
ORDER BY click_through_user_rate DESC NULLS LAST, views DESC, promotion_id
LIMIT 20;
