//! A Postgres database that agents read by SQL: what it gives, and what nobody can make it do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use operone_core::ErrorKind;
use operone_core::query::{QueryDatabase, QueryLimits};
use operone_postgres::PostgresQueryDatabase;

#[tokio::test]
async fn a_server_that_does_not_answer_may_answer_later() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgresql://agents:canary@{closed}/sales?sslmode=disable");
    let database = PostgresQueryDatabase::new(&url).unwrap();
    for error in [
        database.verify().await.unwrap_err(),
        database.query("SELECT 1", &[], QueryLimits::default()).await.unwrap_err(),
        database.describe(None).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable());
        assert!(!format!("{error:?} {database:?} {}", error.with_causes()).contains("canary"));
    }
}

/// Run by `cargo xtask test`, which starts a server and names it in `OPERONE_TEST_POSTGRES_URL` with a role that may do
/// everything.
mod with_postgres {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use operone_core::query::Rows;
    use serde_json::{Value, json};
    use sqlx::postgres::PgConnection;
    use sqlx::{AssertSqlSafe, Connection, Executor};

    use super::*;

    const TABLES: &str = "
        CREATE TYPE colour AS ENUM ('red', 'blue');
        CREATE DOMAIN amount AS integer CHECK (value > 0);
        CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL, price numeric(10, 2), paid amount);
        INSERT INTO orders VALUES (1, 'lamp', 19.50, 1), (2, 'chair', 80, NULL);
        CREATE TABLE \"Odd name\" (\"a b\" colour);
        CREATE TABLE secrets (word text);
        INSERT INTO secrets VALUES ('hidden');
        CREATE VIEW cheap AS SELECT item FROM orders WHERE price < 50;
        CREATE SEQUENCE numbers;
        CREATE SCHEMA more;
        CREATE TABLE more.things (id uuid);
        CREATE FUNCTION sneak() RETURNS integer LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO orders VALUES (99, 'sneaked'); RETURN 1; END $$;
        CREATE FUNCTION sneak_as_owner() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS
            $$ BEGIN INSERT INTO orders VALUES (99, 'sneaked'); RETURN 1; END $$;";

    /// A database of its own with a role `reader_…` that only reads and `writer_…` that does not.
    struct Fixture {
        admin: PgConnection,
        base: String,
        name: String,
        database: PostgresQueryDatabase,
    }

    async fn fixture() -> Fixture {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let base =
            std::env::var("OPERONE_TEST_POSTGRES_URL").expect("OPERONE_TEST_POSTGRES_URL names the server");
        let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let name = format!("q{}_{}_{nanos}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut first = PgConnection::connect(&base).await.unwrap();
        for sql in [
            format!("CREATE DATABASE {name}"),
            format!("CREATE ROLE reader_{name} LOGIN"),
            format!("CREATE ROLE writer_{name} LOGIN"),
        ] {
            first.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        let mut admin = PgConnection::connect(&url_of(&base, "postgres", &name)).await.unwrap();
        let grants = format!(
            "GRANT SELECT ON orders, \"Odd name\", cheap TO reader_{name}; GRANT USAGE ON SCHEMA more TO reader_{name};
             GRANT SELECT ON more.things TO reader_{name}; GRANT USAGE, UPDATE ON numbers TO reader_{name};
             GRANT SELECT, INSERT ON orders TO writer_{name};"
        );
        sqlx::raw_sql(AssertSqlSafe(format!("{TABLES} {grants}"))).execute(&mut admin).await.unwrap();
        let database = PostgresQueryDatabase::new(&url_of(&base, &format!("reader_{name}"), &name)).unwrap();
        Fixture { admin, base, name, database }
    }

    fn url_of(base: &str, role: &str, database: &str) -> String {
        let (_, host) = base.rsplit_once('@').unwrap();
        let (host, _) = host.split_once('/').unwrap();
        format!("postgresql://{role}@{host}/{database}")
    }

    impl Fixture {
        async fn query(&self, sql: &str, parameters: &[Value]) -> operone_core::Result<Rows> {
            self.database.query(sql, parameters, QueryLimits::default()).await
        }

        async fn value(&self, sql: &str) -> Value {
            match self.query(sql, &[]).await {
                Ok(mut rows) => rows.rows.swap_remove(0).swap_remove(0),
                Err(error) => panic!("{sql}: {error:?}"),
            }
        }

        async fn error(&self, sql: &str) -> operone_core::Error {
            match self.query(sql, &[]).await {
                Ok(rows) => panic!("{sql}: {rows:?}"),
                Err(error) => error,
            }
        }

        /// What an administrator sees.
        async fn seen(&mut self, sql: &'static str) -> i64 {
            sqlx::query_scalar(sql).fetch_one(&mut self.admin).await.unwrap()
        }

        fn as_role(&self, role: &str) -> PostgresQueryDatabase {
            PostgresQueryDatabase::new(&url_of(&self.base, role, &self.name)).unwrap()
        }
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn rows_come_in_order_with_their_names() {
        let fixture = fixture().await;
        fixture.database.verify().await.unwrap();
        let sql = "SELECT id, item, price, paid, item FROM orders WHERE price > $1 ORDER BY id DESC;  ";
        let rows = fixture.query(sql, &[json!(1)]).await.unwrap();
        assert_eq!(rows.columns, ["id", "item", "price", "paid", "item"]);
        assert_eq!(
            json!(rows.rows),
            json!([[2, "chair", "80.00", null, "chair"], [1, "lamp", "19.50", 1, "lamp"]])
        );
        let empty = fixture.query("SELECT id AS number FROM orders WHERE false", &[]).await.unwrap();
        assert_eq!((empty.columns.len(), empty.rows.len(), empty.truncated), (1, 0, false));
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn each_type_has_its_form() {
        let fixture = fixture().await;
        for (sql, expected) in [
            ("SELECT 9007199254740993", json!(9_007_199_254_740_993_i64)),
            ("SELECT 1::smallint", json!(1)),
            ("SELECT 12345678901234567890.123456789::numeric", json!("12345678901234567890.123456789")),
            ("SELECT 0.1::double precision", json!(0.1)),
            ("SELECT 0.1::real", json!(0.1)),
            ("SELECT 'NaN'::float8", json!("NaN")),
            ("SELECT true", json!(true)),
            ("SELECT NULL::integer", Value::Null),
            ("SELECT 'x'::varchar", json!("x")),
            ("SELECT '{\"a\": [1, null]}'::jsonb", json!({"a": [1, null]})),
            ("SELECT '[1]'::json", json!([1])),
            ("SELECT '2024-03-01 12:00:00+02'::timestamptz", json!("2024-03-01T10:00:00Z")),
            ("SELECT '2024-03-01 12:00:00.25'::timestamp", json!("2024-03-01T12:00:00.25")),
            ("SELECT '2024-03-01'::date", json!("2024-03-01")),
            ("SELECT '12:30'::time", json!("12:30:00")),
            ("SELECT '1 day 2 hours'::interval", json!("P1DT2H")),
            ("SELECT 'infinity'::timestamptz", json!("infinity")),
            (
                "SELECT '0190163d-8694-739b-aea5-966c26f8ad90'::uuid",
                json!("0190163d-8694-739b-aea5-966c26f8ad90"),
            ),
            ("SELECT '\\x00ff'::bytea", json!("AP8=")),
            ("SELECT decode(repeat('00', 100), 'hex')", json!(format!("{}AAAA==", "A".repeat(130)))),
            ("SELECT ARRAY[1, NULL, 3]", json!([1, null, 3])),
            ("SELECT ARRAY[[true], [false]]", json!([[true], [false]])),
            ("SELECT ARRAY['a b', 'c\"d', '']", json!(["a b", "c\"d", ""])),
            ("SELECT ARRAY['red']::colour[]", json!(["red"])),
            ("SELECT 'red'::colour", json!("red")),
            ("SELECT 5::amount", json!(5)),
            ("SELECT int4range(1, 5)", json!("[1,5)")),
            ("SELECT int4multirange(int4range(1, 5))::text", json!("{[1,5)}")),
            ("SELECT '10.0.0.1'::inet", json!("10.0.0.1/32")),
            ("SELECT (1, 'a')", json!("(1,a)")),
            ("SELECT orders FROM orders WHERE id = 1", json!("(1,lamp,19.50,1)")),
            ("SELECT 1 AS \"a;b\"", json!(1)),
            ("SELECT ';' -- ;", json!(";")),
            ("VALUES (1)", json!(1)),
            ("TABLE cheap", json!("lamp")),
            (
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
                json!(15),
            ),
            ("SELECT sum(id) FROM orders GROUP BY id ORDER BY id LIMIT 1", json!("1")),
        ] {
            assert_eq!(fixture.value(sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn parameters_are_values_and_never_sql() {
        let fixture = fixture().await;
        for (sql, parameter, expected) in [
            ("SELECT $1", json!("x'; DROP TABLE orders; --"), json!("x'; DROP TABLE orders; --")),
            ("SELECT $1", json!("\\'; SELECT 1; --"), json!("\\'; SELECT 1; --")),
            ("SELECT item FROM orders WHERE id = $1", json!(2), json!("chair")),
            ("SELECT item FROM orders WHERE id = $1", json!("2"), json!("chair")),
            ("SELECT item FROM orders WHERE id = ANY($1)", json!([2]), json!("chair")),
            ("SELECT $1::text[]", json!(["a\"b", null, "c,d"]), json!(["a\"b", null, "c,d"])),
            ("SELECT $1::jsonb", json!({"a": "it's"}), json!({"a": "it's"})),
            ("SELECT $1::jsonb", json!([1, 2]), json!([1, 2])),
            ("SELECT $1::timestamptz", json!("2024-03-01T10:00:00Z"), json!("2024-03-01T10:00:00Z")),
            ("SELECT $1::bigint", json!(i64::MIN), json!(i64::MIN)),
            ("SELECT $1::boolean", json!(true), json!(true)),
            ("SELECT $1::integer", Value::Null, Value::Null),
            ("SELECT $1::colour", json!("blue"), json!("blue")),
        ] {
            let rows = fixture.query(sql, std::slice::from_ref(&parameter)).await;
            assert_eq!(rows.unwrap().rows, [[expected]], "{sql} {parameter}");
        }
        for (sql, parameters) in
            [("SELECT $1", vec![]), ("SELECT 1", vec![json!(1)]), ("SELECT $1", vec![json!("a\0b")])]
        {
            assert_eq!(
                fixture.query(sql, &parameters).await.unwrap_err().code(),
                "invalid_parameters",
                "{sql}"
            );
        }
        let wrong = fixture.query("SELECT $1::integer", &[json!("many")]).await.unwrap_err();
        assert_eq!(wrong.code(), "query_failed");
        assert!(wrong.message().contains("\"many\""), "{wrong}");
    }

    /// Each ends as an error with one of these codes.
    const ATTACKS: &[(&str, &str)] = &[
        ("INSERT INTO orders VALUES (3, 'x')", "permission_denied read_only"),
        ("INSERT INTO orders VALUES (3, 'x') RETURNING id", "permission_denied read_only"),
        ("UPDATE orders SET price = 0", "permission_denied read_only"),
        ("DELETE FROM orders", "permission_denied read_only"),
        ("TRUNCATE orders", "read_only"),
        ("DROP TABLE orders", "read_only"),
        ("CREATE TABLE t (a integer)", "read_only"),
        ("CREATE TEMP TABLE t (a integer)", "read_only"),
        ("CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "read_only"),
        ("CREATE EXTENSION dblink", "read_only"),
        ("ALTER ROLE CURRENT_USER SUPERUSER", "read_only"),
        ("GRANT ALL ON orders TO PUBLIC", "read_only"),
        ("SELECT * INTO t FROM orders", "read_only"),
        ("CREATE TABLE t AS SELECT 1", "read_only"),
        ("COMMIT; DROP TABLE orders", "query_failed"),
        ("COMMIT; DROP TABLE orders;", "query_failed"),
        ("SELECT 1; SELECT 2", "query_failed"),
        ("SELECT 1; COMMIT; DROP TABLE orders; --", "query_failed"),
        ("COMMIT", "read_only"),
        ("ROLLBACK", "read_only"),
        ("BEGIN READ WRITE", "read_only"),
        ("SET TRANSACTION READ WRITE", "read_only"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "read_only"),
        ("RESET ALL", "read_only"),
        ("SET ROLE postgres", "read_only"),
        ("SHOW data_directory", "permission_denied read_only"),
        ("DO $$ BEGIN DELETE FROM orders; END $$", "read_only"),
        ("CALL nothing()", "query_failed"),
        ("PREPARE p AS SELECT 1", "read_only"),
        ("EXECUTE operone_query", "read_only"),
        ("EXPLAIN ANALYZE DELETE FROM orders", "permission_denied read_only"),
        ("COPY orders TO PROGRAM 'touch /tmp/operone-attack'", "read_only"),
        ("COPY (SELECT 1) TO '/tmp/operone-attack'", "read_only"),
        ("COPY orders FROM STDIN", "read_only"),
        ("COPY (SELECT 1) TO STDOUT", "read_only"),
        ("LISTEN attack", "read_only"),
        ("NOTIFY attack", "read_only"),
        ("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "read_only"),
        ("VACUUM", "read_only"),
        ("LOAD '/tmp/evil.so'", "read_only"),
        (
            "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
            "read_only permission_denied query_failed",
        ),
        ("SELECT 1) AS given (c1); DROP TABLE orders; --", "query_failed"),
        ("SELECT 1) AS a, (SELECT 2", "query_failed"),
        ("SELECT 1 /* ", "query_failed"),
        ("SELECT * FROM orders FOR UPDATE", "permission_denied read_only"),
        ("SELECT * FROM secrets", "permission_denied"),
        ("SELECT nextval('numbers')", "read_only"),
        ("SELECT setval('numbers', 99)", "read_only"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "query_failed"),
        ("SELECT set_config('transaction_read_only', 'off', true), sneak()", "query_failed"),
        ("SELECT set_config('role', 'postgres', false)", "permission_denied query_failed"),
        ("SELECT set_config('session_authorization', 'postgres', false)", "permission_denied query_failed"),
        ("SELECT sneak()", "permission_denied read_only"),
        ("SELECT sneak_as_owner()", "read_only"),
        ("SELECT pg_read_file('/etc/passwd')", "permission_denied"),
        ("SELECT pg_read_binary_file('/etc/passwd')", "permission_denied"),
        ("SELECT pg_ls_dir('/')", "permission_denied"),
        ("SELECT pg_stat_file('/etc/passwd')", "permission_denied"),
        ("SELECT rolpassword FROM pg_authid", "permission_denied"),
        ("SELECT lo_import('/etc/passwd')", "permission_denied"),
        ("SELECT lo_export(1, '/tmp/operone-attack')", "permission_denied query_failed"),
        ("SELECT dblink_connect('host=127.0.0.1')", "query_failed"),
        ("SELECT pg_reload_conf()", "permission_denied"),
        ("SELECT pg_rotate_logfile()", "permission_denied"),
        ("SELECT pg_switch_wal()", "permission_denied"),
        ("SELECT pg_create_restore_point('a')", "permission_denied"),
        ("SELECT pg_sleep(60)", "query_timeout"),
        ("SELECT set_config('statement_timeout', '0', false), pg_sleep(60)", "query_timeout"),
        ("SELECT count(*) FROM generate_series(1, 100000000000)", "query_timeout"),
        ("", "read_only"),
        ("-- nothing", "read_only"),
        ("SELECT", "read_only"),
    ];

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a Postgres server"]
    async fn nothing_but_one_reading_query_is_run() {
        let mut fixture = fixture().await;
        let limits = QueryLimits::default().with_time(Duration::from_secs(1));
        assert!(ATTACKS.len() > 50);
        for (attack, codes) in ATTACKS {
            let error = match fixture.database.query(attack, &[], limits).await {
                Ok(rows) => panic!("{attack}: {rows:?}"),
                Err(error) => error,
            };
            assert!(codes.split(' ').any(|code| code == error.code()), "{attack}: {error:?}");
        }
        assert_eq!(fixture.seen("SELECT count(*) FROM orders").await, 2);
        assert_eq!(fixture.seen("SELECT sum(price)::bigint FROM orders").await, 100);
        assert_eq!(fixture.seen("SELECT last_value FROM numbers").await, 1);
        assert!(!std::path::Path::new("/tmp/operone-attack").exists());
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn what_a_function_may_do_leaves_no_trace() {
        let mut fixture = fixture().await;
        // Postgres lets a reading transaction do these; none outlives the query.
        for sql in [
            "SELECT pg_advisory_lock(7)::text",
            "SELECT pg_notify('attack', 'x')::text",
            "SELECT lo_create(4711)",
            "SELECT set_config('search_path', 'more', false)",
            "SELECT set_config('statement_timeout', '0', false)",
            "SELECT set_config('default_transaction_read_only', 'off', false)",
        ] {
            // Newer servers refuse some of them.
            let _ = fixture.query(sql, &[]).await;
        }
        assert_eq!(fixture.value("SELECT pg_try_advisory_lock(7)").await, json!(true));
        assert_eq!(fixture.value("SELECT current_setting('statement_timeout')").await, json!("5s"));
        assert_eq!(fixture.value("SELECT current_setting('transaction_read_only')").await, json!("on"));
        assert_eq!(
            fixture.value("SELECT current_setting('search_path')").await,
            json!("\"$user\", public, pg_temp")
        );
        assert_eq!(fixture.seen("SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711").await, 0);
        // A session of another role cannot be ended.
        let pid = fixture.seen("SELECT pg_backend_pid()::bigint").await;
        let error = fixture.error(&format!("SELECT pg_terminate_backend({pid})")).await;
        assert_eq!(error.code(), "permission_denied");
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn the_database_says_itself_what_is_wrong() {
        let fixture = fixture().await;
        for (sql, word) in [
            ("SELECT itme FROM orders", "itme"),
            ("SELEC 1", "syntax error"),
            ("SELECT 1/0", "division by zero"),
            ("SELECT * FROM nothing", "nothing"),
        ] {
            let error = fixture.error(sql).await;
            assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "query_failed"), "{sql}");
            assert!(error.message().contains(word), "{sql}: {error}");
        }
        let error = fixture.error("SELECT int4multirange(int4range(1, 5))").await;
        assert!(error.code() == "unknown_type" && error.message().contains("cast"), "{error:?}");
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn rows_and_bytes_are_cut() {
        let fixture = fixture().await;
        let rows = fixture.query("SELECT * FROM generate_series(1, 1000000)", &[]).await.unwrap();
        assert_eq!((rows.rows.len(), rows.truncated), (1000, true));
        let rows = fixture.query("SELECT * FROM generate_series(1, 1000)", &[]).await.unwrap();
        assert_eq!((rows.rows.len(), rows.truncated), (1000, false));
        let rows =
            fixture.query("SELECT repeat('a', 10000) FROM generate_series(1, 1000)", &[]).await.unwrap();
        assert_eq!((rows.rows.len(), rows.truncated), (26, true));
        for sql in [
            "SELECT repeat('a', 300000)",
            "SELECT repeat('a', 200000000)",
            "SELECT decode(repeat('00', 300000), 'hex')",
            "SELECT array_agg(i) FROM generate_series(1, 1000000) i",
        ] {
            assert_eq!(fixture.error(sql).await.code(), "row_too_large", "{sql}");
        }
        let columns = format!("SELECT {}", vec!["1"; 300].join(", "));
        assert_eq!(fixture.error(&columns).await.code(), "too_many_columns");
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn a_query_that_nobody_waits_for_stops() {
        let mut fixture = fixture().await;
        fixture.database.verify().await.unwrap();
        let limits = QueryLimits::default().with_time(Duration::from_secs(600));
        for _ in 0..8 {
            let sleep = fixture.database.query("SELECT pg_sleep(600)", &[], limits);
            assert!(tokio::time::timeout(Duration::from_millis(200), sleep).await.is_err());
        }
        assert_eq!(fixture.value("SELECT 1").await, json!(1));
        let begun = Instant::now();
        let sleeping = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'EXECUTE%' AND state = 'active'";
        while fixture.seen(sleeping).await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "queries go on although nobody waits");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn the_schema_shows_what_can_be_read() {
        let fixture = fixture().await;
        let schema = fixture.database.describe(None).await.unwrap();
        let shown: Vec<String> = schema
            .tables
            .iter()
            .map(|table| {
                let columns: Vec<_> = table
                    .columns
                    .iter()
                    .map(|column| format!("{} {}", column.name, column.type_name))
                    .collect();
                format!("{} {} ({})", table.kind, table.name, columns.join(", "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "table more.things (id uuid)",
                "table \"Odd name\" (\"a b\" colour)",
                "view cheap (item text)",
                "table orders (id bigint, item text, price numeric(10,2), paid amount)",
            ]
        );
        for name in ["orders", "public.orders", "Odd name", "\"Odd name\"", "more.things", "things"] {
            assert_eq!(fixture.database.describe(Some(name)).await.unwrap().tables.len(), 1, "{name}");
        }
        for name in ["nothing", "secrets", "pg_class"] {
            assert_eq!(
                fixture.database.describe(Some(name)).await.unwrap_err().code(),
                "unknown_table",
                "{name}"
            );
        }
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn a_role_that_does_more_than_read_is_refused() {
        let mut fixture = fixture().await;
        let name = fixture.name.clone();
        let roles = [
            ("files", "GRANT pg_read_server_files TO", "pg_read_server_files"),
            ("program", "GRANT pg_execute_server_program TO", "pg_execute_server_program"),
            ("signals", "GRANT pg_signal_backend TO", "pg_signal_backend"),
            ("column", "GRANT UPDATE (price) ON orders TO", "public.orders"),
            ("truncate", "GRANT TRUNCATE ON secrets TO", "public.secrets"),
        ];
        for (role, grant, _) in roles {
            for sql in [format!("CREATE ROLE {role}_{name} LOGIN"), format!("{grant} {role}_{name}")] {
                fixture.admin.execute(AssertSqlSafe(sql)).await.unwrap();
            }
        }
        for sql in [
            format!("CREATE ROLE heir_{name} LOGIN NOINHERIT IN ROLE writer_{name}"),
            format!("CREATE ROLE maker_{name} LOGIN CREATEROLE"),
        ] {
            fixture.admin.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        let of = |role: &str| format!("{role}_{name}");
        let mut expected = vec![
            ("postgres".to_owned(), "superuser"),
            (of("writer"), "public.orders"),
            (of("heir"), "public.orders"),
            (of("maker"), "create roles"),
        ];
        expected.extend(roles.map(|(role, _, word)| (of(role), word)));
        for (role, word) in expected {
            let database = fixture.as_role(&role);
            let queried = database.query("SELECT 1", &[], QueryLimits::default()).await.unwrap_err();
            for error in [database.verify().await.unwrap_err(), queried] {
                assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "writable_role"), "{role}");
                assert!(error.message().contains(word) && error.message().contains("CREATE ROLE"), "{error}");
            }
        }
    }

    #[tokio::test]
    #[ignore = "needs a Postgres server"]
    async fn a_wrong_name_is_told_from_a_server_that_is_away() {
        let fixture = fixture().await;
        let error = fixture.as_role("nobody_of_this_name").verify().await.unwrap_err();
        assert_eq!(error.code(), "authentication_failed");
        let reader = format!("reader_{}", fixture.name);
        let url = url_of(&fixture.base, &reader, "no_such_database");
        let error = PostgresQueryDatabase::new(&url).unwrap().verify().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
