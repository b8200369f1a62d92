SELECT d.topic, d.partition::bigint, d.records::bigint, d.records_with_rows::bigint,
       d.records_without_rows::bigint,
       (d.records_without_rows::numeric / nullif(d.records, 0))::float8
FROM analytics.duplicates d
ORDER BY d.topic, d.partition
