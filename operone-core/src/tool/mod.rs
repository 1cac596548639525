//! The contract of a tool: a typed call for authors, erased to one handle for everyone else.

mod handle;
#[cfg(feature = "schemars")]
mod schema;
mod set;

use std::future::Future;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::id::{AgentId, TenantId, WorkId};

pub use handle::ToolHandle;
#[cfg(all(feature = "jsonschema", feature = "schemars"))]
pub(crate) use schema::schema_of;
pub use set::{ToolSet, Tools};

/// What an author of a tool writes.
///
/// A function is a tool too: `ToolHandle::typed`, which the feature `schemars` adds, derives the schema from the type
/// of its input; [`ToolHandle::from_fn`] takes and gives plain JSON.
///
/// ```
/// use operone_core::tool::{Tool, ToolContext, ToolHandle, ToolSpec};
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Sum { a: i64, b: i64 }
///
/// struct Add;
/// impl Tool for Add {
///     type Input = Sum;
///     type Output = i64;
///     fn spec(&self) -> ToolSpec {
///         ToolSpec::new("add", "Adds two numbers").with_input_schema(json!({
///             "type": "object", "required": ["a", "b"],
///             "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}
///         }))
///     }
///     async fn call(&self, _: &ToolContext, input: Sum) -> operone_core::Result<i64> {
///         Ok(input.a + input.b)
///     }
/// }
/// let handle = ToolHandle::new(Add);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(handle.call(&ToolContext::default(), json!({"a": 1, "b": 2})).await?, json!(3));
/// # Ok::<(), operone_core::Error>(()) }).unwrap();
/// ```
pub trait Tool: Send + Sync + 'static {
    /// What the tool is called with.
    type Input: DeserializeOwned + Send;
    /// What it gives back.
    type Output: Serialize + Send;

    /// The tool's name, description, schema and class. Constant: it is read once.
    fn spec(&self) -> ToolSpec;

    /// Runs the tool.
    ///
    /// - Called concurrently, also by different agents.
    /// - Called again with the same [`ToolContext::idempotency_key`] after a crash, unless the class is `once`.
    /// - Dropping the future must stop the work. [`ToolContext::cancelled`] asks politely first.
    /// - An error becomes a result that the model reads; it does not end the run.
    fn call(
        &self,
        context: &ToolContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// What a model and a runtime know of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolSpec {
    /// The name, for instance `file.read`.
    pub name: String,
    /// What it does and when to use it, for the model.
    pub description: String,
    /// The JSON schema of its input.
    pub input_schema: Value,
    /// What may happen when it is run twice.
    pub class: ToolClass,
    /// Whether it may run beside other calls of the same turn. A tool that only reads may always.
    #[serde(default)]
    pub concurrent: bool,
    /// Whether what it is called with leaves this system: a request to the web, a message to a person.
    #[serde(default)]
    pub egress: bool,
    /// Whether strangers may have written what it returns: documents, pages, memories. A context that holds such
    /// text is tainted.
    #[serde(default)]
    pub untrusted: bool,
}

impl ToolSpec {
    /// A tool that only reads and takes an empty object.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            input_schema: serde_json::json!({"type": "object", "properties": {}}),
            class: ToolClass::Read,
            concurrent: false,
            egress: false,
            untrusted: false,
        }
    }

    /// Sets the JSON schema of the input. `with_schema_of`, which the feature `schemars` adds, derives it.
    #[must_use]
    pub fn with_input_schema(mut self, schema: Value) -> Self {
        self.input_schema = schema;
        self
    }

    /// Sets what may happen when the tool is run twice.
    #[must_use]
    pub fn with_class(mut self, class: ToolClass) -> Self {
        self.class = class;
        self
    }

    /// Lets it run beside other calls of the same turn, although it does more than read.
    #[must_use]
    pub fn with_concurrent(mut self) -> Self {
        self.concurrent = true;
        self
    }

    /// Says that what it is called with leaves this system.
    #[must_use]
    pub fn with_egress(mut self) -> Self {
        self.egress = true;
        self
    }

    /// Says that strangers may have written what it returns.
    #[must_use]
    pub fn with_untrusted_output(mut self) -> Self {
        self.untrusted = true;
        self
    }
}

/// What may happen when a tool is run twice with the same idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolClass {
    /// Changes nothing: run again at will.
    Read,
    /// The second run has no further effect: run again after a crash, with the same key.
    Idempotent,
    /// Must not run twice: after a crash with an unknown outcome it is not run again.
    Once,
}

/// What a tool may know of the call. A test needs no more than `ToolContext::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ToolContext {
    /// Whose data the tool may touch.
    pub tenant: TenantId,
    /// The calling agent, if an agent calls.
    pub agent: Option<AgentId>,
    /// The run of that agent.
    pub run: Option<WorkId>,
    /// The step within the run.
    pub step: u64,
    /// The same for each try of one call, and for no other call.
    pub idempotency_key: String,
    /// Ends when the run is cancelled.
    pub cancelled: CancellationToken,
}

impl Default for ToolContext {
    fn default() -> Self {
        Self::new(TenantId::local())
    }
}

impl ToolContext {
    /// A call on behalf of `tenant` that no agent makes.
    pub fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            agent: None,
            run: None,
            step: 0,
            idempotency_key: String::new(),
            cancelled: CancellationToken::new(),
        }
    }
}
