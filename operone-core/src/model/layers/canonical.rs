//! A request as JSON that is the same text for equal requests.

use serde::Serialize;
use serde_json::Value;

use crate::cache::ContentHash;
use crate::error::{Error, Result};

/// The JSON of `thing` with the keys of every object in order, whatever order its maps keep.
pub(super) fn canonical(thing: &impl Serialize) -> Result<Value> {
    let json = serde_json::to_value(thing)
        .map_err(|error| Error::internal("a request cannot be written as JSON").with_source(error))?;
    Ok(in_order(json))
}

/// The SHA-256 of what [`canonical`] gives.
pub(super) fn hash(canonical: &Value) -> ContentHash {
    ContentHash::of(canonical.to_string())
}

fn in_order(json: Value) -> Value {
    match json {
        Value::Array(items) => items.into_iter().map(in_order).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().map(|(key, value)| (key, in_order(value))).collect())
        }
        other => other,
    }
}
