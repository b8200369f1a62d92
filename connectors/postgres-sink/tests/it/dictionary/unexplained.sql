-- Objects without a comment that need one.
SELECT name FROM relations WHERE comment IS NULL AND name <> 'refinery_schema_history'
UNION ALL
SELECT r.name || '.' || c.name FROM columns c JOIN relations r USING (oid) WHERE c.comment IS NULL
    AND r.name <> 'refinery_schema_history'
UNION ALL
SELECT DISTINCT f.name || '().' || r.name FROM results r JOIN functions f USING (oid)
    WHERE r.comment IS NULL AND NOT f.is_inner
UNION ALL
SELECT name || '()' FROM functions WHERE comment IS NULL
ORDER BY 1
