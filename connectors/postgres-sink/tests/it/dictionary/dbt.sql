-- deploy/dbt/models/comments.md: the comments as blocks for the descriptions of dbt.
WITH blocks AS (
    SELECT oid, 0 AS attnum, name AS label, comment FROM relations WHERE NOT is_inner
    UNION ALL
    SELECT oid, c.attnum, r.name || '__' || c.name, c.comment FROM columns c
        JOIN relations r USING (oid) WHERE NOT r.is_inner
)
SELECT E'The comments of the database. Made by the test `dictionary`; don''t edit.\n\n'
       || string_agg(format('{%% docs %s %%}%s{%% enddocs %%}', replace(label, '.', '_'), comment),
           E'\n' ORDER BY oid, attnum) || E'\n'
FROM blocks
