-- sql/DICTIONARY.md.
WITH column_tables AS (
    SELECT oid, string_agg(concat('| `', name, '` | ', type, ' | ',
               CASE WHEN is_nullable THEN 'yes' END, ' | ',
               concat_ws(', ', CASE WHEN is_primary THEN 'primary' END, CASE WHEN is_unique
                   THEN 'unique' END, '→ `' || parent || '`'), ' | ',
               pg_temp.prose(comment), ' |'), E'\n' ORDER BY attnum) AS lines
    FROM columns GROUP BY oid
), view_tables AS (
    SELECT oid, string_agg(concat('| `', name, '` | ', type, ' | ', pg_temp.prose(comment), ' |'),
                           E'\n' ORDER BY attnum) AS lines
    FROM columns GROUP BY oid
), result_tables AS (
    SELECT oid, string_agg(format('| `%s` | %s | %s |', name, type, pg_temp.prose(comment)), E'\n'
        ORDER BY ordinal) AS lines
    FROM results GROUP BY oid
), entries AS (
    SELECT r.schema, 1 AS part, r.oid, r.name, format(E'### `%s`\n\nA table. %s\n\n| column | type | nullable | key | |\n|---|---|---|---|---|\n%s\n', r.name,
               pg_temp.prose(r.comment), t.lines) AS entry
    FROM relations r JOIN column_tables t USING (oid) WHERE r.kind = 'table' AND NOT r.is_inner
    UNION ALL
    SELECT r.schema, 2, r.oid, r.name, format(E'### `%s`\n\nA view. %s\n\n| column | type | |\n|---|---|---|\n%s\n', r.name,
               pg_temp.prose(r.comment), t.lines)
    FROM relations r JOIN view_tables t USING (oid) WHERE r.kind = 'view' AND NOT r.is_inner
    UNION ALL
    SELECT f.schema, 3, f.oid, f.name, format(E'### `%s(…)`\n\nArguments: `%s`. %s\n\n| result | type | |\n|---|---|---|\n%s\n', f.name,
               f.arguments, pg_temp.prose(f.comment), t.lines)
    FROM functions f JOIN result_tables t USING (oid) WHERE NOT f.is_inner
    UNION ALL
    SELECT '~', 1, r.oid, NULL, format('| `%s` | %s |', r.name, pg_temp.prose(r.comment))
    FROM relations r WHERE r.is_inner AND r.comment IS NOT NULL
    UNION ALL
    SELECT '~', 2, f.oid, NULL, format('| `%s(%s)` | %s |', f.name, f.arguments, pg_temp.prose(f.comment))
    FROM functions f WHERE f.is_inner
), links AS (
    -- The anchors of GitHub: a view and a function may have one name.
    SELECT schema, part, oid,
           format('[`%s`](#%s%s)', name, translate(name, '.', ''),
                  CASE WHEN lag(name) OVER (PARTITION BY name ORDER BY part) IS NOT NULL THEN '-1' END)
               AS link
    FROM entries WHERE name IS NOT NULL
), contents AS (
    SELECT string_agg(format('- %s of `%s`: %s', kind, schema, links), E'\n'
                      ORDER BY schema = 'analytics', schema, part) AS text
    FROM (SELECT schema, part, (ARRAY['Tables', 'Views', 'Functions'])[part] AS kind,
                 string_agg(link, ', ' ORDER BY oid) AS links
          FROM links GROUP BY schema, part) AS of_kinds
), schemas AS (
    SELECT schema, CASE schema
               WHEN '~' THEN E'## For operators, and inner workings\n\n| | |\n|---|---|\n'
                   || string_agg(entry, E'\n' ORDER BY part, oid) || E'\n'
               ELSE format(E'## Schema `%s`\n\n', schema) || string_agg(entry, E'\n' ORDER BY part,
                   oid)
           END AS text
    FROM entries GROUP BY schema
)
SELECT E'# Data dictionary\n\nMade from the comments of a migrated database; [`README.md`](README.md) is the guide. Views and functions '
       'don''t say which of their columns can be NULL. A name means the same everywhere: analytics.glossary.\n\n'
       || (SELECT text FROM contents) || E'\n\n'
       || string_agg(text, E'\n' ORDER BY schema = '~', schema = 'analytics', schema)
FROM schemas
