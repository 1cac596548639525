//! The tools `memory.read` and `memory.write`.

use std::sync::Arc;

use operone_core::Error;
use operone_core::Result;
use operone_core::id::MemoryId;
use operone_core::memory::{NewMemory, Recall, RecallQuery, Scope, ScopeKey, Trust};
use operone_core::tool::{Tool, ToolClass, ToolContext, ToolHandle, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// Where memories are looked for and written to if no scope is named.
const DEFAULT_SCOPE: &str = "longterm";

/// Names the ids that are derived from idempotency keys.
const NAMESPACE: Uuid = Uuid::from_u128(0x8a1d_3c52_6f0b_4e7e_9d24_51f7_c0de_a9b3);

/// `memory.read` and `memory.write` over a memory. They touch the calling tenant's scopes only.
pub fn tools(memory: &Arc<dyn Recall>) -> Vec<ToolHandle> {
    vec![
        ToolHandle::new(ReadMemory { memory: Arc::clone(memory) }),
        ToolHandle::new(WriteMemory { memory: Arc::clone(memory) }),
    ]
}

struct ReadMemory {
    memory: Arc<dyn Recall>,
}

#[derive(Debug, Deserialize)]
struct ReadInput {
    query: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct ReadOutput {
    entries: Vec<ReadEntry>,
}

#[derive(Debug, Serialize)]
struct ReadEntry {
    id: MemoryId,
    content: String,
    score: f64,
}

impl Tool for ReadMemory {
    type Input = ReadInput;
    type Output = ReadOutput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "memory.read",
            "Recalls what was remembered, best first. An empty query gives the newest memories.",
        )
        .with_untrusted_output()
        .with_input_schema(json!({
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": {"type": "string", "description": "what to recall, in words"},
                "scope": {"type": "string", "description": "such as longterm or session/42; longterm if left out"},
                "limit": {"type": "integer", "minimum": 1, "maximum": RecallQuery::MAX_LIMIT}
            }
        }))
    }

    async fn call(&self, context: &ToolContext, input: ReadInput) -> Result<ReadOutput> {
        let mut query = RecallQuery::new(scope(context, input.scope)?, input.query);
        if let Some(limit) = input.limit {
            query = query.with_limit(limit);
        }
        let recalled = self.memory.recall(query).await?;
        let entries = recalled.memories.into_iter().map(|found| ReadEntry {
            id: found.entry.id,
            content: found.entry.content,
            score: found.score,
        });
        Ok(ReadOutput { entries: entries.collect() })
    }
}

struct WriteMemory {
    memory: Arc<dyn Recall>,
}

#[derive(Debug, Deserialize)]
struct WriteInput {
    content: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Debug, Serialize)]
struct WriteOutput {
    id: MemoryId,
}

impl Tool for WriteMemory {
    type Input = WriteInput;
    type Output = WriteOutput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new("memory.write", "Remembers a fact word for word, to be recalled in later runs.")
            .with_class(ToolClass::Idempotent)
            .with_input_schema(json!({
                "type": "object",
                "required": ["content"],
                "properties": {
                    "content": {"type": "string", "description": "the fact, understandable by itself"},
                    "tags": {"type": "array", "items": {"type": "string"}, "description": "words to find it by"},
                    "scope": {"type": "string", "description": "such as longterm or session/42; longterm if left out"}
                }
            }))
    }

    async fn call(&self, context: &ToolContext, input: WriteInput) -> Result<WriteOutput> {
        let scope = scope(context, input.scope)?;
        let mut memory = NewMemory::new(input.content).with_tags(input.tags).with_trust(Trust::Agent);
        if !context.idempotency_key.is_empty() {
            memory = memory.with_id(derived_id(context));
        }
        let remembered = self.memory.remember(&scope, vec![memory]).await?;
        let id = remembered.ids.into_iter().next();
        Ok(WriteOutput { id: id.ok_or_else(|| Error::internal("the memory was written without an id"))? })
    }
}

fn scope(context: &ToolContext, scope: Option<String>) -> Result<ScopeKey> {
    let scope = scope.filter(|scope| !scope.is_empty()).unwrap_or_else(|| DEFAULT_SCOPE.to_owned());
    Ok(ScopeKey::new(context.tenant.clone(), Scope::new(scope)?))
}

/// The same for each try of one call, so that only the first writes.
fn derived_id(context: &ToolContext) -> MemoryId {
    let name = format!("{}\u{1f}{}", context.tenant, context.idempotency_key);
    MemoryId::from_uuid(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}
