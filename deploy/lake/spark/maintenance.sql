-- Once a day: few large files instead of many small ones, and a short list of snapshots. Both keep
-- the offsets that the sink has committed: these are properties of the table.
CALL lake.system.rewrite_data_files(
    table => 'shop.facts', strategy => 'sort',
    sort_order => 'event_name ASC, event_time ASC',
    options => map('partial-progress.enabled', 'true'));
CALL lake.system.rewrite_data_files(table => 'shop.rejected_events');
CALL lake.system.rewrite_manifests('shop.facts');
-- Snapshots of the last seven days stay. expire_snapshots takes the age from the table.
ALTER TABLE shop.facts SET TBLPROPERTIES ('history.expire.max-snapshot-age-ms' = '604800000');
ALTER TABLE shop.rejected_events
    SET TBLPROPERTIES ('history.expire.max-snapshot-age-ms' = '604800000');
CALL lake.system.expire_snapshots(table => 'shop.facts', retain_last => 10);
CALL lake.system.expire_snapshots(table => 'shop.rejected_events', retain_last => 10);
-- Files that no snapshot has and that are older than three days, which is the default: a running
-- sink has files of a commit to come.
CALL lake.system.remove_orphan_files(table => 'shop.facts');
CALL lake.system.remove_orphan_files(table => 'shop.rejected_events');
