//! One connection to a server: greeted once, its tools listed when they are asked for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use operone_core::tool::ToolSpec;
use operone_core::{Error, Result};
use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientConfig, Implementation,
    PaginatedRequestParams, ProtocolVersion,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, NotificationContext, Peer, RoleClient, RunningService,
    serve_client_with_lifecycle,
};
use rmcp::transport::IntoTransport;
use tokio::time::Instant;

use crate::config::{McpConfig, McpTransport, ToolPolicy};
use crate::error::{from_greeting, from_service, is_unreachable, protocol, timed_out, unavailable};
use crate::http::HttpClient;
use crate::stdio::Process;
use crate::tool;

/// How long a list of tools is good for, if the server does not say when it changes.
const LIST_AGE: Duration = Duration::from_secs(300);
/// The most pages and tools of one server.
const MAX_PAGES: usize = 100;
const MAX_TOOLS: usize = 512;
/// How many calls in a row may go unanswered before the server is given up.
const MAX_SILENT_CALLS: u32 = 3;
/// How long a server may take to leave.
const LEAVE: Duration = Duration::from_secs(2);

/// A tool as the host sees it, and the name that the server knows it by.
pub(crate) type Listed = Vec<(ToolSpec, String)>;

/// A greeted server. Dropping it ends the connection and kills the child.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<McpConfig>,
    peer: Peer<RoleClient>,
    service: Mutex<Option<RunningService<RoleClient, Listener>>>,
    process: Option<Arc<Process>>,
    changed: Arc<AtomicBool>,
    listed: tokio::sync::Mutex<Option<(Instant, Arc<Listed>)>>,
    lost: AtomicBool,
    silent_calls: AtomicU32,
}

/// What the server is told of us, and what it tells unasked.
#[derive(Clone, Debug)]
struct Listener {
    changed: Arc<AtomicBool>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            rmcp::model::ClientCapabilities::default(),
            Implementation::new("operone", env!("CARGO_PKG_VERSION")),
        )
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.store(true, Ordering::Release);
    }
}

impl Connection {
    /// Starts or calls the server and greets it: as servers with sessions want it, and if they refuse that, as servers
    /// without.
    pub(crate) async fn open(config: Arc<McpConfig>, http: Option<&HttpClient>) -> Result<Self> {
        let greeting = async {
            match Self::greet(&config, http, ClientLifecycleMode::Initialize).await {
                Err(Refused::Greeting(refusal)) => {
                    let modern = ClientLifecycleMode::Discover {
                        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                    };
                    Self::greet(&config, http, modern).await.map_err(|_| refusal)
                }
                other => other.map_err(|refused| match refused {
                    Refused::Greeting(error) | Refused::Else(error) => error,
                }),
            }
        };
        tokio::time::timeout(config.start_timeout, greeting)
            .await
            .unwrap_or_else(|_| Err(timed_out(&config.name, config.start_timeout)))
    }

    async fn greet(
        config: &Arc<McpConfig>,
        http: Option<&HttpClient>,
        lifecycle: ClientLifecycleMode,
    ) -> Result<Self, Refused> {
        let changed = Arc::new(AtomicBool::new(false));
        let listener = Listener { changed: Arc::clone(&changed) };
        let (process, service) = match (&config.transport, http) {
            (McpTransport::Command(command), _) => {
                let (process, transport) = Process::start(&config.name, command, config.max_message)
                    .map_err(|error| {
                        Refused::Else(unavailable(&config.name, "cannot be started").with_source(error))
                    })?;
                let service = serve(config, listener, transport, lifecycle).await;
                let service = service.map_err(|refused| match process.reason() {
                    Some(reason) => Refused::Else(unavailable(&config.name, reason)),
                    None => refused,
                })?;
                (Some(process), service)
            }
            (McpTransport::Endpoint(endpoint), Some(http)) => {
                let transport = http.transport(endpoint, config.max_message);
                (None, serve(config, listener, transport, lifecycle).await?)
            }
            (McpTransport::Endpoint(_), None) => {
                return Err(Refused::Else(Error::internal("an endpoint has no HTTP client")));
            }
        };
        Ok(Self {
            config: Arc::clone(config),
            peer: service.peer().clone(),
            service: Mutex::new(Some(service)),
            process,
            changed,
            listed: tokio::sync::Mutex::default(),
            lost: AtomicBool::new(false),
            silent_calls: AtomicU32::new(0),
        })
    }

    /// Whether calls have a chance.
    pub(crate) fn is_open(&self) -> bool {
        !self.lost.load(Ordering::Acquire)
            && !self.peer.is_transport_closed()
            && self.process.as_ref().is_none_or(|process| process.is_running())
    }

