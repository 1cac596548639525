//! A database file of the host's own that agents may read by SQL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use operone_core::query::{Column, QueryDatabase, QueryLimits, Rows, Schema, Table};
use operone_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::error::from_sqlite;
use crate::folder::DataFolder;

mod confine;
mod values;

/// How many queries of one database run at once; more wait.
const AT_ONCE: usize = 4;
/// How long SQLite may stay within one function after its time is up: it looks at the clock between instructions.
const GRACE: Duration = Duration::from_millis(500);
const QUERY: &str = "sqlite.query";
const DESCRIBE: &str = "sqlite.describe";

/// A file that is read by SQL, and never written.
///
/// Each query has a connection of its own, opened for reading alone, which prepares nothing but one statement that reads:
/// no `ATTACH`, no `PRAGMA`, no extension. A value on its way has at most 1 MiB, a statement 32 KiB. Clones share the
/// file. Must be used within a tokio runtime.
#[derive(Clone, Debug)]
pub struct SqliteQueryDatabase {
    path: PathBuf,
    free: Arc<Semaphore>,
}

impl SqliteQueryDatabase {
    /// Opens a file and reads its schema once; blocks meanwhile.
    ///
    /// A file that does not exist is `NotFound`; a file in a data folder of Operone is `Denied` with code
    /// `data_folder`, whichever way the path leads there; what is no database is `Internal` with code `corrupt`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let given = path.as_ref();
        let path = given.canonicalize().ok().filter(|path| path.is_file()).ok_or_else(|| {
            Error::not_found(format!("the database file {} does not exist", given.display()))
        })?;
        if path.ancestors().any(|folder| folder.join(DataFolder::LOCK_FILE).exists()) {
            let detail =
                format!("{} is in a data folder of Operone: agents may not read it", given.display());
            return Err(Error::new(ErrorKind::Denied, detail).with_code("data_folder"));
        }
        confine::open(&path)
            .and_then(|connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())))
            .map_err(|error| from_sqlite("sqlite.open", error))?;
        Ok(Self { path, free: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Runs `work` on a thread for blocking work, on a connection that ends its statements at the time limit and when
    /// nobody waits for them any more.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        time: Duration,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let begun = Instant::now();
        let too_late = || timeout(time);
        let permit = tokio::time::timeout(time, Arc::clone(&self.free).acquire_owned());
        let permit = permit.await.map_err(|_| {
            Error::new(ErrorKind::Unavailable, "too many queries run at once").with_code("busy")
        })?;
        let permit = permit.map_err(|error| Error::internal("the database is closed").with_source(error))?;
        let left = time.saturating_sub(begun.elapsed());
        let path = self.path.clone();
        let waiting = Waiting::default();
        let stop = Arc::clone(&waiting.0);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let failed = |error| from_sqlite(operation, error);
            let connection = confine::open(&path).map_err(failed)?;
            confine::watch(&connection, stop, left).map_err(failed)?;
            work(&connection)
        });
        let result = tokio::time::timeout(left + GRACE, task).await.map_err(|_| too_late())?;
        result.map_err(|error| {
            Error::internal("the query did not end").with_operation(operation).with_source(error)
        })?
    }
}

/// Stops the work when it is dropped.
#[derive(Default)]
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl QueryDatabase for SqliteQueryDatabase {
    async fn query(&self, sql: &str, parameters: &[Value], limits: QueryLimits) -> Result<Rows> {
        let sql = sql.to_owned();
        let parameters = parameters.iter().map(values::parameter).collect::<Result<Vec<_>>>()?;
        self.run(QUERY, limits.time, move |connection| {
            let failed = |error| refused(error, limits.time);
            confine::confine(connection).map_err(failed)?;
            let mut statement = connection.prepare(&sql).map_err(failed)?;
            if !statement.readonly() || statement.column_count() == 0 {
                return Err(read_only("only a query that gives rows is run here"));
            }
            if statement.parameter_count() != parameters.len() {
                let (expected, given) = (statement.parameter_count(), parameters.len());
                let detail =
                    format!("the statement has {expected} placeholders, and there are {given} parameters");
                return Err(Error::invalid(detail).with_code("invalid_parameters"));
            }
            for (index, parameter) in parameters.iter().enumerate() {
                statement.raw_bind_parameter(index + 1, parameter).map_err(failed)?;
            }
            let mut answer = Rows::new(statement.column_names().into_iter().map(str::to_owned).collect())?;
            let columns = answer.columns.len();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().map_err(failed)? {
                let values = (0..columns).map(|column| row.get_ref(column).map(values::json));
                let values = values.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?;
                if !answer.push(values, &limits)? {
                    break;
                }
            }
            Ok(answer)
        })
        .await
    }

    async fn describe(&self, table: Option<&str>) -> Result<Schema> {
        let wanted = table.map(str::to_owned);
        self.run(DESCRIBE, QueryLimits::default().time, move |connection| {
            let failed = |error| from_sqlite(DESCRIBE, error);
            let mut tables = connection
                .prepare(
                    "SELECT name, type FROM pragma_table_list
                     WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                     ORDER BY name",
                )
                .map_err(failed)?;
            let mut columns = connection
                .prepare("SELECT name, type FROM pragma_table_xinfo(?1) ORDER BY cid")
                .map_err(failed)?;
            let mut schema = Schema::default();
            let mut found = tables.query([]).map_err(failed)?;
            while let Some(row) = found.next().map_err(failed)? {
                let name: String = row.get(0).map_err(failed)?;
                let quoted = identifier(&name);
                if wanted.as_ref().is_some_and(|wanted| *wanted != name && *wanted != quoted) {
                    continue;
                }
                let kind: String = row.get(1).map_err(failed)?;
                let mut table = Table::new(quoted, if kind == "view" { "view" } else { "table" });
                let listed = columns.query_map([&name], |row| {
                    Ok(Column::new(identifier(&row.get::<_, String>(0)?), row.get::<_, String>(1)?))
                });
                // A view over a table that is gone has no columns any more.
                table.columns = listed.map_err(failed)?.filter_map(rusqlite::Result::ok).collect();
                if !schema.push(table) {
                    break;
                }
            }
            match wanted {
                Some(wanted) if schema.tables.is_empty() => {
                    Err(Error::not_found(format!("there is no table '{wanted}'")).with_code("unknown_table"))
                }
                _ => Ok(schema),
            }
        })
        .await
    }
}

/// A name as it is written in SQL.
fn identifier(name: &str) -> String {
    let mut characters = name.chars();
    let plain = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn timeout(time: Duration) -> Error {
    let detail = format!("the query took longer than {} ms: ask for less at once", time.as_millis());
    Error::invalid(detail).with_code("query_timeout").with_operation(QUERY)
}

fn read_only(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, detail).with_code("read_only").with_operation(QUERY)
}

/// Why SQLite did not run a query, in its own words where the query is at fault.
fn refused(error: rusqlite::Error, time: Duration) -> Error {
    let message = match &error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, offset, .. } if *offset >= 0 => {
            format!("{msg} (at byte {offset})")
        }
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => timeout(time),
        Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => {
            read_only(format!("this database is only read, by one query: {message}"))
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied,
        ) => from_sqlite(QUERY, error),
        _ => Error::invalid(message).with_code("query_failed").with_operation(QUERY).with_source(error),
    }
}
