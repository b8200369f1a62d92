-- Top lists by engagement rate: which lists make people go on with what they saw?
--
-- An impression is a product shown to a person in a list (view_item_list). It is engaged when the
-- same person does something further with the same product at that time or later: select_item,
-- view_item, add_to_cart, begin_checkout or purchase. A person who sees a product twice in a list
-- is one impression, dated by the first time.
--
--   engagement_rate       engaged impressions / impressions
--   engaged_user_rate     people with an engaged impression / people who saw the list
--
-- Rates are fractions. A person is user_id, or user_pseudo_id where nobody is signed in; events
-- with neither can't be followed and don't count. An event without a list counts for each list
-- in which that person has seen the product before. Lists with fewer than 20 impressions are
-- left out: their rates are chance.
--
-- Example:
--      list   | list_id | impressions | engaged | engagement_rate | engaged_user_rate
--   ----------+---------+-------------+---------+-----------------+-------------------
--    Shelf 50 | gen_50  |         619 |      78 |          0.1260 |            0.7978
--    Shelf 46 | gen_46  |         629 |      72 |          0.1145 |            0.6989
SELECT
    coalesce(l.list_name, l.list_id)                             AS list,
    l.list_id,
    e.shown                                                      AS impressions,
    e.engaged,
    round(e.engaged::numeric / nullif(e.shown, 0), 4)            AS engagement_rate,
    round(e.engaged_viewers::numeric / nullif(e.viewers, 0), 4)  AS engaged_user_rate
FROM analytics.list_engagement(analytics.first_day(), analytics.last_day()) e
JOIN dim_list l USING (list_key)
WHERE e.shown >= analytics.at_least(20)
ORDER BY engagement_rate DESC, impressions DESC, list
LIMIT 10;
