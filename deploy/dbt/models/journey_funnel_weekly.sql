{{ config(materialized='table') }}
-- depends_on: {{ source('shop', 'fact_events') }}
with weeks as (
    select date_trunc('week', {{ var('analytics_schema') }}.day_of(now())::timestamp)::date
           - 7 * ago as week
    from generate_series(0, {{ var('weeks') }} - 1) as ago
)
select weeks.week, funnel.*
from weeks
cross join lateral {{ var('analytics_schema') }}.journey_funnel(
    {{ var('journey_days') }}, weeks.week, weeks.week + 6
) as funnel
