-- Who signs in on several devices, and who else signs in on them?
--
-- Example:
--   user_id | devices | other_users |  last_day
--  ---------+---------+-------------+------------
--   user-3  |       2 |           2 | 2026-11-04
SELECT i.user_id, count(*) AS devices, sum(d.users - 1) AS other_users,
       analytics.day_of(max(i.last_at)) AS last_day
FROM analytics.identities(analytics.first_day(), analytics.last_day()) i
JOIN (SELECT user_pseudo_id, count(*) AS users
      FROM analytics.identities(analytics.first_day(), analytics.last_day())
      GROUP BY user_pseudo_id) d USING (user_pseudo_id)
GROUP BY i.user_id HAVING count(*) > 1
ORDER BY devices DESC, other_users DESC, i.user_id
LIMIT 20;
