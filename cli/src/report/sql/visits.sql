-- Sessions by platform, of the previous period (0), of the days that are over (1), and of the
-- others (2).
SELECT p.part, s.value, s.sessions, s.bounces, s.converted_sessions
FROM (VALUES (0, $3::date, $5::date), (1, $1::date, $4::date), (2, $4::date + 1, $2::date))
         p (part, first, last),
     LATERAL analytics.sessions_by('platform', p.first, p.last) s
WHERE p.first <= p.last
