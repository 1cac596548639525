//! A server that is there when it is needed: connected at the first use, and again after it was lost.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use operone_core::error::ErrorReport;
use operone_core::tool::{ToolContext, ToolHandle, ToolSet};
use operone_core::{Error, ErrorKind, Result};
use rmcp::model::{CallToolRequestParams, MetaObject, RequestMetaObject};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{McpConfig, McpTransport};
use crate::connection::Connection;
use crate::error::{timed_out, unavailable};
use crate::http::HttpClient;
use crate::output::output;

/// The name of the field of `_meta` that holds the idempotency key of a call.
const IDEMPOTENCY_KEY: &str = "operone/idempotency_key";
/// The longest wait before a server that fails again and again is tried once more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Failures that lie further back are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// One MCP server as a set of tools.
///
/// - Nothing is started before the first [`tools`](ToolSet::tools) or call. A server that was lost is started or called
///   again by the next one: never two at a time, at once after a first failure, then after half a second, doubling up to
///   half a minute; until then the error says when.
/// - Whoever waits for a start may give up; the start goes on, and the next one finds it done.
/// - Dropping it, or [`close`](Self::close), ends the connection, also for the tools that it has given, and kills a child
///   with its whole process group.
/// - Runs on the tokio runtime that makes the first use of it.
///
/// Errors of tools and of calls: `mcp_unavailable` (retryable) where the server cannot be reached or was lost during the
/// call, whose effect is then unknown; `mcp_timeout`; `mcp_protocol` where it does not keep to the protocol;
/// `mcp_unauthorized`; `tool_failed` with the tool's own words; `invalid_input`; `cancelled`.
pub struct McpServer {
    inner: Arc<Inner>,
}

