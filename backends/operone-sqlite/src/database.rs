//! A database file: one thread that writes and commits in groups, and a few connections that read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use operone_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::Failure;
use crate::schema::Schema;
use crate::writer::{AfterCommit, Writer};

/// How many reads run at once.
const READERS: usize = 4;

/// Reads and writes one file. Clones share it; dropping the last one waits for the commit that is under way and
/// closes the file.
///
/// A future that is dropped leaves a write either done whole or not done.
#[derive(Clone)]
pub(crate) struct Database(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Writer,
    // Held to take or give back a connection, never while it works.
    idle_readers: Mutex<Vec<Connection>>,
    free_readers: Arc<Semaphore>,
}

impl Database {
    /// Opens a file, which is created and migrated where needed, and runs `prepare` before anything else.
    /// Blocks for a few writes to the disk.
    pub(crate) fn open(
        path: &Path,
        schema: Schema,
        prepare: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Self> {
        let open = || -> Result<Self, Failure> {
            let connection = schema.open_writer(path)?;
            prepare(&connection)?;
            Ok(Self(Arc::new(Inner {
                path: path.to_path_buf(),
                writer: Writer::start(connection)?,
                idle_readers: Mutex::default(),
                free_readers: Arc::new(Semaphore::new(READERS)),
            })))
        };
        open().map_err(|failure| failure.into_error("sqlite.open"))
    }

    /// Runs `job` in a transaction; when this returns `Ok`, it is committed.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.0.writer.write(operation, AfterCommit::Nothing, job, |value| value).await
    }

    /// As [`Database::write`]; once it is committed, `committed` runs with the outcome before any later write
    /// begins, also if the caller is gone.
    pub(crate) async fn write_then<T: Send + 'static, U: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        committed: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U> {
        self.0.writer.write(operation, AfterCommit::Nothing, job, committed).await
    }

    /// As [`Database::write`]; then empties the log, so that what was overwritten is in no file any more. If
    /// only that fails, the error is `Unavailable`, and the same call again makes up for it.
    pub(crate) async fn write_and_purge<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.0.writer.write(operation, AfterCommit::EmptyLog, job, |value| value).await
    }

    /// Runs `job` on a thread for blocking work. It sees everything that was committed before, and one state
    /// throughout. Must be called within a tokio runtime.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.0.free_readers).acquire_owned().await;
        let permit = permit.map_err(|error| Error::internal("the database is closed").with_source(error))?;
        let inner = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let result = inner.with_reader(job).map_err(|failure| failure.into_error(operation));
            drop(permit);
            result
        });
        task.await.map_err(|error| {
            Error::internal("the read did not end").with_operation(operation).with_source(error)
        })?
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Inner {
    fn with_reader<T>(&self, job: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => Schema::open_reader(&self.path)?,
        };
        let snapshot = connection.unchecked_transaction()?;
        let result = job(&snapshot);
        // It wrote nothing: its end only lets the state go.
        drop(snapshot);
        self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }
}

/// A number that SQLite can hold; what is beyond its range becomes the greatest.
pub(crate) fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
