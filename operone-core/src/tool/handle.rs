//! Any tool behind one handle: a type's, a function's, or another process's.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "jsonschema")]
use std::sync::OnceLock;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Tool, ToolContext, ToolSpec};
use crate::error::{Error, Result};
#[cfg(feature = "jsonschema")]
use crate::schema::JsonSchema;

/// Any tool: typed, from a closure, or of another process. Clones share the tool.
#[derive(Clone)]
pub struct ToolHandle {
    spec: Arc<ToolSpec>,
    erased: Arc<dyn Erased>,
    /// Checks input that no type is read from; compiled at the first call.
    #[cfg(feature = "jsonschema")]
    schema: Option<Arc<OnceLock<Option<JsonSchema>>>>,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

trait Erased: Send + Sync {
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<Value>>;
}

struct Typed<T>(T);

impl<T: Tool> Erased for Typed<T> {
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move { written(self.0.call(context, read(input)?).await?) })
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
        Self::unchecked(tool.spec(), Typed(tool))
    }

    /// A function as a tool; the schema of its input is derived from the input's type, which is a struct.
    ///
    /// ```
    /// use operone_core::tool::{ToolContext, ToolHandle, ToolSpec};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Sum {
    ///     /// The first number.
    ///     a: i64,
    ///     b: i64,
    /// }
    /// let add = ToolHandle::typed(ToolSpec::new("add", "Adds two numbers"), |_, sum: Sum| async move {
    ///     Ok(sum.a + sum.b)
    /// });
    /// assert_eq!(add.spec().input_schema["properties"]["a"]["description"], "The first number.");
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = serde_json::json!({"a": 1, "b": 2});
    /// assert_eq!(add.call(&ToolContext::default(), input).await?, 3);
    /// # Ok::<(), operone_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// The schema replaces that of `spec`; see [`ToolSpec::with_schema_of`]. Otherwise the promises of [`Tool::call`]
    /// are the function's: called again under the same key, concurrently, and dropped.
    #[cfg(feature = "schemars")]
    pub fn typed<I, O, F, Fut>(spec: ToolSpec, call: F) -> Self
    where
        I: DeserializeOwned + schemars::JsonSchema,
        O: Serialize,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O>> + Send + 'static,
    {
        let call = move |context, input| {
            let answer = read(input).map(|input| call(context, input));
            async move { written(answer?.await?) }
        };
        Self::unchecked(spec.with_schema_of::<I>(), Closure(call))
    }

    /// A function as a tool that is known only at run time.
    ///
    /// Its input is checked against the schema in `spec` before each call, with the feature `jsonschema`. A schema that
    /// is not valid, or refers to another document, checks nothing.
    pub fn from_fn<F, Fut>(spec: ToolSpec, call: F) -> Self
    where
        F: Fn(ToolContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value>> + Send + 'static,
    {
        let handle = Self::unchecked(spec, Closure(call));
        #[cfg(feature = "jsonschema")]
        let handle = Self { schema: Some(Arc::default()), ..handle };
        handle
    }

    fn unchecked(spec: ToolSpec, tool: impl Erased + 'static) -> Self {
        Self {
            spec: Arc::new(spec),
            erased: Arc::new(tool),
            #[cfg(feature = "jsonschema")]
            schema: None,
        }
    }

    /// The tool's name, description, schema and class.
    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Runs the tool.
    ///
    /// # Errors
    ///
    /// `Invalid` with code `invalid_input` if the input does not fit, `Internal` with code `tool_panicked` if the tool
    /// panics, and whatever the tool itself returns.
    pub async fn call(&self, context: &ToolContext, input: Value) -> Result<Value> {
        #[cfg(feature = "jsonschema")]
        self.check(&input)?;
        // Built within the future, since a closure may panic before it has made one.
        let called = async { self.erased.call(context, input).await };
        // A tool is `&self`: what a panic leaves behind in it is the tool's own business, as in any thread pool.
        AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(|_| {
            let detail = format!("the tool '{}' panicked: nothing is known of what it did", self.spec.name);
            Err(Error::internal(detail).with_code("tool_panicked"))
        })
    }
}

#[cfg(feature = "jsonschema")]
impl ToolHandle {
    fn check(&self, input: &Value) -> Result<()> {
        let schema = self.schema.as_ref().map(|schema| {
            schema.get_or_init(|| {
                let schema = JsonSchema::new(&self.spec.input_schema);
                let name = &self.spec.name;
                schema
                    .inspect_err(|error| tracing::warn!(tool = name, %error, "a tool's input is not checked"))
                    .ok()
            })
        });
        let Some(Some(schema)) = schema else { return Ok(()) };
        // No input at all counts as an empty object, as it does where a model leaves its arguments out.
        let empty = Value::Object(serde_json::Map::new());
        schema.check(if input.is_null() { &empty } else { input }).map_err(|faults| {
            Error::invalid(format!("the input does not fit: {}", faults.join("; ")))
                .with_code("invalid_input")
        })
    }
}

impl fmt::Debug for ToolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolHandle").field(&self.spec.name).finish()
    }
}

fn read<T: DeserializeOwned>(input: Value) -> Result<T> {
    serde_json::from_value(input).map_err(|error| {
        Error::invalid(format!("the input does not fit: {error}")).with_code("invalid_input")
    })
}

fn written(output: impl Serialize) -> Result<Value> {
    serde_json::to_value(output)
        .map_err(|error| Error::internal("the tool's output cannot be written as JSON").with_source(error))
}
