-- The tables as a Mermaid diagram, with every column if $1, else only with the keys.
WITH lines AS (
    SELECT 1 AS part, f.oid, f.attnum, format('    %s %s--o{ %s : %s', f.parent,
        CASE WHEN f.is_optional THEN '|o' ELSE '||' END, r.name, f.name) AS line
    FROM "references" f JOIN relations r USING (oid)
    WHERE r.kind = 'table' AND NOT r.is_inner
    UNION ALL
    SELECT 2, r.oid, 0, format(E'    %s {\n%s\n    }', r.name, string_agg(
               rtrim(format('        %s %s %s', c.type, c.name,
                            concat_ws(', ', CASE WHEN c.is_primary THEN 'PK' END,
                                CASE WHEN c.parent IS NOT NULL THEN 'FK' END,
                                      CASE WHEN c.is_unique THEN 'UK' END))),
               E'\n' ORDER BY c.attnum))
    FROM relations r JOIN columns c USING (oid)
    WHERE r.kind = 'table' AND NOT r.is_inner AND ($1::boolean OR c.is_primary OR c.is_unique
        OR c.parent IS NOT NULL)
    GROUP BY r.oid, r.name
)
SELECT E'```mermaid\nerDiagram\n' || string_agg(line, E'\n' ORDER BY part, oid, attnum)
    || E'\n```\n' FROM lines
