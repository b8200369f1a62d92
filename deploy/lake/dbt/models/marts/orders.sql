-- One row per order and currency. revenue is that of its lines; of an order without items it is
-- value, marked by is_by_value. value, tax and shipping are those of its first event.
with facts as (
    select *, max(item_ordinal) over (partition by order_id) as last_item
    from {{ ref('order_facts') }}
), orders as (
    select order_day as day, order_id, order_began, min(person) as person,
           min(platform) as platform, count(*) filter (where item_ordinal > 0) as purchases,
           coalesce(sum(units), 0) as units, sum(revenue) as revenue, currency,
           max(item_ordinal) = 0 as is_by_value,
           min(value) filter (where event_time = order_began) as value,
           min(tax) filter (where event_time = order_began) as tax,
           min(shipping) filter (where event_time = order_began) as shipping,
           min(coupon) as coupon
    from facts
    where item_ordinal > 0 or last_item = 0
    group by order_day, order_id, order_began, currency
)
select day, order_id, order_began, person, platform, purchases, {{ amount('units') }} as units,
       {{ amount('case when is_by_value then value else revenue end') }} as revenue, currency,
       is_by_value, {{ amount('value') }} as value, {{ amount('tax') }} as tax,
       {{ amount('shipping') }} as shipping, coupon
from orders
