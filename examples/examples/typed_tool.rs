//! An agent with a typed tool, its steps shown as they happen. Runs without a key, on a scripted model.
//!
//!     cargo run -p operone-examples --example typed_tool

use std::sync::Arc;

use futures_util::StreamExt;
use operone_core::agent::{Agent, RunEvent};
use operone_core::in_process::{ScriptedModel, ScriptedTurn};
use operone_core::model::ToolCall;
use operone_core::tool::{Tool, ToolContext, ToolHandle, ToolSpec};
use serde_json::json;

#[derive(serde::Deserialize)]
struct City {
    city: String,
}

struct Weather;

impl Tool for Weather {
    type Input = City;
    type Output = String;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new("weather", "Tells the weather of a city").with_input_schema(json!({
            "type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}
        }))
    }

    async fn call(&self, _: &ToolContext, input: City) -> operone_core::Result<String> {
        Ok(format!("sunny in {}", input.city))
    }
}

#[tokio::main]
async fn main() -> operone_core::Result<()> {
    // In a real program: `operone_models::OpenAiCompatible`, or any other `LanguageModel`.
    let model = ScriptedModel::new(vec![
        ScriptedTurn::calls(vec![ToolCall::new("1", "weather", r#"{"city": "Lisbon"}"#)]),
        ScriptedTurn::text(["It is", " sunny", " in Lisbon."]),
    ]);
    let agent = Agent::new(Arc::new(model)).with_tool(ToolHandle::new(Weather))?;
    let mut events = agent.stream("What is the weather in Lisbon?");
    while let Some(event) = events.next().await {
        match event? {
            RunEvent::Durable(event) => println!("{:12} {}", event.event.kind, event.event.payload),
            RunEvent::Token { content, .. } => println!("{:12} {content:?}", "token"),
            _ => {}
        }
    }
    Ok(())
}
