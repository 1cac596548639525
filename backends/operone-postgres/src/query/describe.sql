-- Tables and views that can be read, one row per column; those of one name where $1 names one.
SELECT shown.name, shown.kind,
       pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM (
    SELECT c.oid, n.nspname, c.relname,
           CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END AS kind,
           pg_catalog.format(
               CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN '%2$I' ELSE '%1$I.%2$I' END, n.nspname, c.relname
           ) AS name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND NOT c.relispartition
      AND n.nspname <> 'information_schema'
      AND n.nspname !~ '^pg_'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
) AS shown
JOIN pg_catalog.pg_attribute a
  ON a.attrelid = shown.oid AND a.attnum > 0 AND NOT a.attisdropped
 AND pg_catalog.has_column_privilege(shown.oid, a.attnum, 'SELECT')
WHERE $1::pg_catalog.text IS NULL
   OR $1 IN (shown.name, shown.relname, shown.nspname || '.' || shown.relname,
             pg_catalog.quote_ident(shown.relname), pg_catalog.format('%I.%I', shown.nspname, shown.relname))
ORDER BY shown.nspname, shown.relname, a.attnum
LIMIT 20000
