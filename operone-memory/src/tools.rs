//! The tools `memory.read` and `memory.write`.

mod access;

use std::sync::Arc;

use operone_core::Error;
use operone_core::Result;
use operone_core::id::MemoryId;
use operone_core::memory::{NewMemory, Recall, RecallQuery, Trust};
use operone_core::tool::{Tool, ToolClass, ToolContext, ToolHandle, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub use access::MemoryAccess;
use access::Scopes;

/// Names the ids that are derived from idempotency keys.
const NAMESPACE: Uuid = Uuid::from_u128(0x8a1d_3c52_6f0b_4e7e_9d24_51f7_c0de_a9b3);

/// Returns the tools `memory.read` and `memory.write`, which reach every scope of the calling tenant.
///
/// The model chooses the scope; the default is `longterm`. If the scopes of a tenant belong to different users, use
/// [`tools_in`] instead: text that the model reads can talk it into naming another user's scope.
pub fn tools(memory: &Arc<dyn Recall>) -> Vec<ToolHandle> {
    vec![
        ToolHandle::new(ReadMemory { memory: Arc::clone(memory), scopes: Scopes::Any }),
        ToolHandle::new(WriteMemory { memory: Arc::clone(memory), scopes: Scopes::Any }),
    ]
}

/// Returns the tools `memory.read` and `memory.write`, limited to the scopes in `access`.
///
/// You choose the scopes, and nothing the model writes can widen them:
///
/// - `memory.read` is returned only if a scope may be read, `memory.write` only if one may be written.
/// - If a tool has one scope, its schema has no `scope` input. If it has several, `scope` is an `enum` of them and
///   defaults to the first. A call reads or writes a single scope.
/// - A `scope` that isn't granted is refused, whether it exists or not.
/// - The tenant is always the calling one.
///
/// # Errors
///
/// A call of either tool returns `Denied` with code `scope_not_granted` if it names any other scope. The message
/// lists the granted scopes.
///
/// # Examples
///
/// Two users of one tenant, each with an agent that remembers for that user alone:
///
/// ```
/// use std::sync::Arc;
///
/// use operone_core::clock::SystemClock;
/// use operone_core::id::SystemIds;
/// use operone_core::in_process::InProcessMemoryStore;
/// use operone_core::memory::{Recall, Scope};
/// use operone_core::tool::{ToolContext, ToolHandle};
/// use operone_memory::{Memory, MemoryAccess, tools_in};
/// use serde_json::json;
///
/// fn tools_for(user: &str, memory: &Arc<dyn Recall>) -> operone_core::Result<Vec<ToolHandle>> {
///     let own = Scope::new(format!("user/{user}"))?;
///     Ok(tools_in(memory, MemoryAccess::read_write([own])))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> operone_core::Result<()> {
/// let store = Arc::new(InProcessMemoryStore::default());
/// let memory: Arc<dyn Recall> = Arc::new(Memory::new(store, Arc::new(SystemClock), Arc::new(SystemIds)));
/// let (ada, bob) = (tools_for("ada", &memory)?, tools_for("bob", &memory)?);
/// let context = ToolContext::default();
///
/// // Tools are in the order read, write.
/// bob[1].call(&context, json!({"content": "Bob's door code is 4711"})).await?;
/// let found = bob[0].call(&context, json!({"query": "door code"})).await?;
/// assert_eq!(found["entries"][0]["content"], "Bob's door code is 4711");
///
/// let found = ada[0].call(&context, json!({"query": "door code"})).await?;
/// assert_eq!(found, json!({"entries": []}));
/// let refused = ada[0].call(&context, json!({"query": "door code", "scope": "user/bob"})).await;
/// assert_eq!(refused.unwrap_err().code(), "scope_not_granted");
/// # Ok(())
/// # }
/// ```
pub fn tools_in(memory: &Arc<dyn Recall>, access: MemoryAccess) -> Vec<ToolHandle> {
    let read = Scopes::granted(access.read)
        .map(|scopes| ToolHandle::new(ReadMemory { memory: Arc::clone(memory), scopes }));
    let write = Scopes::granted(access.write)
        .map(|scopes| ToolHandle::new(WriteMemory { memory: Arc::clone(memory), scopes }));
    read.into_iter().chain(write).collect()
}

struct ReadMemory {
    memory: Arc<dyn Recall>,
    scopes: Scopes,
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
        .with_input_schema(schema(
            "query",
            json!({
                "query": {"type": "string", "description": "what to recall, in words"},
                "limit": {"type": "integer", "minimum": 1, "maximum": RecallQuery::MAX_LIMIT}
            }),
            &self.scopes,
        ))
    }

    async fn call(&self, context: &ToolContext, input: ReadInput) -> Result<ReadOutput> {
        let mut query = RecallQuery::new(self.scopes.resolve(context, input.scope)?, input.query);
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
    scopes: Scopes,
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
            .with_input_schema(schema(
                "content",
                json!({
                    "content": {"type": "string", "description": "the fact, understandable by itself"},
                    "tags": {"type": "array", "items": {"type": "string"}, "description": "words to find it by"}
                }),
                &self.scopes,
            ))
    }

    async fn call(&self, context: &ToolContext, input: WriteInput) -> Result<WriteOutput> {
        let scope = self.scopes.resolve(context, input.scope)?;
        let mut memory = NewMemory::new(input.content).with_tags(input.tags).with_trust(Trust::Agent);
        if !context.idempotency_key.is_empty() {
            memory = memory.with_id(derived_id(context));
        }
        let remembered = self.memory.remember(&scope, vec![memory]).await?;
        let id = remembered.ids.into_iter().next();
        Ok(WriteOutput { id: id.ok_or_else(|| Error::internal("the memory was written without an id"))? })
    }
}

/// The schema of an object of `properties`, with the scope where the model has a choice.
fn schema(required: &str, mut properties: Value, scopes: &Scopes) -> Value {
    if let (Some(properties), Some(scope)) = (properties.as_object_mut(), scopes.property()) {
        properties.insert("scope".into(), scope);
    }
    json!({"type": "object", "required": [required], "properties": properties})
}

/// The same for each try of one call, so that only the first writes.
fn derived_id(context: &ToolContext) -> MemoryId {
    let name = format!("{}\u{1f}{}", context.tenant, context.idempotency_key);
    MemoryId::from_uuid(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}
