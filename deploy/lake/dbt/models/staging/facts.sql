{{ config(materialized='view' if target.type == 'postgres' else 'table') }}
-- The facts that the metrics need, each once, with the same columns in PostgreSQL and in the lake.
-- product_key and list_key are the natural keys of dim_product and dim_list. Times are UTC.
{%- set first_day = var('first_day') %}
with facts as (
{%- if target.type == 'postgres' %}
    -- Text sorts by its bytes, as it does in DuckDB.
    select f.event_time at time zone 'UTC' as event_time, f.sent_at at time zone 'UTC' as sent_at,
           f.event_name collate "C" as event_name, f.event_id collate "C" as event_id,
           f.user_id collate "C" as user_id, f.user_pseudo_id collate "C" as user_pseudo_id,
           f.session_id collate "C" as session_id, f.platform collate "C" as platform,
           product.natural_key collate "C" as product_key, list.natural_key collate "C" as list_key,
           list.list_id collate "C" as list_id, list.list_name collate "C" as list_name,
           f.item_ordinal, f.price, f.quantity, f.item_revenue, f.item_refund, f.value, f.tax,
           f.shipping, f.currency collate "C" as currency,
           f.transaction_id collate "C" as transaction_id,
           f.event_coupon collate "C" as event_coupon, f.item_coupon collate "C" as item_coupon,
           replace(f.fact_hash::text, '-', '') collate "C" as fact_hash
    from {{ source('shop', 'fact_events') }} f
    left join {{ source('shop', 'dim_product') }} product using (product_key)
    left join {{ source('shop', 'dim_list') }} list using (list_key)
    {%- if first_day %}
    where f.event_time >= timestamp '{{ first_day }}' at time zone '{{ var("time_zone") }}'
    {%- endif %}
{%- else %}
    select event_time at time zone 'UTC' as event_time,
           -- A late repeat of an event does not make it a late event.
           min(sent_at) over (partition by event_time, fact_hash) at time zone 'UTC' as sent_at,
           event_name, event_id, user_id, user_pseudo_id, session_id, platform,
           case when product_id is not null then 'id:' || product_id
                when product_name is not null then 'name:' || product_name
                when coalesce(product_brand, product_category, product_category2,
                              product_category3, product_category4, product_category5,
                              product_variant) is not null
                then 'is:' || coalesce(product_brand, '') || chr(31)
                     || coalesce(product_category, '') || chr(31)
                     || coalesce(product_category2, '') || chr(31)
                     || coalesce(product_category3, '') || chr(31)
                     || coalesce(product_category4, '') || chr(31)
                     || coalesce(product_category5, '') || chr(31)
                     || coalesce(product_variant, '') || chr(31) end as product_key,
           nullif(concat_ws(chr(31), 'id:' || list_id, 'name:' || list_name), '') as list_key,
           list_id, list_name, item_ordinal, price, quantity, item_revenue, item_refund, value, tax,
           shipping, currency, transaction_id, event_coupon, item_coupon, fact_hash,
           product_id, product_name, product_brand, product_category, product_category2,
           product_category3, product_category4, product_category5, product_variant
    from iceberg_scan('{{ var("lake_facts") }}')
    {%- if first_day %}
    where event_time >= timestamp '{{ first_day }}' at time zone '{{ var("time_zone") }}'
    {%- endif %}
    -- Of a fact that came several times, its newest version.
    qualify row_number() over (
        partition by event_time, fact_hash
        order by event_version desc nulls last, source_partition, source_offset) = 1
{%- endif %}
)
select *, {{ day_of('event_time') }} as day,
       coalesce(user_id, user_pseudo_id) as person,
       -- What a session belongs to. A sign-in doesn't split it, so the device comes first.
       case when session_id is null then 'device ' || coalesce(user_pseudo_id, user_id)
            else 'session ' || session_id || chr(31) || coalesce(user_pseudo_id, user_id, '')
       end as visitor,
       case event_name when 'view_item_list' then 1 when 'select_item' then 2
            when 'view_item' then 3 when 'add_to_cart' then 4 when 'begin_checkout' then 5
            when 'purchase' then 6 end as step
from facts
