//! A final answer that must be JSON of a certain shape.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How often a model may correct a final answer that does not fit its schema.
pub const OUTPUT_RETRIES: u32 = 2;

/// Why a run with a schema fails where nothing can check it.
pub(super) const UNCHECKED: &str = "an output schema needs the feature `jsonschema` of operone-core";

/// What a conversation's final answer must fit. Stored with the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OutputSchema {
    pub(super) schema: Value,
    /// The corrections that were asked for.
    #[serde(default)]
    pub(super) retries: u32,
}

impl OutputSchema {
    pub(super) fn new(schema: Value) -> Self {
        Self { schema, retries: 0 }
    }

    /// The JSON of an answer that fits, without the fence that some models put around it; else what is wrong.
    pub(super) fn read(&self, answer: &str) -> Result<String, String> {
        let json = without_fence(answer);
        let value: Value = serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
        self.check(&value)?;
        Ok(json.to_owned())
    }

    #[cfg(feature = "jsonschema")]
    fn check(&self, value: &Value) -> Result<(), String> {
        let schema =
            crate::schema::JsonSchema::new(&self.schema).map_err(|error| error.message().to_owned())?;
        schema.check(value).map_err(|faults| faults.join("; "))
    }

    // `Run::new` has failed the run already.
    #[cfg(not(feature = "jsonschema"))]
    fn check(&self, _: &Value) -> Result<(), String> {
        Err(UNCHECKED.to_owned())
    }

    /// What the model is told about an answer that does not fit; `None` once it has had its retries.
    pub(super) fn correction(&mut self, fault: &str) -> Option<String> {
        if self.retries >= OUTPUT_RETRIES {
            return None;
        }
        self.retries += 1;
        Some(format!(
            "Your answer does not fit the schema: {fault}. Answer again with the corrected JSON and nothing else."
        ))
    }
}

fn without_fence(answer: &str) -> &str {
    let answer = answer.trim();
    let fenced = || {
        let inside = answer.strip_prefix("```")?.strip_suffix("```")?;
        let (language, json) = inside.split_once('\n')?;
        matches!(language.trim(), "" | "json" | "JSON").then(|| json.trim())
    };
    fenced().unwrap_or(answer)
}

#[cfg(all(test, feature = "jsonschema"))]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_with_and_without_a_fence() {
        let schema = OutputSchema::new(json!({"type": "object", "required": ["city"]}));
        for answer in
            ["{\"city\":1}", " {\"city\":1}\n", "```json\n{\"city\":1}\n```", "```\n{\"city\":1}```"]
        {
            assert_eq!(schema.read(answer).as_deref(), Ok("{\"city\":1}"), "{answer}");
        }
        for (answer, fault) in [
            ("Paris", "it is not JSON"),
            ("", "it is not JSON"),
            ("{}", "\"city\" is a required property"),
            ("```python\n{\"city\":1}\n```", "it is not JSON"),
        ] {
            let found = schema.read(answer).unwrap_err();
            assert!(found.contains(fault), "{answer}: {found}");
        }
    }
}
