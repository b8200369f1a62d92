-- In Athena, engine 3, over the catalog in Glue. One statement at a time, in the workgroup of
-- aws/lake.yaml. Large jobs: a WHERE on the day limits what OPTIMIZE rewrites.

-- Few large files instead of many small ones.
OPTIMIZE shop.facts REWRITE DATA USING BIN_PACK
WHERE event_time >= current_timestamp - interval '3' day;

-- Expires snapshots of more than five days and deletes files that no snapshot has.
ALTER TABLE shop.facts SET TBLPROPERTIES ('vacuum_max_snapshot_age_seconds' = '432000');
VACUUM shop.facts;
