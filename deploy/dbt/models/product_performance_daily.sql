{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='day',
    indexes=[{'columns': ['day', 'product_key'], 'unique': true}, {'columns': ['product_key']}]
) }}
-- Replaces whole days, so that no row of an earlier run remains.
{% set since -%}
  {% if is_incremental() -%}
  {{ var('analytics_schema') }}.day_of(now()) - {{ var('lookback_days') }}
  {%- else -%} '-infinity'::date {%- endif %}
{%- endset %}

with people as (
    select {{ var('analytics_schema') }}.day_of(event_time) as day, product_key,
           count(*) filter (where event_name = 'view_item') as views,
           count(distinct person) filter (where event_name = 'view_item') as viewers,
           count(distinct person) filter (where event_name = 'add_to_cart') as cart_adders,
           count(distinct person) filter (where event_name = 'begin_checkout') as checkout_starters,
           count(distinct person) filter (where event_name = 'purchase') as buyers
    from {{ source('shop', 'product_interactions') }}
    where event_name in ('view_item', 'add_to_cart', 'begin_checkout', 'purchase')
      and product_key is not null
      and event_time >= {{ var('analytics_schema') }}.start_of({{ since }})
    group by 1, 2
), sales as (
    -- Each order once. Amounts in different currencies don't add up.
    select day, product_key, count(distinct order_id) as orders, sum(units) as units,
           case when count(distinct currency) <= 1 then sum(revenue) end as revenue,
           case when count(distinct currency) <= 1 then min(currency) end as currency
    from {{ var('analytics_schema') }}.order_lines({{ since }})
    where product_key is not null
    group by 1, 2
)
select people.day, people.product_key, product.product_id,
       {{ var('analytics_schema') }}.product_label(product) as product,
       product.product_brand as brand, product.product_category as category,
       people.views, people.viewers, people.cart_adders, people.checkout_starters, people.buyers,
       coalesce(sales.orders, 0) as orders, coalesce(sales.units, 0) as units, sales.revenue,
       sales.currency,
       people.buyers::numeric / nullif(people.viewers, 0) as view_to_purchase_user_rate
from people
join {{ source('shop', 'dim_product') }} as product using (product_key)
left join sales using (day, product_key)
