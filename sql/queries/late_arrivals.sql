-- How late do events arrive: by day of arrival, those older than a day, and those dated in the future?
SELECT day, facts, late_facts, early_facts, date_trunc('second', median_delay) AS median_delay
FROM analytics.lateness('2000-01-01', '2100-01-01')
ORDER BY day DESC
LIMIT 28;
