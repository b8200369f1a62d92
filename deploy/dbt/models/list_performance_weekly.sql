{{ config(materialized='table') }}
-- Calls a function with parameters once for each week.
-- depends_on: {{ source('shop', 'fact_events') }}
with weeks as (
    select date_trunc('week', {{ var('analytics_schema') }}.day_of(now())::timestamp)::date
           - 7 * ago as week
    from generate_series(0, {{ var('weeks') }} - 1) as ago
)
select weeks.week, performance.*
from weeks
cross join lateral {{ var('analytics_schema') }}.list_performance(
    weeks.week, weeks.week + 6
) as performance
