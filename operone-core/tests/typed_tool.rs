//! Tools whose schema is derived: what the model sees, and what it is told when its input does not fit.
#![cfg(feature = "schemars")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use operone_core::ErrorKind;
use operone_core::agent::Agent;
use operone_core::in_process::{ScriptedModel, ScriptedTurn};
use operone_core::model::ToolCall;
use operone_core::schemars::{self, JsonSchema};
use operone_core::tool::{Tool, ToolClass, ToolContext, ToolHandle, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
struct Sum {
    /// The first number.
    a: i64,
    b: i64,
}

fn add() -> ToolHandle {
    ToolHandle::typed(
        ToolSpec::new("add", "Adds two numbers"),
        |_, sum: Sum| async move { Ok(sum.a + sum.b) },
    )
}

fn schema_of<T: JsonSchema>() -> Value {
    ToolSpec::new("x", "x").with_schema_of::<T>().input_schema
}

#[tokio::test]
async fn a_model_sees_the_derived_schema_and_its_call_is_answered() {
    let model = Arc::new(ScriptedModel::new(vec![
        ScriptedTurn::calls(vec![
            ToolCall::new("1", "add", r#"{"a": 1, "b": "two"}"#),
            ToolCall::new("2", "add", r#"{"a": 1, "b": 2}"#),
        ]),
        ScriptedTurn::text(["3"]),
    ]));
    let agent = Agent::new(Arc::clone(&model) as _).with_tool(add()).unwrap();
    agent.run("What is 1 + 2?").await.unwrap();
    let requests = model.requests();
    assert_eq!(
        requests[0].tools[0].input_schema,
        json!({
            "type": "object",
            "required": ["a", "b"],
            "properties": {
                "a": {"type": "integer", "description": "The first number."},
                "b": {"type": "integer"}
            }
        })
    );
    let told = serde_json::to_string(&requests[1].messages).unwrap();
    assert!(told.contains("invalid_input") && told.contains("expected i64"), "{told}");
}

#[tokio::test]
async fn input_that_does_not_fit_the_type_is_invalid() {
    let add = add();
    for input in
        [json!({"a": 1}), json!({"a": 1, "b": 1.5}), json!([]), json!(null), json!({"a": "1", "b": 2})]
    {
        let error = add.call(&ToolContext::default(), input).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "invalid_input"));
    }
    assert_eq!(add.call(&ToolContext::default(), json!({"a": 1, "b": 2})).await.unwrap(), 3);
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "only the schema is looked at")]
struct Everything {
    #[serde(default)]
    how_many: u8,
    share: Option<f32>,
    unit: Unit,
    next: Nested,
    again: Nested,
    labels: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "only the schema is looked at")]
enum Unit {
    Gram,
    Ounce,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only the schema is looked at")]
struct Nested {
    /// When it was.
    date: String,
}

#[test]
fn types_are_written_where_they_are_used() {
    let schema = schema_of::<Everything>();
    let nested = json!({
        "type": "object", "required": ["date"],
        "properties": {"date": {"type": "string", "description": "When it was."}}
    });
    assert_eq!(
        schema,
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["unit", "next", "again", "labels"],
            "properties": {
                "howMany": {"type": "integer", "minimum": 0, "maximum": 255, "default": 0},
                "share": {"type": ["number", "null"]},
                "unit": {"type": "string", "enum": ["gram", "ounce"]},
                "next": nested.clone(),
                "again": nested,
                "labels": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}}
                }
            }
        })
    );
}

#[derive(Deserialize, JsonSchema)]
#[schemars(title = "A tree")]
#[allow(dead_code, reason = "only the schema is looked at")]
struct Tree {
    branches: Vec<Tree>,
}

#[test]
fn a_type_that_holds_itself_and_a_title_of_ones_own_are_kept() {
    let schema = schema_of::<Tree>();
    assert_eq!((&schema["title"], &schema["type"]), (&json!("A tree"), &json!("object")));
    let reference = schema["properties"]["branches"]["items"]["$ref"].as_str().unwrap();
    assert!(reference == "#" || reference.starts_with("#/$defs/"), "{schema}");
}

struct Double;

#[derive(Serialize)]
struct Doubled {
    sum: i64,
}

impl Tool for Double {
    type Input = Sum;
    type Output = Doubled;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new("double", "Doubles a sum").with_class(ToolClass::Idempotent).with_schema_of::<Sum>()
    }

    async fn call(&self, _: &ToolContext, sum: Sum) -> operone_core::Result<Doubled> {
        Ok(Doubled { sum: 2 * (sum.a + sum.b) })
    }
}

#[tokio::test]
async fn a_type_that_is_a_tool_derives_its_schema_too() {
    let double = ToolHandle::new(Double);
    assert_eq!(double.spec().input_schema, add().spec().input_schema);
    assert_eq!((double.spec().class, add().spec().class), (ToolClass::Idempotent, ToolClass::Read));
    let answer = double.call(&ToolContext::default(), json!({"a": 1, "b": 2})).await.unwrap();
    assert_eq!(answer, json!({"sum": 6}));
}

mod conformance {
    use std::sync::Arc;

    use operone_core::conformance::tool::ToolUnderTest;
    use serde_json::json;

    async fn fresh() -> (Arc<ToolUnderTest>, ()) {
        (Arc::new(ToolUnderTest::new(super::add(), json!({"a": 1, "b": 2}), json!({"a": 1}))), ())
    }

    operone_core::tool_conformance!(fresh);
}
