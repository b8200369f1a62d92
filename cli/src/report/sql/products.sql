SELECT p.product, p.view_to_purchase_user_rate::float8,
       CASE WHEN p.currency IS NOT NULL THEN p.revenue::text END, p.currency,
       p.viewers, p.buyers, p.views, p.orders, p.units::text, p.brand, count(*) OVER ()
FROM analytics.product_performance($1::date, $2::date, $3::bigint) p
ORDER BY p.view_to_purchase_user_rate DESC NULLS LAST, p.viewers DESC, p.product, p.currency
LIMIT 20
