-- Best products by view-to-purchase rate: which are bought by those who look at them?
--
-- GA4's purchase-to-view rate: people who purchased a product / people who viewed the same product
-- (view_item). As in GA4 the two are counted apart, so a product that is bought without its page
-- being opened can have a rate above 1.
--
-- The rate is a fraction. A person is user_id, or user_pseudo_id where nobody is signed in; events
-- with neither don't count. Units and revenue are of the orders, each order once. A product that
-- sold in two currencies has two rows, with the same people. Products that fewer than 10 people
-- viewed are left out: their rates are chance.
--
-- Example:
--             product           | product_id | viewers | buyers | view_to_purchase_rate | units | revenue | currency
--   ----------------------------+-------+---------+--------+-----------------------+-------+---------+----------
--    Fjord saucepan No. 13      | GEN_13     |      13 |      4 |                0.3077 |     6 |   56.58 | EUR
--    Aurora dress No. 16        | GEN_16     |      10 |      3 |                0.3000 |     5 |   52.70 | EUR
SELECT
    product, product_id, viewers, buyers,
    round(view_to_purchase_user_rate, 4)  AS view_to_purchase_rate,
    units, revenue, currency
FROM analytics.product_performance(analytics.first_day(), analytics.last_day(),
                                   analytics.at_least(10))
ORDER BY view_to_purchase_rate DESC, viewers DESC, product
LIMIT 10;
