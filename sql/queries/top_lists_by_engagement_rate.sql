-- Top lists by engagement rate.
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
WITH impressions AS (
    SELECT f.list_key, f.product_key, coalesce(f.user_id, f.user_pseudo_id) AS person,
           min(f.event_time) AS seen_at
    FROM fact_events f
    WHERE f.event_name = 'view_item_list'
      AND f.list_key IS NOT NULL
      AND f.product_key IS NOT NULL
      AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
    GROUP BY 1, 2, 3
), engagements AS (
    SELECT f.product_key, coalesce(f.user_id, f.user_pseudo_id) AS person,
           max(f.event_time) AS engaged_at
    FROM fact_events f
    WHERE f.event_name IN ('select_item', 'view_item', 'add_to_cart', 'begin_checkout', 'purchase')
      AND f.product_key IS NOT NULL
      AND coalesce(f.user_id, f.user_pseudo_id) IS NOT NULL
    GROUP BY 1, 2
), judged AS (
    SELECT i.list_key, i.person, coalesce(e.engaged_at >= i.seen_at, false) AS engaged
    FROM impressions i
    LEFT JOIN engagements e USING (product_key, person)
)
SELECT
    coalesce(l.list_name, l.list_id)                   AS list,
    l.list_id,
    count(*)                                           AS impressions,
    count(*) FILTER (WHERE j.engaged)                  AS engaged,
    round(count(*) FILTER (WHERE j.engaged)::numeric
          / nullif(count(*), 0), 4)                    AS engagement_rate,
    round(count(DISTINCT j.person) FILTER (WHERE j.engaged)::numeric
          / nullif(count(DISTINCT j.person), 0), 4)    AS engaged_user_rate
FROM judged j
JOIN dim_list l USING (list_key)
GROUP BY l.list_key, l.list_name, l.list_id
HAVING count(*) >= 20
ORDER BY engagement_rate DESC, impressions DESC, list
LIMIT 10;
