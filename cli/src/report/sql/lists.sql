SELECT l.list, l.engagement_rate::float8, l.click_through_user_rate::float8,
       CASE WHEN l.currency IS NOT NULL THEN l.revenue::text END, l.currency,
       l.impressions, l.viewers, l.clicks, l.orders, count(*) OVER ()
FROM analytics.list_performance($1::date, $2::date, $3::bigint) l
WHERE l.kind = 'list'
ORDER BY l.engagement_rate DESC NULLS LAST, l.impressions DESC, l.list, l.currency
LIMIT 20
