//! A database of the host's own that agents may read by SQL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use operone_core::query::{Column, QueryDatabase, QueryLimits, Rows, Schema, Table};
use operone_core::{Error, ErrorKind, Result};
use serde_json::Value;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{
    AssertSqlSafe, Column as _, Decode, Either, Executor, Postgres, Row, SqlSafeStr, Statement, ValueRef,
};
use tokio::sync::{OnceCell, Semaphore};

use crate::connect::Address;
use crate::error::{denied, refused, timeout};
use session::Session;

mod session;
mod values;

/// How many queries of one database run at once; more wait.
const AT_ONCE: usize = 4;
/// How long connecting and settling may take besides the query itself.
const GRACE: Duration = Duration::from_secs(6);
/// Where the list of columns is cut; `describe.sql` says the same.
const MOST_COLUMNS: usize = 20_000;
const QUERY: &str = "postgres.query";
const DESCRIBE: &str = "postgres.describe";

/// A database that is read by SQL as a role that can do nothing else, in transactions that only read.
///
/// Each query has a connection of its own; at most four run at once. The role is looked at before the first query: one that
/// can write is refused, as [`verify`](Self::verify) says. Clones share the database. Must be used within a tokio
/// runtime.
#[derive(Clone)]
pub struct PostgresQueryDatabase(Arc<Inner>);

struct Inner {
    address: Address,
    free: Semaphore,
    only_reads: OnceCell<()>,
}

impl PostgresQueryDatabase {
    /// The database at a URL such as `postgresql://user:password@host:5432/database`; nothing is connected yet.
    ///
    /// What is no such URL is `Invalid` with code `invalid_url`.
    pub fn new(url: &str) -> Result<Self> {
        let (address, free) = (Address::parse(url)?, Semaphore::new(AT_ONCE));
        Ok(Self(Arc::new(Inner { address, free, only_reads: OnceCell::new() })))
    }

    /// Connects, and makes sure that the role only reads.
    ///
    /// A role that can do more, or can become one that can, is `Denied` with code `writable_role`, and the message says how
    /// to make a better one; a role that is refused is `Denied` with code `authentication_failed`. A server that does not
    /// answer is `Unavailable`. Once the answer was good it is not asked again.
    pub async fn verify(&self) -> Result<()> {
        let verified = self.0.only_reads.get_or_try_init(|| async {
            let time = QueryLimits::default().time;
            let mut session = Session::begin(&self.0.address, time).await?;
            let reason = sqlx::query_scalar::<_, String>(include_str!("role.sql"));
            let reason = reason.fetch_optional(&mut session.connection).await;
            session.end().await;
            match reason.map_err(|error| refused(error, time))? {
                None => Ok(()),
                Some(reason) => Err(denied(
                    "writable_role",
                    format!(
                        "agents may only read, but {reason}: make a role for them alone, for instance CREATE ROLE agents \
                         LOGIN PASSWORD '…'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO agents; and name it in the \
                         URL"
                    ),
                )),
            }
        });
        verified.await.copied()
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        time: Duration,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let work = async {
            let permit = self.0.free.acquire().await;
            let _permit =
                permit.map_err(|error| Error::internal("the database is closed").with_source(error))?;
            self.verify().await?;
            work.await
        };
        let result = tokio::time::timeout(time + GRACE, work).await.unwrap_or_else(|_| Err(timeout(time)));
        result.map_err(|error| error.with_operation(operation))
    }
}

impl fmt::Display for PostgresQueryDatabase {
    /// Where it is, without the password: `agents@localhost:5432/sales`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.address.fmt(f)
    }
}

impl fmt::Debug for PostgresQueryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresQueryDatabase").field(&self.0.address).finish()
    }
}

#[async_trait]
impl QueryDatabase for PostgresQueryDatabase {
    async fn query(&self, sql: &str, parameters: &[Value], limits: QueryLimits) -> Result<Rows> {
        let work = async {
            let mut session = Session::begin(&self.0.address, limits.time).await?;
            let rows = run(&mut session, sql, parameters, &limits).await;
            // What did not fit may still be on its way: it is not waited for.
            if rows.as_ref().is_ok_and(|rows| !rows.truncated) || rows.as_ref().is_err_and(is_answer) {
                session.end().await;
            }
            rows
        };
        self.within(QUERY, limits.time, work).await
    }

