-- One row per day and currency: orders of the day, each once, and refunds of the day.
with refund_facts as (
    select *, max(item_ordinal) over (partition by order_id, event_time) as last_item
    from {{ ref('purchases') }}
    where event_name = 'refund'
), refunds as (
    select day, currency,
           case when max(item_ordinal) = 0 then min(value) else sum(revenue) end as refunds
    from refund_facts
    where item_ordinal > 0 or last_item = 0
    group by day, order_id, event_time, currency
), amounts as (
    select day, currency, 1 as orders, purchases, units, revenue, 0 as refunds
    from {{ ref('orders') }}
    union all
    select day, currency, 0, 0, 0, 0, refunds from refunds
)
select day, currency, cast(sum(orders) as bigint) as orders,
       cast(sum(purchases) as bigint) as purchases, {{ amount('sum(units)') }} as units,
       {{ amount('coalesce(sum(revenue), 0)') }} as revenue,
       {{ amount('coalesce(sum(refunds), 0)') }} as refunds,
       {{ amount('coalesce(sum(revenue), 0) - coalesce(sum(refunds), 0)') }} as net_revenue
from amounts
group by day, currency
