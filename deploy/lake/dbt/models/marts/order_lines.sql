-- Lines of orders, and the list that led to each: the one that the purchase's item names, else that
-- of the person's last click on the product in the 24 hours up to it.
with lines as (
    select * from {{ ref('order_facts') }} where item_ordinal > 0
), followed as (
    select * from lines
    where list_key is null and person is not null and product_key is not null
), moments as (
    select event_time, fact_hash, person, product_key, list_key
    from {{ ref('list_responses') }}
    where is_click and person is not null and product_key is not null
    union all
    select event_time, fact_hash, person, product_key, null from followed
), numbered as (
    select *, count(list_key) over (
                  partition by person, product_key
                  order by event_time, list_key nulls last, fact_hash) as click
    from moments
), led as (
    select *, first_value(list_key) over clicks as led_by,
           first_value(event_time) over clicks as clicked_at
    from numbered
    window clicks as (
        partition by person, product_key, click
        order by event_time, list_key nulls last, fact_hash)
), leads as (
    select fact_hash, led_by
    from led
    where list_key is null and click > 0 and event_time - clicked_at <= interval '24 hours'
)
select lines.order_day as day, lines.order_id, lines.order_began, lines.event_time, lines.person,
       lines.platform, lines.product_key, lines.list_key,
       coalesce(lines.list_key, leads.led_by) as led_by, lines.item_ordinal,
       {{ amount('lines.units') }} as units, {{ amount('lines.revenue') }} as revenue,
       lines.currency, lines.fact_hash
from lines
left join leads using (fact_hash)
