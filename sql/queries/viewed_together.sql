-- Which products are viewed in one session more often than by chance (lift above 1)?
-- Pairs in fewer than 2 sessions are left out.
--
-- Example:
--           product_a         |         product_b          | sessions | confidence | lift
--  ---------------------------+----------------------------+----------+------------+------
--   Birch & Co saucepan No. 1 | Cobalt tent No. 2          |       13 |     0.0092 | 0.61
--   Birch & Co saucepan No. 1 | Aurora dress No. 8         |        9 |     0.0064 | 1.03
--   Birch & Co saucepan No. 1 | Granite tent No. 14        |        8 |     0.0057 | 1.26
SELECT product_a, product_b, sessions, round(confidence_a_to_b, 4) AS confidence,
       round(lift, 2) AS lift
FROM analytics.viewed_together(analytics.first_day(), analytics.last_day(), analytics.at_least(2))
ORDER BY sessions DESC, lift DESC, product_a, product_b
LIMIT 20;
