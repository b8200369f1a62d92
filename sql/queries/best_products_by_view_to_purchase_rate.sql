-- Best products by view-to-purchase rate.
--
-- GA4's purchase-to-view rate: people who purchased a product / people who viewed the same
-- product (view_item). As in GA4 the two are counted apart, so a product that is bought without
-- its page being opened can have a rate above 1.
--
-- The rate is a fraction. A person is user_id, or user_pseudo_id where nobody is signed in; events
-- with neither don't count. Units and revenue are of the purchases; an order that was sent under
-- two event ids is counted once for each product and position in it. Products that fewer than 10
-- people viewed are left out: their rates are chance.
WITH people AS (
    SELECT f.product_key,
           count(DISTINCT coalesce(f.user_id, f.user_pseudo_id))
               FILTER (WHERE f.event_name = 'view_item') AS viewers,
           count(DISTINCT coalesce(f.user_id, f.user_pseudo_id))
               FILTER (WHERE f.event_name = 'purchase')  AS buyers
    FROM fact_events f
    WHERE f.event_name IN ('view_item', 'purchase')
      AND f.product_key IS NOT NULL
    GROUP BY 1
), order_lines AS (
    SELECT DISTINCT ON (f.product_key, coalesce(f.transaction_id, f.fact_hash::text), f.item_ordinal)
           f.product_key, coalesce(f.quantity, 1) AS units,
           f.price * coalesce(f.quantity, 1) AS revenue, f.currency
    FROM fact_events f
    WHERE f.event_name = 'purchase'
      AND f.product_key IS NOT NULL
    ORDER BY f.product_key, coalesce(f.transaction_id, f.fact_hash::text), f.item_ordinal, f.event_time
), sales AS (
    -- Amounts in different currencies don't add up: revenue is shown where there is only one.
    SELECT product_key, sum(units) AS units_sold,
           CASE WHEN count(DISTINCT currency) <= 1 THEN sum(revenue) END AS revenue,
           CASE WHEN count(DISTINCT currency) <= 1 THEN min(currency) END AS currency
    FROM order_lines
    GROUP BY 1
)
SELECT
    coalesce(p.product_name, p.product_id)                  AS product,
    p.product_id,
    people.viewers,
    people.buyers,
    round(people.buyers::numeric / nullif(people.viewers, 0), 4) AS view_to_purchase_rate,
    coalesce(s.units_sold, 0)                               AS units_sold,
    s.revenue,
    s.currency
FROM people
JOIN dim_product p USING (product_key)
LEFT JOIN sales s USING (product_key)
WHERE people.viewers >= 10
ORDER BY view_to_purchase_rate DESC, people.viewers DESC, product
LIMIT 10;
