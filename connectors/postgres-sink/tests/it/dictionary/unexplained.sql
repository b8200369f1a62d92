-- What carries no comment and should.
SELECT name FROM relations WHERE comment IS NULL AND name <> 'refinery_schema_history'
UNION ALL
SELECT r.name || '.' || c.name FROM columns c JOIN relations r USING (oid) WHERE c.comment IS NULL AND (NOT r.is_inner OR r.name LIKE 'analytics.sealed%')
UNION ALL
SELECT name || '()' FROM functions WHERE comment IS NULL
ORDER BY 1
