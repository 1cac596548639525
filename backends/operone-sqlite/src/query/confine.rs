//! What a connection that strangers' SQL runs on may do: read, for a limited time, with limited memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

/// How long a query waits for a writer of the file.
const BUSY: Duration = Duration::from_secs(1);
/// How many instructions of SQLite's machine run between two looks at the clock: well under a millisecond.
const INSTRUCTIONS: std::ffi::c_int = 1000;

/// Limits of one connection. Texts and blobs of a row, and of every value on the way, are counted each.
const LIMITS: [(Limit, i32); 10] = [
    (Limit::SQLITE_LIMIT_LENGTH, 1024 * 1024),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 32 * 1024),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 256),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Functions that do more than compute.
const DENIED_FUNCTIONS: [&str; 4] = ["load_extension", "fts3_tokenizer", "sqlite_log", "optimize"];
/// Pragmas that full-text tables ask for; they only read.
const READ_PRAGMAS: [&str; 2] = ["data_version", "page_size"];

/// Opens a file for reading alone.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        // What the file's own views and indexes call is as little trusted as the query.
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Ends every statement at the time limit, and as soon as `stop` is set.
pub(super) fn watch(connection: &Connection, stop: Arc<AtomicBool>, time: Duration) -> rusqlite::Result<()> {
    let begun = Instant::now();
    connection
        .progress_handler(INSTRUCTIONS, Some(move || stop.load(Ordering::Relaxed) || begun.elapsed() >= time))
}

/// From now on the connection reads and computes, and prepares nothing else.
pub(super) fn confine(connection: &Connection) -> rusqlite::Result<()> {
    for (limit, most) in LIMITS {
        connection.set_limit(limit, most)?;
    }
    connection.authorizer(Some(authorize))
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => {
            !DENIED_FUNCTIONS.iter().any(|denied| denied.eq_ignore_ascii_case(function_name))
        }
        AuthAction::Pragma { pragma_name, pragma_value: None } => {
            READ_PRAGMAS.iter().any(|read| read.eq_ignore_ascii_case(pragma_name))
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}
