SELECT CASE s.event_name WHEN 'view_item_list' THEN 'Saw a list'
                         WHEN 'select_item' THEN 'Chose a product in a list'
                         WHEN 'view_item' THEN 'Viewed a product'
                         WHEN 'add_to_cart' THEN 'Added to cart'
                         WHEN 'begin_checkout' THEN 'Began checkout'
                         WHEN 'purchase' THEN 'Purchased' END,
       s.event_name, s.sessions, s.rate_of_step_before::float8, s.rate_of_first::float8
FROM analytics.session_funnel($1::date, $2::date) s
ORDER BY s.step
