-- Each order once, on the day it began.
SELECT r.day, r.currency, r.orders, r.units::text, r.revenue::text, r.currency, round(r.revenue_per_order, 2)::text, r.currency
FROM analytics.daily_revenue($1::date, $2::date) r
WHERE r.orders > 0
ORDER BY r.day, r.currency
