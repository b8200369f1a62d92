-- How many sessions were there each day, and which part of them bought something?
SELECT day, sessions, engaged_sessions, converted_sessions,
       round(engagement_rate, 4) AS engagement_rate, round(conversion_rate, 4) AS conversion_rate
FROM analytics.daily_sessions('2000-01-01', '2100-01-01')
ORDER BY day DESC
LIMIT 28;
