-- One row per day: products shown in lists, selected, viewed, added, checked out and bought.
-- list_views, orders and events count events and orders.
with counts as (
    select day,
           {%- for step, name in [('view_item_list', 'impressions'), ('select_item', 'selects'),
                                  ('view_item', 'views'), ('add_to_cart', 'add_to_carts'),
                                  ('begin_checkout', 'checkouts')] %}
           cast(coalesce(sum(items) filter (where event_name = '{{ step }}'), 0) as bigint)
               as {{ name }},
           {%- endfor %}
           cast(coalesce(sum(events) filter (where event_name = 'view_item_list'), 0) as bigint)
               as list_views,
           cast(sum(events) as bigint) as events
    from {{ ref('events') }}
    group by day
), sold as (
    select day, cast(sum(purchases) as bigint) as purchases, count(distinct order_id) as orders
    from {{ ref('orders') }}
    group by day
)
select counts.day, list_views, impressions, selects, views, add_to_carts, checkouts,
       coalesce(sold.purchases, 0) as purchases, coalesce(sold.orders, 0) as orders, events,
       {{ rate('views', 'impressions') }} as view_rate,
       {{ rate('checkouts', 'views') }} as checkout_rate,
       {{ rate('coalesce(sold.purchases, 0)', 'checkouts') }} as purchase_rate
from counts
left join sold on sold.day = counts.day
