-- What could not be read, and why?
--
-- Example:
--       day     |    reason    | rejected
--   ------------+--------------+----------
--    2026-11-19 | not-json     |       13
--    2026-11-18 | missing-time |       14
SELECT day, reason, rejected
FROM analytics.rejections
WHERE day BETWEEN analytics.first_day() AND analytics.last_day()
ORDER BY day DESC, rejected DESC, reason
LIMIT 50;