impl McpServer {
    /// Checks the configuration; starts and calls nobody.
    ///
    /// Errors: those of [`McpConfig::check`]; `Internal` if TLS cannot be set up.
    pub fn new(config: McpConfig) -> Result<Self> {
        config.check()?;
        let http = match &config.transport {
            McpTransport::Endpoint(_) => Some(HttpClient::new()?),
            McpTransport::Command(_) => None,
        };
        let state = Mutex::default();
        let inner = Inner { config: Arc::new(config), http, state, closed: CancellationToken::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name that its tools begin with.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// Ends the connection; a child gets two seconds to leave by itself. Calls under way fail. Nothing works afterwards.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        let current = self.inner.state().current.take();
        if let Some(connection) = current {
            connection.leave().await;
        }
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl ToolSet for McpServer {
    async fn tools(&self) -> Result<Vec<ToolHandle>> {
        let connection = self.inner.connection().await?;
        let listed = connection.list().await?;
        let handles = listed.iter().map(|(spec, remote)| {
            let (inner, remote) = (Arc::clone(&self.inner), remote.clone());
            ToolHandle::from_fn(spec.clone(), move |context, input| {
                let (inner, remote) = (Arc::clone(&inner), remote.clone());
                async move { inner.call(remote, &context, input).await }
            })
        });
        Ok(handles.collect())
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.inner.closed.cancel();
        if let Some(connection) = self.inner.state().current.take() {
            connection.end();
        }
    }
}

type Connecting = Shared<BoxFuture<'static, Result<Arc<Connection>, ErrorReport>>>;

/// What the server and its tools share.
struct Inner {
    config: Arc<McpConfig>,
    http: Option<HttpClient>,
    state: Mutex<State>,
    /// Ends when nothing shall work any more.
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Connection>>,
    connecting: Option<Connecting>,
    failures: u32,
    last_failure: Option<Instant>,
}

impl State {
    fn failed(&mut self) {
        if self.last_failure.is_some_and(|at| at.elapsed() > FORGOTTEN) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(Instant::now());
    }

    /// How long the next try has to wait.
    fn wait(&self) -> Option<Duration> {
        let doublings = self.failures.checked_sub(2)?;
        let pause = Duration::from_millis(500).saturating_mul(1 << doublings.min(16)).min(LONGEST_WAIT);
        pause.checked_sub(self.last_failure?.elapsed()).filter(|wait| !wait.is_zero())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open connection, or a new one.
    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>> {
        let name = &self.config.name;
        let connecting = {
            let mut state = self.state();
            if self.closed.is_cancelled() {
                return Err(unavailable(name, "has been closed").with_retryable(false));
            }
            if let Some(current) = &state.current {
                if current.is_open() {
                    return Ok(Arc::clone(current));
                }
                state.current = None;
                state.failed();
            }
            match (&state.connecting, state.wait()) {
                (Some(connecting), _) => connecting.clone(),
                (None, Some(wait)) => {
                    let what = "failed several times and is not tried again just yet";
                    return Err(unavailable(name, what).with_retry_after(wait));
                }
                (None, None) => {
                    let connecting = self.connect();
                    state.connecting = Some(connecting.clone());
                    connecting
                }
            }
        };
        connecting.await.map_err(Error::from)
    }

    /// Connects in a task of its own, which ends when the server is closed.
    fn connect(self: &Arc<Self>) -> Connecting {
        let (shared, config, http) = (Arc::downgrade(self), Arc::clone(&self.config), self.http.clone());
        let (closed, name) = (self.closed.clone(), config.name.clone());
        let task = tokio::spawn(async move {
            let opened = tokio::select! {
                biased;
                () = closed.cancelled() => Err(unavailable(&config.name, "has been closed")),
                opened = Connection::open(Arc::clone(&config), http.as_ref()) => opened,
            };
            settle(&shared, &config.name, opened)
        });
        async move {
            task.await.unwrap_or_else(|_| {
                Err(unavailable(&name, "was not connected to: the runtime stops").report())
            })
        }
        .boxed()
        .shared()
    }

    async fn call(self: &Arc<Self>, tool: String, context: &ToolContext, input: Value) -> Result<Value> {
        let arguments = match input {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            _ => return Err(Error::invalid("the input is an object").with_code("invalid_input")),
        };
        let mut parameters = CallToolRequestParams::new(tool).with_arguments(arguments);
        if !context.idempotency_key.is_empty() {
            let mut meta = Map::new();
            meta.insert(IDEMPOTENCY_KEY.to_owned(), Value::from(context.idempotency_key.as_str()));
            parameters.meta = Some(RequestMetaObject(MetaObject(meta)));
        }
        let mut called: Option<Arc<Connection>> = None;
        let call = async {
            let connection = self.connection().await?;
            called = Some(Arc::clone(&connection));
            connection.call(parameters).await
        };
        let timeout = self.config.call_timeout;
        // Whichever comes first drops the call, and with it goes the word to the server.
        let result = tokio::select! {
            biased;
            () = context.cancelled.cancelled() => {
                return Err(Error::new(ErrorKind::Cancelled, "the call was cancelled"));
            }
            result = tokio::time::timeout(timeout, call) => result,
        };
        match result {
            Ok(result) => {
                let result = result?;
                self.state().failures = 0;
                output(result)
            }
            Err(_) => {
                if let Some(connection) = called {
                    connection.unanswered();
                }
                Err(timed_out(&self.config.name, timeout))
            }
        }
    }
}

/// Keeps what came of a try to connect, for those who wait and for those who come later.
fn settle(
    shared: &Weak<Inner>,
    server: &str,
    opened: Result<Connection>,
) -> Result<Arc<Connection>, ErrorReport> {
    let Some(inner) = shared.upgrade() else {
        return Err(unavailable(server, "has been closed").report());
    };
    let mut state = inner.state();
    state.connecting = None;
    match opened {
        Ok(_) if inner.closed.is_cancelled() => Err(unavailable(server, "has been closed").report()),
        Ok(connection) => {
            let connection = Arc::new(connection);
            state.current = Some(Arc::clone(&connection));
            Ok(connection)
        }
        Err(error) => {
            state.failed();
            tracing::warn!(server, error = %error.with_causes(), "an MCP server is not available");
            Err(error.report())
        }
    }
}
