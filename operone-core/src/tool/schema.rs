//! The schema of a tool's input, derived from the input's type.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::ToolSpec;

impl ToolSpec {
    /// Sets the JSON schema of the input to the one derived from `T`, the type that the input is read into.
    ///
    /// `T` is a struct: models take objects only. Its comments become descriptions, and the attributes of serde count:
    /// `rename`, `default`, `deny_unknown_fields`. Types inside are written where they are used; one that contains
    /// itself stands in `$defs`. Left out is what tells a model nothing: the version of JSON schema, the type's name,
    /// and how many bits a number has.
    ///
    /// ```
    /// use operone_core::tool::{Tool, ToolContext, ToolSpec};
    ///
    /// /// Needs `schemars` as a dependency; `#[schemars(crate = "operone_core::schemars")]` does without.
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct City {
    ///     city: String,
    /// }
    /// struct Weather;
    /// impl Tool for Weather {
    ///     type Input = City;
    ///     type Output = String;
    ///     fn spec(&self) -> ToolSpec {
    ///         ToolSpec::new("weather", "Tells the weather of a city").with_schema_of::<City>()
    ///     }
    ///     async fn call(&self, _: &ToolContext, input: City) -> operone_core::Result<String> {
    ///         Ok(format!("sunny in {}", input.city))
    ///     }
    /// }
    /// assert_eq!(Weather.spec().input_schema["required"][0], "city");
    /// ```
    #[must_use]
    pub fn with_schema_of<T: JsonSchema>(self) -> Self {
        self.with_input_schema(schema_of::<T>())
    }
}

/// The JSON schema of `T` as models take it.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    if schema.get("title").is_some_and(|title| title == T::schema_name().as_ref()) {
        schema.remove("title");
    }
    RecursiveTransform(without_number_format).transform(&mut schema);
    schema.to_value()
}

/// Removes formats such as `uint32`: no part of JSON schema, and refused by some model services.
fn without_number_format(schema: &mut Schema) {
    let is_number = |format: &Value| {
        format.as_str().is_some_and(|format| {
            ["int", "uint", "float", "double"]
                .iter()
                .any(|kind| format.trim_end_matches(|character: char| character.is_ascii_digit()) == *kind)
        })
    };
    if schema.get("format").is_some_and(is_number) {
        schema.remove("format");
    }
}