    async fn describe(&self, table: Option<&str>) -> Result<Schema> {
        let time = QueryLimits::default().time;
        let work = async {
            let mut session = Session::begin(&self.0.address, time).await?;
            let columns = sqlx::query_as::<_, (String, String, String, String)>(include_str!("describe.sql"));
            let columns = columns.bind(table).fetch_all(&mut session.connection).await;
            session.end().await;
            let schema = schema(columns.map_err(|error| refused(error, time))?);
            match table {
                Some(table) if schema.tables.is_empty() => {
                    let detail = format!("there is no table '{table}' that can be read");
                    Err(Error::not_found(detail).with_code("unknown_table"))
                }
                _ => Ok(schema),
            }
        };
        self.within(DESCRIBE, time, work).await
    }
}

/// Whether the server has ended the query.
fn is_answer(error: &Error) -> bool {
    error.kind() != ErrorKind::Unavailable && error.code() != "row_too_large"
}

/// Runs one statement.
///
/// It is first prepared alone, so that the server says what it is: one statement, with these columns and parameters. So
/// it cannot end the parentheses that it is then put into, where only a query may stand, and where each value is given
/// as text that is cut on the server before it is sent.
async fn run(session: &mut Session, sql: &str, parameters: &[Value], limits: &QueryLimits) -> Result<Rows> {
    let failed = |error| refused(error, limits.time);
    let sql = sql.trim_end_matches(|end: char| end == ';' || end.is_whitespace());
    let alone = session.connection.prepare(AssertSqlSafe(sql).into_sql_str()).await.map_err(failed)?;
    let names: Vec<String> = alone.columns().iter().map(|column| column.name().to_owned()).collect();
    let types: Vec<PgTypeInfo> = alone.columns().iter().map(|column| column.type_info().clone()).collect();
    if names.is_empty() {
        return Err(denied("read_only", "only a query that gives rows is run here"));
    }
    let mut answer = Rows::new(names)?;

    let wanted: &[PgTypeInfo] = match alone.parameters() {
        Some(Either::Left(wanted)) => wanted,
        _ => &[],
    };
    if wanted.len() != parameters.len() {
        let (expected, given) = (wanted.len(), parameters.len());
        let detail = format!("the statement has {expected} placeholders, and there are {given} parameters");
        return Err(Error::invalid(detail).with_code("invalid_parameters"));
    }
    let literals = parameters.iter().zip(wanted).map(|(value, wanted)| values::literal(value, Some(wanted)));
    let literals = literals.collect::<Result<Vec<_>>>()?;

    let columns: Vec<String> = (1..=types.len()).map(|number| format!("c{number}")).collect();
    let most = limits.bytes.saturating_add(1);
    let shown: Vec<String> = columns
        .iter()
        .zip(&types)
        .map(|(column, type_info)| values::as_text(column, type_info, most))
        .collect();
    let prepare = format!(
        "PREPARE operone_query AS SELECT {} FROM (\n{sql}\n) AS given ({}) LIMIT {}",
        shown.join(", "),
        columns.join(", "),
        limits.rows.saturating_add(1),
    );
    session.connection.execute(sqlx::query(AssertSqlSafe(prepare)).persistent(false)).await.map_err(
        |error| {
            // It stood alone, so what is wrong is that it stands in a query.
            let shown = refused(error, limits.time);
            if shown.code() == "query_failed" {
                return denied(
                    "read_only",
                    format!("only one SELECT, VALUES or TABLE is run here ({})", shown.message()),
                );
            }
            shown
        },
    )?;
    let execute = match literals.len() {
        0 => "EXECUTE operone_query".to_owned(),
        _ => format!("EXECUTE operone_query ({})", literals.join(", ")),
    };
    let mut rows = sqlx::query(AssertSqlSafe(execute)).persistent(false).fetch(&mut session.connection);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let values = types.iter().enumerate().map(|(index, type_info)| {
            let value: PgValueRef<'_> = row.try_get_raw(index)?;
            if value.is_null() {
                return Ok(Value::Null);
            }
            let text = <&str as Decode<Postgres>>::decode(value).map_err(sqlx::Error::Decode)?;
            Ok(values::json(text, type_info))
        });
        if !answer.push(values.collect::<sqlx::Result<Vec<_>>>().map_err(failed)?, limits)? {
            break;
        }
    }
    drop(rows);
    Ok(answer)
}

/// Columns in the order of their tables.
fn schema(columns: Vec<(String, String, String, String)>) -> Schema {
    let mut schema = Schema::default();
    schema.truncated = columns.len() == MOST_COLUMNS;
    let mut tables: Vec<Table> = Vec::new();
    for (table, kind, column, type_name) in columns {
        let kind = if kind == "view" { "view" } else { "table" };
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table::new(table, kind));
        }
        if let Some(last) = tables.last_mut() {
            last.columns.push(Column::new(column, type_name));
        }
    }
    for table in tables {
        if !schema.push(table) {
            break;
        }
    }
    schema
}
