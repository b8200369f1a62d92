-- People of the whole range, which the daily counts of analytics.funnel_people don't add up to; events from the rollups.
WITH people AS (
    SELECT bool_or(p.saw_list) AS saw_list, bool_or(p.selected) AS selected, bool_or(p.viewed) AS viewed, bool_or(p.added) AS added,
           bool_or(p.started) AS started, bool_or(p.bought) AS bought
    FROM analytics.people($1::date, $2::date) p
    GROUP BY p.person COLLATE "C"
), reached AS (
    SELECT count(*) FILTER (WHERE saw_list) AS saw_list, count(*) FILTER (WHERE selected) AS selected, count(*) FILTER (WHERE viewed) AS viewed,
           count(*) FILTER (WHERE added) AS added, count(*) FILTER (WHERE started) AS started, count(*) FILTER (WHERE bought) AS bought
    FROM people
), days AS (
    SELECT sum(list_views)::bigint AS list_views, sum(selects)::bigint AS selects, sum(views)::bigint AS views,
           sum(add_to_carts)::bigint AS add_to_carts, sum(checkouts)::bigint AS checkouts, sum(purchases)::bigint AS purchases
    FROM analytics.daily_funnel
    WHERE day BETWEEN $1::date AND $2::date
), steps (place, event_name, step, people, events) AS (
    SELECT v.* FROM reached, days, LATERAL (
        VALUES (1, 'view_item_list', 'Saw a list', saw_list, list_views), (2, 'select_item', 'Chose a product in a list', selected, selects),
               (3, 'view_item', 'Viewed a product', viewed, views), (4, 'add_to_cart', 'Added to cart', added, add_to_carts),
               (5, 'begin_checkout', 'Began checkout', started, checkouts), (6, 'purchase', 'Purchased', bought, purchases)
    ) v
)
-- A step that nothing was sent of is no step of this shop.
SELECT s.step, s.event_name, s.people,
       (s.people::numeric / nullif(lag(s.people) OVER (ORDER BY s.place), 0))::float8,
       (s.people::numeric / nullif(first_value(s.people) OVER (ORDER BY s.place), 0))::float8,
       s.events
FROM steps s
WHERE s.events > 0
ORDER BY s.place
