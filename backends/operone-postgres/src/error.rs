//! From the driver's errors to those of the contracts: the only place that names SQLSTATE codes.

use std::time::Duration;

use operone_core::{Error, ErrorKind};
use sqlx::postgres::PgDatabaseError;

/// Why there is no connection.
pub(crate) fn not_connected(error: sqlx::Error) -> Error {
    let shown = match code(&error) {
        Some("28P01" | "28000") => {
            Error::new(ErrorKind::Denied, "the database refuses this role or its password")
                .with_code("authentication_failed")
        }
        Some("3D000") => Error::not_found("there is no database of this name on the server"),
        _ => Error::new(ErrorKind::Unavailable, "the database does not answer"),
    };
    shown.with_source(error)
}

/// Why a query did not run: in the database's own words where the query is at fault.
pub(crate) fn refused(error: sqlx::Error, time: Duration) -> Error {
    let message = message(&error);
    let shown = match code(&error) {
        Some("57014" | "25P04") => timeout(time),
        Some("25006") => denied("read_only", message),
        Some("42501") => denied("permission_denied", message),
        Some("55P03") => Error::new(ErrorKind::Unavailable, "what is to be read is locked").with_code("busy"),
        Some(code) if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => {
            Error::new(ErrorKind::Unavailable, message)
        }
        Some(_) => Error::invalid(message).with_code("query_failed"),
        None if matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => {
            Error::new(ErrorKind::Unavailable, "the connection to the database broke off")
        }
        None if matches!(
            error,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::TypeNotFound { .. }
        ) =>
        {
            Error::invalid(
                "a column or parameter has a type that is not known here: cast it, to text for instance",
            )
            .with_code("unknown_type")
        }
        None => Error::internal("the database's answer cannot be read"),
    };
    shown.with_source(error)
}

/// A query that took too long.
pub(crate) fn timeout(time: Duration) -> Error {
    let detail = format!("the query took longer than {} ms: ask for less at once", time.as_millis());
    Error::invalid(detail).with_code("query_timeout")
}

/// What may not be done.
pub(crate) fn denied(code: &'static str, detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, detail).with_code(code)
}

/// The server's SQLSTATE, if the server answered.
pub(crate) fn code(error: &sqlx::Error) -> Option<&str> {
    server(error).map(PgDatabaseError::code)
}

fn server(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
}

fn message(error: &sqlx::Error) -> String {
    let Some(server) = server(error) else { return error.to_string() };
    match server.hint() {
        Some(hint) => format!("{} (hint: {hint})", server.message()),
        None => server.message().to_owned(),
    }
}
