-- Which platforms lose people between checkout and purchase?
SELECT coalesce(platform, '(none)') AS platform,
       count(*) FILTER (WHERE started)            AS checkout_starters,
       count(*) FILTER (WHERE started AND bought) AS of_them_buyers,
       round(count(*) FILTER (WHERE started AND NOT bought)::numeric / nullif(count(*) FILTER (WHERE started), 0), 4) AS lost_rate
FROM (
    SELECT platform, coalesce(user_id, user_pseudo_id) AS person,
           bool_or(event_name = 'begin_checkout') AS started, bool_or(event_name = 'purchase') AS bought
    FROM fact_events
    WHERE event_name IN ('begin_checkout', 'purchase')
      AND coalesce(user_id, user_pseudo_id) IS NOT NULL
    GROUP BY 1, 2
) people
GROUP BY 1
ORDER BY checkout_starters DESC, platform;
