-- What could not be read, and why?
SELECT day, reason, rejected
FROM analytics.rejections
ORDER BY day DESC, rejected DESC, reason
LIMIT 50;
