//! JSON schemas: what a typed answer and the input of a tool must fit.

use jsonschema::ReferencingError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::text::floor_char_boundary;

/// A JSON schema, ready to check values against. Drafts 4 to 2020-12; the latest where `$schema` is absent.
///
/// Nothing is fetched: a schema with a `$ref` to another document is refused.
///
/// ```
/// use operone_core::schema::JsonSchema;
/// use serde_json::json;
///
/// let schema = JsonSchema::new(&json!({"type": "object", "properties": {"age": {"minimum": 0}}}))?;
/// assert!(schema.check(&json!({"age": 7})).is_ok());
/// assert_eq!(schema.check(&json!({"age": -1})).unwrap_err(), ["/age: -1 is less than the minimum of 0"]);
/// # Ok::<(), operone_core::Error>(())
/// ```
#[derive(Debug)]
pub struct JsonSchema {
    validator: jsonschema::Validator,
}

/// The most faults that are named at once.
const MAX_FAULTS: usize = 8;
/// The longest description of one fault, in bytes: it quotes the value.
const MAX_FAULT: usize = 300;

impl JsonSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// `Invalid` with code `invalid_schema` if this is not a JSON schema, or refers to another document.
    pub fn new(schema: &Value) -> Result<Self> {
        let invalid = |detail: String| {
            Error::invalid(format!("not a valid JSON schema: {detail}")).with_code("invalid_schema")
        };
        if !schema.is_object() && !schema.is_boolean() {
            return Err(invalid("expected an object".to_owned()));
        }
        let validator = jsonschema::validator_for(schema).map_err(|error| {
            invalid(match error.kind() {
                ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => shortened(
                    format!("'{uri}' is another document, and none is fetched: put it under '$defs'"),
                ),
                _ => described(error),
            })
        })?;
        Ok(Self { validator })
    }

    /// Checks a value. The faults, eight at most, each begin with a JSON pointer to the place, unless that is the
    /// whole value.
    pub fn check(&self, value: &Value) -> std::result::Result<(), Vec<String>> {
        let faults: Vec<String> = self.validator.iter_errors(value).take(MAX_FAULTS).map(described).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

fn described(error: jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().as_str().to_owned();
    let fault = shortened(error.to_string());
    if place.is_empty() { fault } else { format!("{place}: {fault}") }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_FAULT {
        text.truncate(floor_char_boundary(&text, MAX_FAULT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_a_schema_is_refused() {
        for wrong in [json!([]), json!("object"), json!({"type": "objekt"}), json!({"type": 1})] {
            assert_eq!(JsonSchema::new(&wrong).unwrap_err().code(), "invalid_schema", "{wrong}");
        }
        let error = JsonSchema::new(&json!({"properties": {"a": {"type": "objekt"}}})).unwrap_err();
        assert!(error.message().contains("/properties/a/type: "), "{error}");
    }

    #[test]
    fn nothing_is_fetched() {
        for reference in ["https://example.com/schema.json", "file:///etc/hosts"] {
            let schema = json!({"properties": {"a": {"$ref": reference}}});
            let error = JsonSchema::new(&schema).unwrap_err();
            assert_eq!(error.code(), "invalid_schema", "{reference}");
            assert!(error.message().contains(&format!("'{reference}' is another document")), "{error}");
        }
    }

    #[test]
    fn faults_are_few_and_short() {
        let schema = JsonSchema::new(&json!({"items": {"type": "integer"}})).unwrap();
        let faults = schema.check(&json!(vec!["x".repeat(10_000); 100])).unwrap_err();
        assert_eq!(faults.len(), MAX_FAULTS);
        assert!(faults.iter().all(|fault| fault.len() < 2 * MAX_FAULT));
    }
}
