-- How many people come and buy for the first time, and how many return?
--
-- Example:
--       day     | people | new_people | returning_people | buyers | new_buyers | returning_buyers
--   ------------+--------+------------+------------------+--------+------------+------------------
--    2026-11-28 |   2838 |        415 |             2423 |   1100 |        704 |              396
SELECT day, people, new_people, returning_people, buyers, new_buyers, returning_buyers
FROM analytics.new_and_returning(analytics.first_day(), analytics.last_day())
ORDER BY day DESC
LIMIT 28;
