-- What the catalogue says of the tables, views and functions, as views for the documents that are made of it.

-- The partitions of the facts are one table. Inner: what no reader asks.
CREATE TEMP VIEW relations AS
SELECT c.oid, c.oid::regclass::text AS name, n.nspname AS schema, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
       obj_description(c.oid, 'pg_class') AS comment,
       c.relname ~ '^(hourly_|touched_hours|history|repeated_transactions|glossary|open_hours|refinery)' AS is_inner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN (current_schema(), 'analytics') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition;

-- Without foreign keys (V1 says why) a column refers to the table whose whole primary key has its name.
CREATE TEMP VIEW "references" AS
SELECT child.oid, a.attnum, a.attname AS name, NOT a.attnotnull AS is_optional, parent.name AS parent
FROM relations parent
JOIN pg_constraint p ON p.conrelid = parent.oid AND p.contype = 'p' AND cardinality(p.conkey) = 1
JOIN pg_attribute k ON k.attrelid = parent.oid AND k.attnum = p.conkey[1]
JOIN pg_attribute a ON a.attname = k.attname AND a.attrelid <> parent.oid
JOIN relations child ON child.oid = a.attrelid
-- Names such as `id` are everybody's.
WHERE k.attname LIKE '%\_key';

CREATE TEMP VIEW columns AS
SELECT r.oid, a.attnum, a.attname AS name,
       replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') AS type,
       r.kind = 'table' AND NOT a.attnotnull AS is_nullable,
       EXISTS (SELECT FROM pg_constraint p WHERE p.conrelid = r.oid AND p.contype = 'p' AND a.attnum = ANY (p.conkey)) AS is_primary,
       EXISTS (SELECT FROM pg_constraint u WHERE u.conrelid = r.oid AND u.contype = 'u' AND a.attnum = ANY (u.conkey)) AS is_unique,
       f.parent, col_description(r.oid, a.attnum) AS comment
FROM relations r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN "references" f ON f.oid = r.oid AND f.attnum = a.attnum;

-- Readers call what returns a table; the rest is for operators and for the functions themselves.
CREATE TEMP VIEW functions AS
SELECT p.oid, p.oid::regproc::text AS name, n.nspname AS schema, obj_description(p.oid, 'pg_proc') AS comment,
       replace(replace(pg_get_function_arguments(p.oid), '::date', ''), 'timestamp with time zone', 'timestamptz') AS arguments,
       n.nspname <> 'analytics' OR NOT p.proretset OR p.proargnames[1] IN ('since', 'hours')
       OR p.proname LIKE '%\_in' OR p.proname IN ('daily_rates', 'order_facts', 'hours_known', 'differences', 'longer_sessions') AS is_inner
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN (current_schema(), 'analytics') AND p.prokind = 'f';

CREATE TEMP VIEW results AS
SELECT f.oid, r.ordinal, r.name, replace(format_type(r.type, NULL), 'timestamp with time zone', 'timestamptz') AS type, g.meaning AS comment
FROM functions f
JOIN pg_proc p ON p.oid = f.oid
CROSS JOIN LATERAL unnest(p.proallargtypes, p.proargmodes, p.proargnames) WITH ORDINALITY AS r(type, mode, name, ordinal)
LEFT JOIN analytics.glossary g ON g.name = r.name
WHERE r.mode = 't';

-- For Markdown: words in angle brackets are not HTML, and a bar ends no cell.
CREATE FUNCTION pg_temp.prose(comment text) RETURNS text
    RETURN replace(replace(comment, '<', '&lt;'), '|', '\|');
