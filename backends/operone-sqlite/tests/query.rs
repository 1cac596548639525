//! A database that agents read by SQL: what it gives, and what nobody can make it do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use operone_core::ErrorKind;
use operone_core::query::{QueryDatabase, QueryLimits, Rows, Schema};
use operone_sqlite::{DataFolder, SqliteQueryDatabase};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    database: SqliteQueryDatabase,
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("sales.db")
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> operone_core::Result<Rows> {
        self.database.query(sql, parameters, QueryLimits::default()).await
    }

    async fn value(&self, sql: &str) -> Value {
        self.query(sql, &[]).await.unwrap().rows.swap_remove(0).swap_remove(0)
    }

    async fn code(&self, sql: &str) -> String {
        match self.query(sql, &[]).await {
            Ok(rows) => panic!("{sql}: {rows:?}"),
            Err(error) => error.code().to_owned(),
        }
    }
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sales.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, price REAL, picture BLOB);
             INSERT INTO orders VALUES (1, 'lamp', 19.5, x'00ff'), (2, 'chair', 80, NULL);
             CREATE TABLE \"odd name\" (\"a b\" INTEGER);
             CREATE VIEW cheap AS SELECT item FROM orders WHERE price < 50;
             CREATE VIEW broken AS SELECT gone FROM orders;
             CREATE VIRTUAL TABLE notes USING fts5(body);
             INSERT INTO notes VALUES ('the lamp is bright'), ('the chair is red');
             CREATE VIRTUAL TABLE places USING rtree(id, west, east);",
        )
        .unwrap();
    drop(connection);
    Fixture { database: SqliteQueryDatabase::open(&path).unwrap(), folder }
}

#[tokio::test]
async fn rows_come_in_order_with_their_types() {
    let fixture = fixture();
    let rows = fixture
        .query(
            "SELECT id, item, price, picture, id = 1 AS first FROM orders WHERE price > ?1 ORDER BY id DESC",
            &[json!(1)],
        )
        .await
        .unwrap();
    assert_eq!(rows.columns, ["id", "item", "price", "picture", "first"]);
    assert_eq!(json!(rows.rows), json!([[2, "chair", 80.0, null, 0], [1, "lamp", 19.5, "AP8=", 1]]));
    assert!(!rows.truncated);
}

#[tokio::test]
async fn parameters_are_values_and_never_sql() {
    let fixture = fixture();
    for (parameter, expected) in [
        (json!("x'; DROP TABLE orders; --"), json!("x'; DROP TABLE orders; --")),
        (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64)),
        (json!(i64::MIN), json!(i64::MIN)),
        (json!(0.1), json!(0.1)),
        (json!(true), json!(1)),
        (Value::Null, Value::Null),
        (json!(["a", 1]), json!("[\"a\",1]")),
    ] {
        let rows = fixture.query("SELECT ?1", std::slice::from_ref(&parameter)).await.unwrap();
        assert_eq!(rows.rows, [[expected]], "{parameter}");
    }
    let rows = fixture
        .query("SELECT item FROM orders WHERE id IN (SELECT value FROM json_each(?1))", &[json!([2])])
        .await
        .unwrap();
    assert_eq!(rows.rows, [[json!("chair")]]);
    for (sql, parameters) in
        [("SELECT ?1", vec![]), ("SELECT 1", vec![json!(1)]), ("SELECT ?1", vec![json!(u64::MAX)])]
    {
        assert_eq!(fixture.query(sql, &parameters).await.unwrap_err().code(), "invalid_parameters", "{sql}");
    }
}

