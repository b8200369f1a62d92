-- Facts of purchases and refunds. Those of one event are distant only together: an event is distant
-- that is dated more than 72 hours before or after SQS received it. It has no part in an order that
-- others tell of.
with facts as (
    select *,
           bool_and(coalesce(event_time < sent_at - interval '72 hours'
                             or event_time > sent_at + interval '72 hours', false))
               over (partition by event_name, event_time, event_id, transaction_id) as is_distant
    from {{ ref('facts') }}
    where event_name in ('purchase', 'refund')
)
select event_time, day, event_name, fact_hash, person, platform, product_key, list_key,
       item_ordinal, transaction_id, is_distant,
       coalesce(transaction_id, event_id,
                md5(concat_ws(' ', {{ epoch_text('event_time') }}, user_id, user_pseudo_id,
                              platform))) as order_id,
       case when item_ordinal > 0 then coalesce(quantity, 1) end as units,
       case when item_ordinal > 0 then
           coalesce(case event_name when 'refund' then item_refund else item_revenue end,
                    {{ product('price', 'coalesce(quantity, 1)') }}) end as revenue,
       coalesce(currency, 'no currency') as currency, value, tax, shipping,
       coalesce(event_coupon, item_coupon) as coupon
from facts
