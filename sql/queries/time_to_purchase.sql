-- How long do people take from their first visit, from the first view of the product, and from the
-- start of the session to the order?
-- For one row a day put day in the place of all.
--
-- Example:
--   counted_from  | measured | first_quartile  |      median      |  third_quartile
--  ---------------+----------+-----------------+------------------+------------------
--   first_view    |    12546 | 00:00:50        | 00:00:50         | 00:00:50
--   first_visit   |    12494 | 2 days 07:27:38 | 10 days 00:30:32 | 17 days 19:35:11
--   session_start |    12494 | 00:01:15        | 00:04:14         | 00:07:14
SELECT counted_from, measured, date_trunc('second', first_quartile) AS first_quartile,
       date_trunc('second', median) AS median,
       date_trunc('second', third_quartile) AS third_quartile
FROM analytics.time_to_purchase('all', analytics.first_day(), analytics.last_day())
ORDER BY counted_from;
