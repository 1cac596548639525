-- Why the connected role, or one that it can become, is more than a reader; the worst first, none if it only reads.
WITH roles AS (
    SELECT r.*
    FROM pg_catalog.pg_roles r
    WHERE pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')
), tables AS (
    SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname <> 'information_schema'
      AND n.nspname !~ '^pg_'
)
SELECT reason
FROM (
    SELECT 1 AS rank, pg_catalog.format('%I is a superuser', rolname) AS reason
    FROM roles WHERE rolsuper
    UNION ALL
    SELECT 2, pg_catalog.format('%I may create roles or databases, or replicate', rolname)
    FROM roles WHERE rolcreaterole OR rolcreatedb OR rolreplication
    UNION ALL
    SELECT 3, pg_catalog.format('it is a member of %I', rolname)
    FROM roles
    WHERE rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', 'pg_write_all_data',
                      'pg_signal_backend', 'pg_maintain', 'pg_checkpoint', 'pg_create_subscription')
    UNION ALL
    SELECT 4, pg_catalog.format('%I may write to %s', roles.rolname, tables.name)
    FROM roles CROSS JOIN tables
    WHERE pg_catalog.has_table_privilege(roles.oid, tables.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
       OR pg_catalog.has_any_column_privilege(roles.oid, tables.oid, 'INSERT, UPDATE')
    UNION ALL
    SELECT 5, pg_catalog.format('it may call %s, which reaches other servers', p.oid::pg_catalog.regprocedure)
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d
      ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
     AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    JOIN pg_catalog.pg_proc p ON p.oid = d.objid
    WHERE e.extname = 'dblink' AND p.proname <> 'dblink_fdw_validator'
      AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
) AS found
ORDER BY rank
LIMIT 1
