-- Who are the best customers: who bought last, most often, for most?
-- The scores from 1 to 5 are fifths of all customers of the currency (RFM). revenue is the lifetime
-- value in the range.
--
-- Example:
--    person | currency | orders | revenue | time_between_orders | recency_score | frequency_score | monetary_score
--   --------+----------+--------+---------+---------------------+---------------+-----------------+----------------
--    U159   | EUR      |     12 | 2411.70 | 1 day 22:10:00      |             5 |               5 |              5
SELECT person, currency, orders, revenue,
       date_trunc('minute', time_between_orders) AS time_between_orders,
       recency_score, frequency_score, monetary_score
FROM analytics.customers(analytics.first_day(), analytics.last_day())
ORDER BY recency_score + frequency_score + monetary_score DESC, revenue DESC, person
LIMIT 20;
