-- People of the whole range, which the daily counts of analytics.funnel_people don't add up to; events from the rollups.
WITH steps (place, event_name, step) AS (
    VALUES (1, 'view_item_list', 'Saw a list'), (2, 'select_item', 'Chose a product in a list'), (3, 'view_item', 'Viewed a product'),
           (4, 'add_to_cart', 'Added to cart'), (5, 'begin_checkout', 'Began checkout'), (6, 'purchase', 'Purchased')
), people AS (
    SELECT f.event_name, count(DISTINCT coalesce(f.user_id, f.user_pseudo_id) COLLATE "C") AS people
    FROM fact_events f
    WHERE f.event_time >= analytics.start_of($1::date) AND f.event_time < analytics.start_of($2::date + 1)
      AND f.event_name IN (SELECT steps.event_name FROM steps)
    GROUP BY f.event_name
), days AS (
    SELECT sum(list_views)::bigint AS list_views, sum(selects)::bigint AS selects, sum(views)::bigint AS views,
           sum(add_to_carts)::bigint AS add_to_carts, sum(checkouts)::bigint AS checkouts, sum(purchases)::bigint AS purchases
    FROM analytics.daily_funnel
    WHERE day BETWEEN $1::date AND $2::date
), events (event_name, events) AS (
    SELECT v.* FROM days, LATERAL (
        VALUES ('view_item_list', list_views), ('select_item', selects), ('view_item', views),
               ('add_to_cart', add_to_carts), ('begin_checkout', checkouts), ('purchase', purchases)
    ) v
)
-- A step that nothing was sent of is no step of this shop.
SELECT s.step, s.event_name, coalesce(p.people, 0),
       (p.people::numeric / nullif(lag(p.people) OVER (ORDER BY s.place), 0))::float8,
       (p.people::numeric / nullif(first_value(p.people) OVER (ORDER BY s.place), 0))::float8,
       e.events
FROM steps s
JOIN events e USING (event_name)
LEFT JOIN people p USING (event_name)
WHERE e.events > 0
ORDER BY s.place
