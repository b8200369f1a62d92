SELECT s.day, s.sessions, s.engaged_sessions, s.converted_sessions, s.engagement_rate::float8, s.conversion_rate::float8
FROM analytics.daily_sessions($1::date, $2::date) s
ORDER BY s.day
