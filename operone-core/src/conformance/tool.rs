//! The promises of [`Tool`](crate::tool::Tool), seen through a [`ToolHandle`].

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::Value;

use super::cases;
use crate::ErrorKind;
use crate::id::ToolName;
use crate::tool::{ToolClass, ToolContext, ToolHandle};

cases! {
    ToolUnderTest, tool_conformance, tool:
    the_spec_tells_a_model_how_to_call
    fitting_input_is_answered
    input_that_does_not_fit_is_refused
    a_repeat_with_the_same_key_succeeds
    concurrent_calls_are_answered
    dropping_a_call_leaves_the_tool_usable
}

/// A tool with an input that it answers and one that does not fit its schema.
#[derive(Clone, Debug)]
pub struct ToolUnderTest {
    handle: ToolHandle,
    fitting: Value,
    unfitting: Value,
}

impl ToolUnderTest {
    /// The tool and the two inputs.
    pub fn new(handle: ToolHandle, fitting: Value, unfitting: Value) -> Self {
        Self { handle, fitting, unfitting }
    }

    async fn call(&self, key: &str) -> Value {
        let context = ToolContext { idempotency_key: key.to_owned(), ..ToolContext::default() };
        self.handle.call(&context, self.fitting.clone()).await.expect("the input is answered")
    }
}

/// The name is a tool name, there is a description, and the schema is one of an object.
async fn the_spec_tells_a_model_how_to_call(tool: Arc<ToolUnderTest>) {
    let spec = tool.handle.spec();
    ToolName::new(spec.name.as_str()).expect("the name of a tool");
    assert!(!spec.description.trim().is_empty(), "there is no description");
    assert_eq!(spec.input_schema["type"], "object", "the schema is not one of an object");
    for name in spec.input_schema["required"].as_array().unwrap_or(&Vec::new()) {
        let name = name.as_str().expect("a name in 'required'");
        assert!(spec.input_schema["properties"][name].is_object(), "'{name}' is required but not described");
    }
}

/// Input that fits is answered, with no more than the default context and a key.
async fn fitting_input_is_answered(tool: Arc<ToolUnderTest>) {
    tool.call("one").await;
}

/// Input that does not fit is `Invalid` with code `invalid_input`, so that the model can try again.
async fn input_that_does_not_fit_is_refused(tool: Arc<ToolUnderTest>) {
    let refused = tool.handle.call(&ToolContext::default(), tool.unfitting.clone()).await;
    let error = refused.expect_err("the input does not fit");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "invalid_input"));
    tool.call("after").await;
}

/// A second try of one call succeeds, unless the tool must not run twice.
async fn a_repeat_with_the_same_key_succeeds(tool: Arc<ToolUnderTest>) {
    if tool.handle.spec().class != ToolClass::Once {
        tool.call("same").await;
        tool.call("same").await;
    }
}

/// Calls at the same time are all answered.
async fn concurrent_calls_are_answered(tool: Arc<ToolUnderTest>) {
    let keys: Vec<String> = (0..8).map(|number| format!("key-{number}")).collect();
    futures_util::future::join_all(keys.iter().map(|key| tool.call(key))).await;
}

/// A call that is dropped, before its begin or in its midst, harms no other.
async fn dropping_a_call_leaves_the_tool_usable(tool: Arc<ToolUnderTest>) {
    drop(tool.call("dropped"));
    // Polled once, then dropped.
    let _ = tool.call("begun").now_or_never();
    tool.call("after").await;
}
