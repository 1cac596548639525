//! Values between JSON and SQLite.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use operone_core::{Error, Result};
use rusqlite::types::{Value as Parameter, ValueRef};
use serde_json::Value;

/// A parameter: lists and objects as JSON text, booleans as 1 and 0.
pub(super) fn parameter(value: &Value) -> Result<Parameter> {
    Ok(match value {
        Value::Null => Parameter::Null,
        Value::Bool(value) => Parameter::Integer(i64::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Parameter::Integer(integer),
            (None, Some(real)) if !number.is_u64() => Parameter::Real(real),
            _ => {
                let detail = format!("the parameter {number} is beyond the integers of SQLite");
                return Err(Error::invalid(detail).with_code("invalid_parameters"));
            }
        },
        Value::String(text) => Parameter::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Parameter::Text(value.to_string()),
    })
}

/// A value of a row: integers exactly, blobs in base64, infinite numbers by their names.
pub(super) fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => integer.into(),
        ValueRef::Real(real) if real.is_finite() => real.into(),
        ValueRef::Real(real) => if real > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        ValueRef::Blob(bytes) => STANDARD.encode(bytes).into(),
    }
}
