{{ config(tags=['slow']) }}
-- What is stored of the last days is what their facts say.
-- depends_on: {{ source('analytics', 'daily_funnel') }}
select *
from {{ var('analytics_schema') }}.differences(current_date - {{ var('tested_days') }}, current_date + 1)
