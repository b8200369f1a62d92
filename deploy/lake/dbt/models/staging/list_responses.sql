-- One row per response to a list: a click or an engaged impression.
--
-- A click is a select_item item that names the list, or its substitute, decided view by view: a
-- view_item of a product that a list showed to the person in the 30 minutes up to it, where no
-- select_item of the product by the person was sent in these 30 minutes. Of several lists the one
-- that showed it last. An impression is engaged when the person does something further with the
-- product at that time or within 30 minutes.
with known as (
    select event_time, fact_hash, event_name, person, product_key, list_key, item_ordinal, step
    from {{ ref('facts') }}
    where step is not null and product_key is not null and person is not null
), pairs as (
    -- Pairs of person and product with more than impressions.
    select *, step = 1 and list_key is not null as shows
    from known
    where step > 1 or (person, product_key) in (
        select person, product_key from known where step > 1)
), followed as (
    select *, count(*) filter (where shows) over before as showing,
           max(event_time) filter (where step = 2) over before as selected_at,
           min(event_time) filter (where step > 1) over (
               partition by person, product_key order by event_time desc) as next_at
    from pairs
    window before as (
        partition by person, product_key
        order by event_time, step, item_ordinal, list_key nulls last, fact_hash)
), led as (
    select *, first_value(event_time) over showings as shown_at,
           first_value(list_key) over showings as shown_by
    from followed
    window showings as (
        partition by person, product_key, showing
        order by event_time, step, item_ordinal, list_key nulls last, fact_hash)
)
select event_time, fact_hash, person, product_key, list_key, true as is_click,
       false as is_substitute
from {{ ref('facts') }}
where event_name = 'select_item' and list_key is not null
union all
select event_time, fact_hash, person, product_key, shown_by, true, true
from led
where step = 3 and showing > 0 and event_time - shown_at <= interval '30 minutes'
  and (selected_at is null or event_time - selected_at > interval '30 minutes')
union all
select event_time, fact_hash, person, product_key, list_key, false, false
from led
where step = 1 and list_key is not null and next_at - event_time <= interval '30 minutes'
