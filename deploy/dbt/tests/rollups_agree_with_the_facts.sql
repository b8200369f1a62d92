{{ config(tags=['slow']) }}
-- The daily numbers are kept by triggers; here the last days are counted anew.
-- depends_on: {{ source('analytics', 'daily_funnel') }}
select *
from {{ var('analytics_schema') }}.rollup_differences(current_date - {{ var('tested_days') }}, current_date + 1)
