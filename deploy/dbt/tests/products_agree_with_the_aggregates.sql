{{ config(severity='warn') }}
-- The views that product_performance_daily counts equal those of the aggregates. A warning, because
-- events still arrive after the model was built.
select day, product_key, ours.views, theirs.views as views_of_aggregates
from {{ ref('product_performance_daily') }} ours
full join (
    select distinct day, product_key, views from {{ source('analytics', 'daily_products') }}
) theirs using (day, product_key)
where day >= current_date - {{ var('lookback_days') }}
  and coalesce(ours.views, 0) <> coalesce(theirs.views, 0)
