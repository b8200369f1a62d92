-- Which lists do people click in, and what did each sell?
-- Lists shown fewer than 20 times (the last parameter) are left out.
SELECT list, impressions, viewers, clicks,
       round(click_through_user_rate, 4) AS click_through_user_rate,
       round(engagement_rate, 4)         AS engagement_rate,
       purchases, revenue, currency
FROM analytics.list_performance('2000-01-01', '2100-01-01', 20)
ORDER BY click_through_user_rate DESC NULLS LAST, impressions DESC, list
LIMIT 10;
