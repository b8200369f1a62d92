-- One row per list and currency of its sales. An impression is a product shown to a person in a
-- list. engagement_rate = engaged impressions / impressions of known people.
with list_views as (
    select event_time, list_key, person, count(*) as impressions
    from {{ ref('facts') }}
    where event_name = 'view_item_list' and list_key is not null and item_ordinal > 0
    group by event_time, list_key, person, event_id
), views as (
    select list_key, count(*) as list_views, cast(sum(impressions) as bigint) as impressions,
           cast(coalesce(sum(impressions) filter (where person is not null), 0) as bigint)
               as known_impressions,
           count(distinct person) as viewers
    from list_views
    group by list_key
), responses as (
    select list_key, count(*) filter (where is_click) as clicks,
           count(*) filter (where is_substitute) as substitutes,
           count(*) filter (where not is_click) as engaged,
           count(distinct person) filter (where is_click) as clickers,
           count(distinct person) filter (where not is_click) as engaged_viewers
    from {{ ref('list_responses') }}
    group by list_key
), counts as (
    select list_key, coalesce(list_views, 0) as list_views, coalesce(impressions, 0) as impressions,
           coalesce(known_impressions, 0) as known_impressions, coalesce(viewers, 0) as viewers,
           coalesce(clicks, 0) as clicks, coalesce(substitutes, 0) as substitutes,
           coalesce(engaged, 0) as engaged, coalesce(clickers, 0) as clickers,
           coalesce(engaged_viewers, 0) as engaged_viewers
    from views
    full join responses using (list_key)
), sold as (
    select led_by as list_key, currency, count(*) as purchases,
           count(distinct order_id) as orders, sum(units) as units,
           coalesce(sum(revenue), 0) as revenue
    from {{ ref('order_lines') }}
    where led_by is not null
    group by led_by, currency
), lists as (
    select list_key, min(list_id) as list_id, min(list_name) as list_name
    from {{ ref('facts') }}
    where list_key is not null
    group by list_key
)
select lists.list_id, coalesce(lists.list_name, lists.list_id) as list, counts.list_views,
       counts.impressions, counts.viewers, counts.clicks, counts.substitutes, counts.clickers,
       counts.engaged, counts.engaged_viewers,
       {{ rate('counts.clicks', 'counts.impressions') }} as click_through_rate,
       {{ rate('counts.clickers', 'counts.viewers') }} as click_through_user_rate,
       {{ rate('counts.engaged', 'counts.known_impressions') }} as engagement_rate,
       {{ rate('counts.engaged_viewers', 'counts.viewers') }} as engaged_user_rate,
       coalesce(sold.purchases, 0) as purchases, coalesce(sold.orders, 0) as orders,
       {{ amount('coalesce(sold.units, 0)') }} as units,
       {{ amount('coalesce(sold.revenue, 0)') }} as revenue, sold.currency, lists.list_key
from counts
join lists on lists.list_key = counts.list_key
left join sold on sold.list_key = counts.list_key
