//! The contract of a tool: a typed call for authors, erased to one handle for everyone else.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::id::{AgentId, TenantId, ToolName, WorkId};

/// What an author of a tool writes.
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

    /// Sets the JSON schema of the input.
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

/// Any tool: typed, from a closure, or of another process. Clones share the tool.
#[derive(Clone)]
pub struct ToolHandle {
    spec: Arc<ToolSpec>,
    erased: Arc<dyn Erased>,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

trait Erased: Send + Sync {
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<Value>>;
}

struct Typed<T>(T);

impl<T: Tool> Erased for Typed<T> {
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let input = serde_json::from_value(input).map_err(|error| {
                Error::invalid(format!("the input does not fit: {error}")).with_code("invalid_input")
            })?;
            let output = self.0.call(context, input).await?;
            serde_json::to_value(output).map_err(|error| {
                Error::internal("the tool's output cannot be written as JSON").with_source(error)
            })
        })
    }
}

struct Closure<F>(F);

impl<F, Fut> Erased for Closure<F>
where
    F: Fn(ToolContext, Value) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<Value>> {
        Box::pin((self.0)(context.clone(), input))
    }
}

impl ToolHandle {
    /// Wraps a typed tool.
    pub fn new(tool: impl Tool) -> Self {
        Self { spec: Arc::new(tool.spec()), erased: Arc::new(Typed(tool)) }
    }

    /// A tool known only at run time.
    pub fn from_fn<F, Fut>(spec: ToolSpec, call: F) -> Self
    where
        F: Fn(ToolContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value>> + Send + 'static,
    {
        Self { spec: Arc::new(spec), erased: Arc::new(Closure(call)) }
    }

    /// The tool's name, description, schema and class.
    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Runs the tool. Input that does not fit is `Invalid` with code `invalid_input`.
    pub async fn call(&self, context: &ToolContext, input: Value) -> Result<Value> {
        self.erased.call(context, input).await
    }
}

impl fmt::Debug for ToolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolHandle").field(&self.spec.name).finish()
    }
}

/// Something that lists tools: a fixed set, or a server that is asked.
#[async_trait]
pub trait ToolSet: fmt::Debug + Send + Sync + 'static {
    /// The tools, each name once.
    async fn tools(&self) -> Result<Vec<ToolHandle>>;
}

/// Tools by name.
#[derive(Clone, Debug, Default)]
pub struct Tools(BTreeMap<String, ToolHandle>);

impl Tools {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool; an earlier one of the same name is replaced. The name must be a [`ToolName`].
    pub fn insert(&mut self, tool: ToolHandle) -> Result<()> {
        let name = ToolName::new(tool.spec().name.as_str())?;
        self.0.insert(name.as_str().to_owned(), tool);
        Ok(())
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&ToolHandle> {
        self.0.get(name)
    }

    /// The specs in order of their names.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.0.values().map(|tool| tool.spec().clone()).collect()
    }
}

#[async_trait]
impl ToolSet for Tools {
    async fn tools(&self) -> Result<Vec<ToolHandle>> {
        Ok(self.0.values().cloned().collect())
    }
}
