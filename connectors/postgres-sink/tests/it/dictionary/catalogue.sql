-- The tables, views and functions in the catalogue, as views for the documents made from it.

-- The partitions of the facts are one table. Inner tables are not for readers.
CREATE TEMP VIEW relations AS
SELECT c.oid, c.oid::regclass::text AS name, n.nspname AS schema, CASE c.relkind WHEN 'v'
    THEN 'view' ELSE 'table' END AS kind,
       obj_description(c.oid, 'pg_class') AS comment,
       c.relname ~ ('^(hourly_|touched_hours|history|repeated_transactions|sink_clusters|glossary|'
           'open_hours|refresh_|refinery)') AS is_inner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN (current_schema(), 'analytics') AND c.relkind IN ('r', 'p', 'v')
    AND NOT c.relispartition;

-- Without foreign keys (V1 gives the reason) a column refers to the table whose primary key
-- consists of a column with its name.
CREATE TEMP VIEW "references" AS
SELECT child.oid, a.attnum, a.attname AS name, NOT a.attnotnull AS is_optional,
    parent.name AS parent
FROM relations parent
JOIN pg_constraint p ON p.conrelid = parent.oid AND p.contype = 'p' AND cardinality(p.conkey) = 1
JOIN pg_attribute k ON k.attrelid = parent.oid AND k.attnum = p.conkey[1]
JOIN pg_attribute a ON a.attname = k.attname AND a.attrelid <> parent.oid
JOIN relations child ON child.oid = a.attrelid
-- Many tables have names such as `id`.
WHERE k.attname LIKE '%\_key';

CREATE TEMP VIEW columns AS
SELECT r.oid, a.attnum, a.attname AS name,
       replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone',
           'timestamptz') AS type,
       r.kind = 'table' AND NOT a.attnotnull AS is_nullable,
       EXISTS (SELECT FROM pg_constraint p WHERE p.conrelid = r.oid AND p.contype = 'p'
           AND a.attnum = ANY (p.conkey)) AS is_primary,
       EXISTS (SELECT FROM pg_constraint u WHERE u.conrelid = r.oid AND u.contype = 'u'
           AND a.attnum = ANY (u.conkey)) AS is_unique,
       f.parent, col_description(r.oid, a.attnum) AS comment
FROM relations r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN "references" f ON f.oid = r.oid AND f.attnum = a.attnum;

-- Readers call functions that return a table. Others are for operators and other functions.
CREATE TEMP VIEW functions AS
SELECT p.oid, p.oid::regproc::text AS name, n.nspname AS schema, obj_description(p.oid,
    'pg_proc') AS comment,
       replace(replace(pg_get_function_arguments(p.oid), '::date', ''), 'timestamp with time zone',
           'timestamptz') AS arguments,
       n.nspname <> 'analytics' OR NOT p.proretset OR p.proargnames[1] IN ('since', 'hours')
       OR p.proname LIKE '%\_in' OR p.proname LIKE 'day\_%\_of' OR p.proname LIKE 'unstored\_%'
       OR p.proname IN ('daily_rates', 'order_facts', 'hours_known', 'find_open_hours',
           'differences', 'longer_sessions', 'reach') AS is_inner
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN (current_schema(), 'analytics') AND p.prokind = 'f';

-- A function returns columns of its own, or the rows of a table.
CREATE TEMP VIEW results AS
SELECT f.oid, r.ordinal, r.name, replace(format_type(r.type, NULL), 'timestamp with time zone',
    'timestamptz') AS type, coalesce(r.comment, g.meaning) AS comment
FROM functions f
JOIN pg_proc p ON p.oid = f.oid
CROSS JOIN LATERAL (
    SELECT a.type, a.name, a.ordinal, NULL AS comment
    FROM unnest(p.proallargtypes, p.proargmodes, p.proargnames) WITH ORDINALITY AS a(type, mode,
        name, ordinal)
    WHERE a.mode = 't'
    UNION ALL
    SELECT a.atttypid, a.attname, a.attnum, col_description(a.attrelid, a.attnum)
    FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
    WHERE t.oid = p.prorettype AND a.attnum > 0 AND NOT a.attisdropped
) r
LEFT JOIN analytics.glossary g ON g.name = r.name;

-- Escapes for Markdown: words in angle brackets are not HTML, and a bar does not end a cell.
CREATE FUNCTION pg_temp.prose(comment text) RETURNS text
    RETURN replace(replace(comment, '<', '&lt;'), '|', '\|');
