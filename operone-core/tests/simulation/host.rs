//! What the simulated agents work with: a model that follows a plan, and tools that leave a trace.

use std::sync::Arc;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::agent::{AgentSpec, Driver, Grants, Subagent};
use operone_core::id::TenantId;
use operone_core::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelInfo, ModelRequest, ModelStream, ToolCall,
    Usage,
};
use operone_core::tool::{ToolClass, ToolHandle, ToolSpec, Tools};
use serde_json::json;

use crate::random::Random;
use crate::world::{Effect, Process};

const TOOLS: [(&str, ToolClass); 4] = [
    ("look", ToolClass::Read),
    ("put", ToolClass::Idempotent),
    ("fire", ToolClass::Once),
    ("send", ToolClass::Once),
];

/// What an agent is going to do: the names of the tools of each turn, those of one turn joined by `+`, the turns by
/// spaces; a task of a sub-agent is in brackets.
pub(crate) fn plan(random: &Random, depth: u32) -> String {
    let turns = 1 + random.below(3);
    let turn = |_| {
        let calls = 1 + random.below(3);
        let call = |_| match random.below(12) {
            0..=3 => "look".to_owned(),
            4..=6 => "put".to_owned(),
            7..=8 => "fire".to_owned(),
            9 => "send".to_owned(),
            10 if depth > 0 => format!("({})", plan(random, depth - 1)),
            _ => "unknown".to_owned(),
        };
        (0..calls).map(call).collect::<Vec<_>>().join("+")
    };
    (0..turns).map(turn).collect::<Vec<_>>().join(" ")
}

/// Splits at a character that stands in no bracket.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (place, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if character == at && depth == 0 => {
                parts.push(&text[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// Answers by how far the conversation is: asked again, it says the same.
#[derive(Debug)]
struct PlannedModel(Arc<Process>);

#[async_trait]
impl LanguageModel for PlannedModel {
    fn info(&self) -> ModelInfo {
        ModelInfo::new("simulation", "planned")
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        // A model that does not answer ends the run: only the process itself goes wrong here.
        let _ = self.0.fault().await;
        let plan = request.messages.iter().find_map(|message| match message {
            Message::User { content } => Some(content.clone()),
            _ => None,
        });
        let turn =
            request.messages.iter().filter(|message| matches!(message, Message::Assistant { .. })).count();
        let plan = plan.unwrap_or_default();
        let mut events: Vec<ModelEvent> = ["on", "ce"].map(|piece| ModelEvent::Text(piece.to_owned())).into();
        if let Some(calls) = split(&plan, ' ').get(turn) {
            for (place, name) in split(calls, '+').into_iter().enumerate() {
                let id = format!("{turn}.{place}");
                events.push(ModelEvent::Call(
                    match name.strip_prefix('(').and_then(|name| name.strip_suffix(')')) {
                        Some(task) => ToolCall::new(id, "agent.helper", json!({ "task": task }).to_string()),
                        None => ToolCall::new(id, name, "{}"),
                    },
                ));
            }
        }
        events.push(ModelEvent::Done(Finish::new(FinishReason::Stop, Usage::new(1, 1))));
        Ok(Box::pin(futures_util::stream::iter(events.into_iter().map(Ok))))
    }
}

/// Grants the tools of the simulation, which live in one process.
#[derive(Debug)]
pub(crate) struct Host(pub(crate) Arc<Process>);

impl Host {
    fn tools(&self) -> Tools {
        let mut tools = Tools::new();
        for (name, class) in TOOLS {
            let process = Arc::clone(&self.0);
            let mut spec = ToolSpec::new(name, "").with_class(class);
            spec.concurrent = name == "put";
            spec.untrusted = name == "look";
            let tool = ToolHandle::from_fn(spec, move |context, _| {
                let process = Arc::clone(&process);
                async move {
                    process.fault().await?;
                    process.world.seen().effects.push(Effect {
                        run: context.run.clone().unwrap(),
                        step: context.step,
                        tool: name,
                        key: context.idempotency_key.clone(),
                    });
                    process.fault().await?;
                    Ok(json!("done"))
                }
            });
            tools.insert(tool).unwrap();
        }
        tools
    }
}

#[async_trait]
impl Grants for Host {
    async fn grant(&self, _: &TenantId, _: &AgentSpec) -> Result<Driver> {
        let model: Arc<dyn LanguageModel> = Arc::new(PlannedModel(Arc::clone(&self.0)));
        let helper = Driver::new(Arc::clone(&model), self.tools());
        Driver::new(model, self.tools()).with_agent(Subagent::new("helper", "Helps", helper))
    }
}
