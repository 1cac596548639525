//! From SQLite's errors to the errors of the contracts: the only place that names the codes of the driver.

use operone_core::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// Why a job on the database failed: by the rules of a contract, or in the driver.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An answer of the contract, for instance a lost lease.
    Contract(Error),
    /// The driver's error.
    Sqlite(rusqlite::Error),
}

impl Failure {
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::Contract(error) => error.with_operation(operation),
            Self::Sqlite(error) => from_sqlite(operation, error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Contract(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A value in a file that this code did not write, or that was damaged.
pub(crate) fn corrupt(what: &'static str) -> Error {
    Error::internal(format!("the database holds {what} that cannot be read")).with_code("corrupt")
}

/// The error of a contract for an error of SQLite, which becomes its source.
pub(crate) fn from_sqlite(operation: &'static str, error: rusqlite::Error) -> Error {
    let shown = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::new(ErrorKind::Unavailable, "the database is busy")
        }
        Some(ErrorCode::DiskFull) => {
            Error::new(ErrorKind::Unavailable, "the disk is full: free some space, then try again")
                .with_code("disk_full")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::internal("the database file is damaged, or is no SQLite database").with_code("corrupt")
        }
        Some(ErrorCode::ConstraintViolation) if is_unique(&error) => {
            Error::conflict("there is one of this id already")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            Error::internal("the database file cannot be opened for writing")
                .with_code("data_folder_unwritable")
        }
        _ => Error::internal("the database failed"),
    };
    shown.with_operation(operation).with_source(error)
}

fn is_unique(error: &rusqlite::Error) -> bool {
    let unique = [rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY];
    error.sqlite_error().is_some_and(|error| unique.contains(&error.extended_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn mapped(code: std::ffi::c_int) -> (ErrorKind, String, bool) {
        let error =
            from_sqlite("journal.append", rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(std::error::Error::source(&error).is_some());
        (error.kind(), error.code().to_owned(), error.is_retryable())
    }

    #[test]
    fn each_code_of_sqlite_has_its_meaning() {
        for (code, kind, expected, retryable) in [
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable, "unavailable", true),
            (ffi::SQLITE_LOCKED, ErrorKind::Unavailable, "unavailable", true),
            (ffi::SQLITE_FULL, ErrorKind::Unavailable, "disk_full", true),
            (ffi::SQLITE_CORRUPT, ErrorKind::Internal, "corrupt", false),
            (ffi::SQLITE_NOTADB, ErrorKind::Internal, "corrupt", false),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, ErrorKind::Conflict, "conflict", false),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, ErrorKind::Internal, "internal", false),
            (ffi::SQLITE_IOERR, ErrorKind::Internal, "internal", false),
        ] {
            assert_eq!(mapped(code), (kind, expected.to_owned(), retryable), "{code}");
        }
    }
}
