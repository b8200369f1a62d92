-- One row per session. Events with a session id are a session with the others of that id of the
-- device, unless 8 hours lie between. Without one, a session is a device's events with no gap above
-- the variable session_gap. It belongs to the day it begins. steps has a letter for each step:
-- L list, S select, V view, A add to cart, C checkout, P purchase.
{%- set in_order %}event_time, step nulls last, person nulls last, platform nulls last, event_name,
                   event_id nulls last{% endset %}
with followed as (
    select *, lag(event_time) over (partition by visitor order by {{ in_order }}) as before
    from {{ ref('events') }}
    where visitor is not null
), numbered as (
    select *,
           count(*) filter (
               where before is null
                  or event_time - before > case when has_session_id then interval '8 hours'
                                                else interval '{{ var("session_gap") }}' end
           ) over (partition by visitor order by {{ in_order }} rows unbounded preceding) as number
    from followed
), sessions as (
    select visitor, min(event_time) as started_at, max(event_time) as ended_at,
           (array_agg(platform order by {{ in_order }}))[1] as platform,
           cast(sum(events) as bigint) as events,
           cast(coalesce(sum(events) filter (
               where event_name in ('view_item_list', 'view_item', 'page_view', 'screen_view')
           ), 0) as bigint) as views,
           bool_or(coalesce(step = 6, false)) as is_converted,
           string_agg(substr('LSVACP', step, 1), '' order by event_time, step) as steps
    from numbered
    group by visitor, number
)
select {{ day_of('started_at') }} as day, visitor, started_at, ended_at, platform, events, views,
       ended_at - started_at > interval '10 seconds' or is_converted or views >= 2 as is_engaged,
       is_converted, events = 1 as is_bounce, steps
from sessions
