-- Sales by platform or category, in the reporting currency if one is set: those of all days, of the
-- days compared, and of the previous period.
WITH sales AS (
    SELECT p.part, o.value, coalesce(analytics.reporting_currency(), o.currency) AS currency,
           o.orders, o.units, CASE WHEN analytics.reporting_currency() IS NULL THEN o.revenue
                                   ELSE o.reporting_revenue END AS revenue
    FROM (VALUES (0, $3::date, $5::date), (1, $1::date, $4::date), (2, $4::date + 1, $2::date))
             p (part, first, last),
         LATERAL analytics.orders_by($6::text, p.first, p.last) o
    WHERE p.first <= p.last
), sums AS (
    SELECT s.value, s.currency,
           coalesce(sum(s.orders) FILTER (WHERE s.part > 0), 0)::bigint AS orders,
           coalesce(sum(s.units) FILTER (WHERE s.part > 0), 0) AS units,
           coalesce(sum(s.revenue) FILTER (WHERE s.part > 0), 0) AS revenue,
           coalesce(sum(s.orders) FILTER (WHERE s.part = 1), 0)::bigint AS orders_now,
           coalesce(sum(s.revenue) FILTER (WHERE s.part = 1), 0)::float8 AS revenue_now,
           coalesce(sum(s.orders) FILTER (WHERE s.part = 0), 0)::bigint AS orders_before,
           coalesce(sum(s.revenue) FILTER (WHERE s.part = 0), 0)::float8 AS revenue_before
    FROM sales s GROUP BY 1, 2
)
SELECT s.value, s.currency, s.orders, s.units::text, s.revenue::text,
       round(s.revenue / nullif(s.orders, 0), 2)::text,
       s.orders_now, s.revenue_now, s.orders_before, s.revenue_before
FROM sums s
ORDER BY s.revenue DESC, s.value, s.currency
