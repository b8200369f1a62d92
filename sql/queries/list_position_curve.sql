-- How fast do clicks fall from the first position of a list to the last?
SELECT list, list_position, impressions, clicks, round(click_through_event_rate, 4) AS click_through_rate
FROM analytics.list_positions('2000-01-01', '2100-01-01', 20)
ORDER BY list, list_position
LIMIT 100;
