{{ config(tags=['slow']) }}
-- The stored aggregates of the last days equal those computed from the facts.
-- depends_on: {{ source('analytics', 'daily_funnel') }}
select *
from {{ var('analytics_schema') }}.differences(
    current_date - {{ var('tested_days') }}, current_date + 1
)
