SELECT r.reason,
       coalesce(sum(r.rejected) FILTER (WHERE r.day BETWEEN $1::date AND $2::date), 0)::bigint,
       sum(r.rejected)::bigint, max(r.day), count(*) OVER ()
FROM analytics.rejections r
GROUP BY r.reason
ORDER BY 2 DESC, 3 DESC, r.reason
LIMIT 50
