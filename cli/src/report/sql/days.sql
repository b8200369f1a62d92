SELECT day, coalesce(f.events, 0), coalesce(f.impressions, 0), coalesce(f.orders, 0),
       coalesce(s.sessions, 0), coalesce(s.engaged_sessions, 0), coalesce(s.converted_sessions, 0),
       coalesce(s.bounces, 0), coalesce(n.new_people, 0), coalesce(n.returning_people, 0),
       coalesce(n.new_buyers, 0), coalesce(n.returning_buyers, 0)
FROM analytics.daily_funnel($1::date, $2::date) f
FULL JOIN (SELECT d.value::date AS day, d.*
           FROM analytics.sessions_by('day', $1::date, $2::date) d) s USING (day)
FULL JOIN analytics.new_and_returning($1::date, $2::date) n USING (day)
