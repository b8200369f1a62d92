-- One row per product, with the newest value of each attribute. By the minute of the event; of two
-- values within a minute the greater one counts. Events dated in the future come last.
{%- if target.type == 'postgres' %}
select natural_key collate "C" as product_key, product_id collate "C" as product_id,
       product_name collate "C" as product_name, product_brand collate "C" as product_brand,
       product_category collate "C" as product_category,
       product_variant collate "C" as product_variant
from {{ source('shop', 'dim_product') }}
{%- else %}
{%- set newest %}as_of desc nulls last{% endset %}
select product_key, min(product_id) as product_id,
       (array_agg(product_name order by {{ newest }}, product_name desc)
        filter (where product_name is not null))[1] as product_name,
       (array_agg(product_brand order by {{ newest }}, product_brand desc)
        filter (where product_brand is not null))[1] as product_brand,
       -- The five levels are replaced together.
       (array_agg(product_category
                  order by {{ newest }}, product_category desc nulls last,
                  product_category2 desc nulls last, product_category3 desc nulls last,
                  product_category4 desc nulls last, product_category5 desc nulls last)
        filter (where coalesce(product_category, product_category2, product_category3,
                               product_category4, product_category5) is not null)
       )[1] as product_category,
       (array_agg(product_variant order by {{ newest }}, product_variant desc)
        filter (where product_variant is not null))[1] as product_variant
from (
    -- Few combinations of attributes are left to sort.
    select product_key, product_id, product_name, product_brand, product_category,
           product_category2, product_category3, product_category4, product_category5,
           product_variant,
           max(case when event_time <= coalesce(sent_at, event_time) + interval '24 hours'
                    then date_trunc('minute', event_time) end) as as_of
    from {{ ref('facts') }}
    where product_key is not null
    group by all
) facts
group by product_key
{%- endif %}
