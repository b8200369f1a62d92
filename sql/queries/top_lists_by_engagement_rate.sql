-- Top lists by engagement rate: which lists make people go on with what they saw?
--
-- An impression is a product shown to a person in a list (an item of view_item_list). It is engaged
-- when the same person does something further with the same product at that time or within the 30
-- minutes after: select_item, view_item, add_to_cart, begin_checkout or purchase. GA4 defines no
-- such rate.
--
--   engagement_rate       engaged impressions / impressions of known people
--   engaged_user_rate     people with an engaged impression / people who saw the list
--
-- Rates are fractions. A person is user_id, or user_pseudo_id where nobody is signed in. The column
-- impressions counts all; those with neither can't be followed and don't count in the rates. What
-- somebody does with a product counts for each list that showed it to them in the half hour before.
-- Lists with fewer than 20 impressions are left out: their rates are chance. Search terms are lists,
-- too, and have a question of their own: search_terms.sql.
--
-- Example:
--      list   | list_id | impressions | engaged | engagement_rate | engaged_user_rate
--   ----------+---------+-------------+---------+-----------------+-------------------
--    Shelf 50 | gen_50  |         452 |      61 |          0.1350 |            0.8413
--    Shelf 45 | gen_45  |         624 |      74 |          0.1186 |            0.6824
SELECT DISTINCT list, list_id, impressions, engaged, round(engagement_rate, 4) AS engagement_rate,
       round(engaged_user_rate, 4) AS engaged_user_rate
FROM analytics.list_performance(analytics.first_day(), analytics.last_day(), analytics.at_least(20))
WHERE kind = 'list'
ORDER BY engagement_rate DESC NULLS LAST, impressions DESC, list
LIMIT 10;
