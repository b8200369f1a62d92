SELECT coalesce(p.promotion_name, p.promotion_id, '(no name)'), p.click_through_user_rate::float8,
       p.promotion_views, p.viewers, p.promotion_clicks, p.clickers, count(*) OVER ()
FROM analytics.promotions($1::date, $2::date, 1) p
ORDER BY p.click_through_user_rate DESC NULLS LAST, p.promotion_views DESC, p.promotion_id
LIMIT 20
