-- People of the whole range, which daily counts don't add up to, and products by step.
WITH people AS (
    SELECT bit_or(p.done) AS done FROM analytics.people($1::date, $2::date) p GROUP BY p.person
), reached AS (
    SELECT n.step, count(*) FILTER (WHERE p.done & (1 << n.step) > 0) AS people FROM generate_series(1, 6) AS n (step) CROSS JOIN people p GROUP BY n.step
), days AS (
    SELECT sum(impressions)::bigint AS impressions, sum(selects)::bigint AS selects, sum(views)::bigint AS views,
           sum(add_to_carts)::bigint AS add_to_carts, sum(checkouts)::bigint AS checkouts, sum(purchases)::bigint AS purchases
    FROM analytics.daily_funnel($1::date, $2::date)
), steps (place, event_name, step, products) AS (
    SELECT v.* FROM days, LATERAL (
        VALUES (1, 'view_item_list', 'Saw a list', impressions), (2, 'select_item', 'Chose a product in a list', selects),
               (3, 'view_item', 'Viewed a product', views), (4, 'add_to_cart', 'Added to cart', add_to_carts),
               (5, 'begin_checkout', 'Began checkout', checkouts), (6, 'purchase', 'Purchased', purchases)
    ) v
), shown AS (
    SELECT s.place, s.step, s.event_name, coalesce(r.people, 0) AS people, s.products FROM steps s LEFT JOIN reached r ON r.step = s.place
    -- A step that nothing was sent of is no step of this shop.
    WHERE s.products > 0 OR r.people > 0
)
SELECT s.step, s.event_name, s.people,
       (s.people::numeric / nullif(lag(s.people) OVER (ORDER BY s.place), 0))::float8,
       (s.people::numeric / nullif(first_value(s.people) OVER (ORDER BY s.place), 0))::float8,
       s.products
FROM shown s
ORDER BY s.place