    /// The server's tools; asked for again after it said that they changed.
    ///
    /// Each name comes once: of two tools with one name the first counts.
    pub(crate) async fn list(&self) -> Result<Arc<Listed>> {
        let mut listed = self.listed.lock().await;
        let tells = self.peer.peer_info().is_some_and(|info| {
            let tools = info.capabilities.tools.as_ref();
            info.protocol_version.has_initialize() && tools.and_then(|tools| tools.list_changed) == Some(true)
        });
        if let Some((at, tools)) = listed.as_ref()
            && !self.changed.load(Ordering::Acquire)
            && (tells || at.elapsed() < LIST_AGE)
        {
            return Ok(Arc::clone(tools));
        }
        self.changed.store(false, Ordering::Release);
        let timeout = self.config.start_timeout;
        let result = tokio::time::timeout(timeout, self.pages())
            .await
            .unwrap_or_else(|_| Err(timed_out(&self.config.name, timeout)));
        match result {
            Ok(tools) => {
                let tools = Arc::new(tools);
                *listed = Some((Instant::now(), Arc::clone(&tools)));
                Ok(tools)
            }
            Err(error) => {
                self.changed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    async fn pages(&self) -> Result<Listed> {
        let server = &self.config.name;
        let (mut tools, mut names, mut cursor) = (Listed::new(), BTreeSet::new(), None);
        for _ in 0..MAX_PAGES {
            let parameters = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.peer.list_tools(Some(parameters)).await.map_err(|error| self.failed(error))?;
            for tool in &page.tools {
                let policy = self.config.policies.get(tool.name.as_ref());
                let Some(spec) = tool::spec(server, tool, policy.copied().unwrap_or(ToolPolicy::new()))
                else {
                    continue;
                };
                if !names.insert(spec.name.clone()) {
                    tracing::warn!(server, tool = spec.name, "an MCP server lists two tools of one name");
                    continue;
                }
                if tools.len() == MAX_TOOLS {
                    tracing::warn!(
                        server,
                        "an MCP server has more than {MAX_TOOLS} tools: the rest is left out"
                    );
                    return Ok(tools);
                }
                tools.push((spec, tool.name.clone().into_owned()));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(protocol(server, format_args!("lists its tools on more than {MAX_PAGES} pages")))
    }

    /// Calls a tool. Dropping the future tells the server to stop.
    pub(crate) async fn call(&self, parameters: CallToolRequestParams) -> Result<CallToolResult> {
        let server = &self.config.name;
        let answer = self.peer.call_tool_once(parameters).await;
        self.silent_calls.store(0, Ordering::Release);
        match answer.map_err(|error| self.failed(error))? {
            CallToolResponse::Complete(result) => Ok(result),
            CallToolResponse::InputRequired(_) => {
                Err(protocol(server, "wants to ask a person, which is not offered"))
            }
            CallToolResponse::Task(_) => Err(protocol(server, "answers with a task, which is not offered")),
            _ => Err(protocol(server, "answered what no tool answers")),
        }
    }

    /// A call was not answered in time. A server that answers none at all is given up.
    pub(crate) fn unanswered(&self) {
        if self.silent_calls.fetch_add(1, Ordering::AcqRel) + 1 >= MAX_SILENT_CALLS {
            self.end();
        }
    }

    /// Ends the connection at once and kills the child.
    pub(crate) fn end(&self) {
        self.lost.store(true, Ordering::Release);
        self.service.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(process) = &self.process {
            process.kill();
        }
    }

    /// Ends the connection and gives the child a while to leave.
    pub(crate) async fn leave(&self) {
        self.lost.store(true, Ordering::Release);
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut service) = service
            && let Err(error) = service.close_with_timeout(LEAVE).await
        {
            tracing::debug!(%error, "the connection to an MCP server did not end well");
        }
        if let Some(process) = &self.process {
            process.leave(LEAVE).await;
        }
    }

    fn failed(&self, error: rmcp::service::ServiceError) -> Error {
        let (error, lost) = from_service(&self.config.name, error);
        if !lost {
            return error;
        }
        self.end();
        match self.process.as_ref().and_then(|process| process.reason()) {
            Some(reason) => unavailable(&self.config.name, reason).with_source(error),
            None => error,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why there is no connection.
enum Refused {
    /// The server answered, but not as a server with sessions does.
    Greeting(Error),
    Else(Error),
}

async fn serve<T, E, A>(
    config: &McpConfig,
    listener: Listener,
    transport: T,
    lifecycle: ClientLifecycleMode,
) -> Result<RunningService<RoleClient, Listener>, Refused>
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    serve_client_with_lifecycle(listener, transport, lifecycle).await.map_err(|error| {
        let refused = from_greeting(&config.name, &error);
        match error {
            ClientInitializeError::JsonRpcError(_)
            | ClientInitializeError::ExpectedInitResult(_)
            | ClientInitializeError::NoCompatibleProtocolVersion { .. } => Refused::Greeting(refused),
            ClientInitializeError::TransportError { .. }
                if !error.is_authorization_required() && !is_unreachable(&error) =>
            {
                Refused::Greeting(refused)
            }
            _ => Refused::Else(refused),
        }
    })
}
