//! An agent with a typed tool, its steps shown as they happen. Runs without a key, on a scripted model.
//!
//!     cargo run -p operone-examples --example typed_tool

use std::sync::Arc;

use futures_util::StreamExt;
use operone_core::agent::{Agent, RunEvent};
use operone_core::in_process::{ScriptedModel, ScriptedTurn};
use operone_core::model::ToolCall;
use operone_core::tool::{ToolHandle, ToolSpec};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Place {
    /// A city, without its country.
    city: String,
}

fn weather() -> ToolHandle {
    ToolHandle::typed(ToolSpec::new("weather", "Tells the weather of a city"), |_, place: Place| async move {
        Ok(format!("sunny in {}", place.city))
    })
}

#[tokio::main]
async fn main() -> operone_core::Result<()> {
    // In a real program: `operone_models::OpenAiCompatible`, or any other `LanguageModel`.
    let model = ScriptedModel::new(vec![
        ScriptedTurn::calls(vec![ToolCall::new("1", "weather", r#"{"city": "Lisbon"}"#)]),
        ScriptedTurn::text(["It is", " sunny", " in Lisbon."]),
    ]);
    let agent = Agent::new(Arc::new(model)).with_tool(weather())?;
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
