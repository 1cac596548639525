//! What a database file is made of: its settings and its migrations.

use std::path::Path;
use std::time::Duration;

use operone_core::{Error, ErrorKind};
use rusqlite::{Connection, OpenFlags};

use crate::error::Failure;

/// How long a connection waits for a lock of another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The log file is cut to this size, in bytes, when it begins anew.
const LOG_SIZE_LIMIT: u32 = 64 * 1024 * 1024;
/// So much of a file is read where the operating system keeps it, without a copy. SQLite takes at most two gigabytes.
const MAPPED: i64 = 1 << 40;

/// The kind of a database file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// Its migrations in order; the number of those applied is the file's `user_version`.
    pub(crate) migrations: &'static [&'static str],
    /// The size of the file's pages, in bytes: larger ones suit large rows.
    pub(crate) page_size: u32,
    /// Whether an acknowledged write must survive a loss of power, not only the end of the process.
    pub(crate) durable: bool,
    /// Whether deleted content is overwritten.
    pub(crate) secure_delete: bool,
}

impl Schema {
    /// A connection that writes, to a file that is created and migrated where needed.
    pub(crate) fn open_writer(&self, path: &Path) -> Result<Connection, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        let synchronous = if self.durable { "FULL" } else { "NORMAL" };
        // Has an effect on a new file only.
        connection.pragma_update(None, "page_size", self.page_size)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "secure_delete", self.secure_delete)?;
        connection.pragma_update(None, "journal_size_limit", LOG_SIZE_LIMIT)?;
        self.migrate(&mut connection, path)?;
        Ok(connection)
    }

    /// A connection that only reads, to a file that a writer has opened.
    pub(crate) fn open_reader(path: &Path) -> Result<Connection, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "mmap_size", MAPPED)?;
        Ok(connection)
    }

    fn migrate(&self, connection: &mut Connection, path: &Path) -> Result<(), Failure> {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let applied = usize::try_from(version).unwrap_or(usize::MAX);
        let Some(missing) = self.migrations.get(applied..) else {
            let message = format!(
                "{} was written by a newer version of Operone (schema {version}, this one knows {}): use that version, or another data folder",
                path.display(),
                self.migrations.len()
            );
            return Err(Error::new(ErrorKind::Unsupported, message).with_code("newer_data").into());
        };
        for migration in missing {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", self.migrations.len() as i64)?;
        transaction.commit()?;
        Ok(())
    }
}
