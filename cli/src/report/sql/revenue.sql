-- Orders and amounts by currency, each order once, on the day it began: of each day and of all
-- days, in the currencies of the events and, if a reporting currency is set, in that one.
WITH amounts AS MATERIALIZED (
    SELECT r.*, r.day >= $1::date AS is_shown,
           analytics.reporting_currency() IS NOT NULL
               AND analytics.reporting_rate(r.currency, r.day) IS NULL AS has_no_rate
    FROM analytics.daily_revenue($3::date, $2::date) r
), labelled AS (
    SELECT false AS is_reporting, a.day, a.is_shown, a.currency, a.orders, a.units, a.revenue,
           a.refunds, 0::bigint AS left_out
    FROM amounts a
    UNION ALL
    SELECT true, a.day, a.is_shown, analytics.reporting_currency(),
           CASE WHEN a.has_no_rate THEN 0 ELSE a.orders END, a.units,
           coalesce(a.reporting_revenue, 0), coalesce(a.reporting_refunds, 0),
           CASE WHEN a.has_no_rate THEN a.orders ELSE 0 END
    FROM amounts a WHERE analytics.reporting_currency() IS NOT NULL
)
SELECT l.is_reporting, l.is_shown, l.day, l.currency, sum(l.orders)::bigint, sum(l.units)::text,
       sum(l.revenue)::text, sum(l.refunds)::text, (sum(l.revenue) - sum(l.refunds))::text,
       round(sum(l.revenue) / nullif(sum(l.orders), 0), 2)::text, sum(l.left_out)::bigint
FROM labelled l
GROUP BY GROUPING SETS ((l.is_reporting, l.is_shown, l.day, l.currency),
                        (l.is_reporting, l.is_shown, l.currency))
ORDER BY sum(l.orders) DESC, l.day, l.currency
