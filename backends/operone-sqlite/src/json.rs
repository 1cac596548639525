//! Columns that hold JSON.

use operone_core::Error;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Failure, corrupt};

/// A value as JSON. `what` names it in the error.
pub(crate) fn to_json(value: &(impl Serialize + ?Sized), what: &'static str) -> Result<String, Failure> {
    let json = serde_json::to_string(value);
    json.map_err(|error| {
        Error::invalid(format!("{what} cannot be written as JSON")).with_source(error).into()
    })
}

/// The value of a column.
pub(crate) fn json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<T, Failure> {
    optional_json(row, column, what)?.ok_or_else(|| corrupt(what).into())
}

/// The value of a column that may be null.
pub(crate) fn optional_json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<Option<T>, Failure> {
    let Some(bytes) = row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from)? else {
        return Ok(None);
    };
    serde_json::from_slice(bytes).map(Some).map_err(|error| corrupt(what).with_source(error).into())
}
