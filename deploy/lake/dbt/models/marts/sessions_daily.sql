-- One row per day. bounce_rate: sessions with one event. ga4_bounce_rate: sessions that were not
-- engaged, which is what GA4 calls bounce rate.
with counts as (
    select day, count(*) as sessions, count(*) filter (where is_engaged) as engaged_sessions,
           count(*) filter (where is_converted) as converted_sessions,
           count(*) filter (where is_bounce) as bounces
    from {{ ref('sessions') }}
    group by day
)
select day, sessions, engaged_sessions, converted_sessions, bounces,
       {{ rate('engaged_sessions', 'sessions') }} as engagement_rate,
       {{ rate('bounces', 'sessions') }} as bounce_rate,
       {{ rate('sessions - engaged_sessions', 'sessions') }} as ga4_bounce_rate,
       {{ rate('converted_sessions', 'sessions') }} as conversion_rate
from counts
