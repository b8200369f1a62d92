-- Facts of one time, name and event id (or visitor, where no id is sent) are one event, or as many
-- as have a first item.
select event_time, day, event_name, event_id, step, min(platform) as platform,
       min(person) as person, min(visitor) as visitor,
       bool_or(session_id is not null) as has_session_id,
       greatest(count(*) filter (where item_ordinal = 0),
                count(*) filter (where item_ordinal = 1), 1) as events,
       count(*) filter (where item_ordinal > 0) as items
from {{ ref('facts') }}
group by event_time, day, event_name, event_id, step, case when event_id is null then visitor end