#[tokio::test]
async fn what_sql_has_for_reading_works() {
    let fixture = fixture();
    for (sql, expected) in [
        ("SELECT item FROM cheap", json!("lamp")),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
            json!(15),
        ),
        ("SELECT count(*) OVER () FROM orders", json!(2)),
        ("SELECT group_concat(item, '+') FROM (SELECT item FROM orders ORDER BY id)", json!("lamp+chair")),
        ("SELECT body FROM notes WHERE notes MATCH 'bright' ORDER BY rank", json!("the lamp is bright")),
        ("SELECT json_extract('{\"a\": [1, 2]}', '$.a[1]')", json!(2)),
        ("SELECT 9007199254740993;  -- the end", json!(9_007_199_254_740_993_i64)),
        ("VALUES (1)", json!(1)),
        ("SELECT 9e999", json!("Infinity")),
        ("SELECT strftime('%Y', '2024-03-01')", json!("2024")),
    ] {
        assert_eq!(fixture.value(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn nothing_but_one_reading_query_is_run() {
    let fixture = fixture();
    let before = std::fs::read(fixture.path()).unwrap();
    let outside = fixture.folder.path().join("outside.db");
    let outside = outside.display();
    let mut attacks: Vec<String> = [
        "INSERT INTO orders (item) VALUES ('x')",
        "UPDATE orders SET price = 0",
        "DELETE FROM orders",
        "DELETE FROM orders RETURNING id",
        "INSERT INTO orders (item) VALUES ('x') RETURNING id",
        "REPLACE INTO orders (id, item) VALUES (1, 'x')",
        "DROP TABLE orders",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE TEMP TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE temp.t USING fts5(a)",
        "CREATE INDEX i ON orders (item)",
        "ALTER TABLE orders ADD COLUMN x",
        "DETACH DATABASE main",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA table_info(orders)",
        "SELECT * FROM pragma_table_info('orders')",
        "SELECT * FROM pragma_database_list",
        "VACUUM",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "BEGIN IMMEDIATE",
        "SAVEPOINT a",
        "COMMIT",
        "SELECT load_extension('/tmp/evil.so')",
        "SELECT LOAD_EXTENSION('/tmp/evil.so', 'init')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT edit('a')",
        "INSERT INTO notes (notes) VALUES ('rebuild')",
        "SELECT 1; DROP TABLE orders",
        "SELECT 1; SELECT 2",
        "COMMIT; DROP TABLE orders",
        "WITH x AS (SELECT 1) DELETE FROM orders",
        "EXPLAIN DELETE FROM orders",
        "SELECT * FROM places",
        ".shell id",
        "",
        "-- nothing",
    ]
    .map(str::to_owned)
    .into();
    attacks.push(format!("ATTACH DATABASE '{outside}' AS other"));
    attacks.push(format!("ATTACH DATABASE 'file:{outside}?mode=rwc' AS other"));
    attacks.push(format!("VACUUM INTO '{outside}'"));
    for attack in &attacks {
        let code = fixture.code(attack).await;
        assert!(["read_only", "query_failed"].contains(&code.as_str()), "{attack}: {code}");
    }
    assert!(attacks.len() > 20);
    assert_eq!(std::fs::read(fixture.path()).unwrap(), before);
    let mut left: Vec<_> = std::fs::read_dir(fixture.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["sales.db"]);
}

#[tokio::test]
async fn what_costs_too_much_is_stopped() {
    let fixture = fixture();
    let deep = format!("SELECT {}1{}", "(".repeat(500), "+1)".repeat(500));
    let unions = vec!["SELECT 1"; 60].join(" UNION ALL ");
    for sql in [
        "SELECT zeroblob(1000000000)",
        "SELECT hex(randomblob(1000000000))",
        "SELECT replace(hex(zeroblob(500000)), '00', 'aaaaaaaaaaaaaaaaaaaa')",
        "SELECT 'a' LIKE hex(zeroblob(1000))",
        "WITH RECURSIVE n(i) AS (SELECT 'a' UNION ALL SELECT i || i FROM n) SELECT length(i) FROM n LIMIT 1000",
        deep.as_str(),
        unions.as_str(),
        &format!("SELECT '{}'", "x".repeat(40_000)),
    ] {
        assert_eq!(fixture.code(sql).await, "query_failed", "{}", &sql[..sql.len().min(80)]);
    }
    let columns = format!("SELECT {}", vec!["1"; 300].join(", "));
    assert_eq!(fixture.code(&columns).await, "too_many_columns");
    assert_eq!(fixture.code("SELECT hex(randomblob(200000))").await, "row_too_large");
}

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn the_time_limit_ends_a_query() {
    let fixture = fixture();
    let begun = Instant::now();
    let limits = QueryLimits::default().with_time(Duration::from_millis(200));
    let error = fixture.database.query(ENDLESS, &[], limits).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "query_timeout"));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_frees_its_place() {
    let fixture = fixture();
    for _ in 0..8 {
        let limits = QueryLimits::default().with_time(Duration::from_secs(600));
        let endless = fixture.database.query(ENDLESS, &[], limits);
        assert!(tokio::time::timeout(Duration::from_millis(30), endless).await.is_err());
    }
    assert_eq!(fixture.value("SELECT 1").await, json!(1));
}

#[tokio::test]
async fn rows_and_bytes_are_cut() {
    let fixture = fixture();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let rows = fixture.query(many, &[]).await.unwrap();
    assert_eq!((rows.rows.len(), rows.truncated), (1000, true));
    assert_eq!(rows.rows[999], [json!(1000)]);
    let exactly = fixture.query(&format!("{many} LIMIT 1000"), &[]).await.unwrap();
    assert_eq!((exactly.rows.len(), exactly.truncated), (1000, false));
    let wide =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT hex(zeroblob(5000)) FROM n";
    let rows = fixture.query(wide, &[]).await.unwrap();
    assert_eq!((rows.rows.len(), rows.truncated), (26, true));
}

#[tokio::test]
async fn the_schema_is_shown() {
    let fixture = fixture();
    let Schema { tables, truncated, .. } = fixture.database.describe(None).await.unwrap();
    let shown: Vec<String> = tables
        .iter()
        .map(|table| {
            let columns: Vec<_> =
                table.columns.iter().map(|column| format!("{} {}", column.name, column.type_name)).collect();
            format!("{} {} ({})", table.kind, table.name, columns.join(", "))
        })
        .collect();
    assert!(!truncated);
    for expected in [
        "table orders (id INTEGER, item TEXT, price REAL, picture BLOB)",
        "table \"odd name\" (\"a b\" INTEGER)",
        "view cheap (item TEXT)",
        "view broken ()",
    ] {
        assert!(shown.iter().any(|table| table == expected), "{expected}: {shown:?}");
    }
    assert!(shown.iter().any(|table| table.starts_with("table notes (body ")), "{shown:?}");
    assert!(!shown.iter().any(|table| table.contains("notes_data")), "{shown:?}");

    for name in ["odd name", "\"odd name\""] {
        let one = fixture.database.describe(Some(name)).await.unwrap();
        assert_eq!((one.tables.len(), one.tables[0].columns.len()), (1, 1), "{name}");
    }
    assert_eq!(fixture.database.describe(Some("nothing")).await.unwrap_err().code(), "unknown_table");
}

#[tokio::test]
async fn a_writer_of_the_file_is_seen_and_not_disturbed() {
    let fixture = fixture();
    let writer = Connection::open(fixture.path()).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO orders (item) VALUES ('desk')").unwrap();
    assert_eq!(fixture.value("SELECT count(*) FROM orders").await, json!(2));
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(fixture.value("SELECT count(*) FROM orders").await, json!(3));
}

#[test]
fn a_data_folder_is_not_opened() {
    let root = tempfile::tempdir().unwrap();
    let folder = DataFolder::lock(root.path().join("data")).unwrap();
    let inside = folder.join("journal.db");
    Connection::open(&inside).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    std::fs::create_dir(folder.join("sub")).unwrap();
    let link = root.path().join("link.db");
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    for path in [inside.clone(), link, folder.join("sub/../journal.db")] {
        let error = SqliteQueryDatabase::open(&path).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "data_folder"), "{path:?}");
    }
}

#[test]
fn a_file_that_is_no_database_is_not_opened() {
    let root = tempfile::tempdir().unwrap();
    let text = root.path().join("a.txt");
    std::fs::write(&text, "plain text, and long enough to be taken for a header of a database, were it one")
        .unwrap();
    for (path, code) in [
        (text.as_path(), "corrupt"),
        (Path::new("/nonexistent.db"), "not_found"),
        (root.path(), "not_found"),
        (Path::new("/dev/zero"), "not_found"),
    ] {
        assert_eq!(SqliteQueryDatabase::open(path).unwrap_err().code(), code, "{path:?}");
    }
}
