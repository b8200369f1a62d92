-- The facts of orders, each once: of those with the same transaction id, product and place the
-- earliest. An order belongs to the day of its first event, with all its lines.
with facts as (
    select *,
           case when transaction_id is null then event_time
                else coalesce(
                    min(event_time) filter (where not is_distant)
                        over (partition by transaction_id),
                    min(event_time) over (partition by transaction_id)) end as order_began,
           bool_and(is_distant) over (partition by transaction_id) as are_distant,
           row_number() over (
               partition by transaction_id, item_ordinal, product_key
               order by is_distant, event_time, fact_hash) as number
    from {{ ref('purchases') }}
    where event_name = 'purchase'
)
select order_id, order_began, {{ day_of('order_began') }} as order_day, event_time, fact_hash,
       person, platform, product_key, list_key, item_ordinal, units, revenue, currency, value, tax,
       shipping, coupon
from facts
where transaction_id is null or number = 1 and (are_distant or not is_distant)
