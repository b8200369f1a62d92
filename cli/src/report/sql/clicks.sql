-- Products shown and clicked in lists: by day, and by list in the days compared.
WITH lists AS (
    SELECT l.day, l.list_key,
           sum(l.impressions)::bigint AS impressions, sum(l.clicks)::bigint AS clicks,
           (sum(l.impressions) FILTER (WHERE l.day BETWEEN $1::date AND $4::date))::bigint
               AS impressions_now,
           (sum(l.clicks) FILTER (WHERE l.day BETWEEN $1::date AND $4::date))::bigint AS clicks_now,
           (sum(l.impressions) FILTER (WHERE l.day <= $5::date))::bigint AS impressions_before,
           (sum(l.clicks) FILTER (WHERE l.day <= $5::date))::bigint AS clicks_before
    FROM analytics.daily_lists($3::date, $2::date) l
    GROUP BY GROUPING SETS ((l.day), (l.list_key))
)
SELECT l.day, analytics.list_label(d), l.impressions, l.clicks,
       coalesce(l.impressions_now, 0), coalesce(l.clicks_now, 0),
       coalesce(l.impressions_before, 0), coalesce(l.clicks_before, 0)
FROM lists l LEFT JOIN dim_list d USING (list_key)
