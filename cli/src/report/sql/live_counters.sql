SELECT clock_timestamp(), analytics.time_zone(), (SELECT count(*) FROM analytics.open_hours),
       coalesce(sum(records), 0)::bigint, max(updated_at)
FROM sink_offsets
