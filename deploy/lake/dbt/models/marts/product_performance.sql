-- One row per product and currency of its sales. view_to_purchase_rate = people who bought the
-- product / people who viewed it, which is GA4's purchase-to-view rate.
with counts as (
    select product_key,
           count(distinct person) filter (where event_name = 'view_item') as viewers,
           count(distinct person) filter (where event_name = 'add_to_cart') as cart_adders,
           count(distinct person) filter (where event_name = 'begin_checkout')
               as checkout_starters,
           count(distinct person) filter (where event_name = 'purchase') as buyers,
           count(*) filter (where event_name = 'view_item_list') as impressions,
           count(*) filter (where event_name = 'view_item') as views,
           count(*) filter (where event_name = 'add_to_cart') as add_to_carts,
           count(*) filter (where event_name = 'begin_checkout') as checkouts
    from {{ ref('facts') }}
    where product_key is not null
      and event_name in ('view_item_list', 'view_item', 'add_to_cart', 'begin_checkout', 'purchase')
    group by product_key
), sold as (
    select product_key, currency, count(*) as purchases, count(distinct order_id) as orders,
           sum(units) as units, coalesce(sum(revenue), 0) as revenue
    from {{ ref('order_lines') }}
    where product_key is not null
    group by product_key, currency
)
select products.product_id,
       coalesce(products.product_name, products.product_id,
                nullif(concat_ws(' ', products.product_brand, products.product_category,
                                 products.product_variant), ''), 'no name') as product,
       products.product_brand as brand, products.product_category as category, counts.viewers,
       counts.cart_adders, counts.checkout_starters, counts.buyers, counts.impressions,
       counts.views, counts.add_to_carts, counts.checkouts,
       coalesce(sold.purchases, 0) as purchases, coalesce(sold.orders, 0) as orders,
       {{ amount('coalesce(sold.units, 0)') }} as units,
       {{ amount('coalesce(sold.revenue, 0)') }} as revenue, sold.currency,
       {{ rate('counts.cart_adders', 'counts.viewers') }} as cart_to_view_rate,
       {{ rate('counts.buyers', 'counts.viewers') }} as view_to_purchase_rate, counts.product_key
from counts
join {{ ref('products') }} products on products.product_key = counts.product_key
left join sold on sold.product_key = counts.product_key
