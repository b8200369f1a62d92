SELECT s.value::date, s.sessions, s.engaged_sessions, s.converted_sessions, s.engagement_rate::float8, s.conversion_rate::float8
FROM analytics.sessions_by('day', $1::date, $2::date) s
ORDER BY 1
