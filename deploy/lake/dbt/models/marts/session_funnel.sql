-- One row per step: the sessions that took it after all steps before it, in this order. A step is
-- left out if less than a tenth as many sessions have it as have a later step.
with paths as (
    select steps, count(*) as sessions
    from {{ ref('sessions') }}
    where steps is not null
    group by steps
), taken as (
    select n.step, n.event_name, n.letter,
           sum(paths.sessions) filter (where strpos(paths.steps, n.letter) > 0) as sessions
    from paths
    cross join (values (1, 'view_item_list', 'L'), (2, 'select_item', 'S'), (3, 'view_item', 'V'),
                 (4, 'add_to_cart', 'A'), (5, 'begin_checkout', 'C'), (6, 'purchase', 'P')
               ) as n (step, event_name, letter)
    group by n.step, n.event_name, n.letter
), sent as (
    select step, event_name, letter from (
        select *, max(sessions) over (
                      order by step rows between 1 following and unbounded following) as later
        from taken
    ) as followed
    where sessions > 0 and 10 * sessions >= coalesce(later, 0)
), wanted as (
    select step, event_name,
           '%' || string_agg(letter, '%') over (order by step) || '%' as path
    from sent
), reached as (
    select wanted.step, wanted.event_name,
           cast(coalesce(sum(paths.sessions) filter (where paths.steps like wanted.path), 0)
                as bigint) as sessions
    from wanted
    cross join paths
    group by wanted.step, wanted.event_name
), compared as (
    select *, first_value(sessions) over (order by step) as of_first,
           lag(sessions) over (order by step) as of_before
    from reached
)
select step, event_name, sessions, {{ rate('sessions', 'of_first') }} as rate_of_first,
       {{ rate('sessions', 'of_before') }} as rate_of_step_before
from compared
