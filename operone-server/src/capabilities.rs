//! What each capability grants: the one place that maps names of capabilities to a model and tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use operone_core::agent::{AgentSpec, Driver, Grants, Subagent};
use operone_core::chunk::Collection;
use operone_core::error::{Error, ErrorKind, Result};
use operone_core::id::TenantId;
use operone_core::memory::Recall;
use operone_core::query::{QueryDatabase, query_tool};
use operone_core::retrieve::Retriever;
use operone_core::tool::{ToolHandle, ToolSet, ToolSpec, Tools};
use operone_files::{FileRoot, Quota};
use operone_web::WebClient;

use crate::mcp::McpServers;
use crate::models::ServerModels;

/// What an agent gets that names no capabilities.
pub(crate) const DEFAULT: [&str; 3] = ["ai", "rag", "memory"];

/// Every capability of this server.
const KNOWN: [&str; 6] = ["ai", "db", "fs", "http", "memory", "rag"];

/// What stands before the name of a collection in the capability that grants it to `rag.search`.
const COLLECTION: &str = "rag:";

/// The collections that `rag.search` may search: the default one by `rag`, and each by `rag:NAME`, in their order.
fn granted_collections(spec: &AgentSpec) -> Vec<String> {
    let mut granted: Vec<String> = Vec::new();
    for capability in &spec.capabilities {
        let name = match capability.strip_prefix(COLLECTION) {
            Some(name) => name,
            None if capability == "rag" => Collection::DEFAULT,
            None => continue,
        };
        if !granted.iter().any(|known| known == name) {
            granted.push(name.to_owned());
        }
    }
    granted
}

/// Grants models and tools by capability.
#[derive(Debug)]
pub(crate) struct Capabilities {
    models: ServerModels,
    retriever: Arc<dyn Retriever>,
    memory: Arc<dyn Recall>,
    web: WebClient,
    workspace: PathBuf,
    workspace_quota: u64,
    database_tool: ToolHandle,
    mcp: McpServers,
}

impl Capabilities {
    /// `workspace` holds one folder per tenant for the file tools.
    pub(crate) fn new(
        models: ServerModels,
        retriever: Arc<dyn Retriever>,
        memory: Arc<dyn Recall>,
        web: WebClient,
        workspace: PathBuf,
    ) -> Self {
        Self {
            models,
            retriever,
            memory,
            web,
            workspace,
            workspace_quota: Quota::default().bytes,
            database_tool: query_tool(BTreeMap::new()),
            mcp: McpServers::default(),
        }
    }

    /// Sets the databases that agents with `db` may read.
    pub(crate) fn with_databases(mut self, databases: BTreeMap<String, Arc<dyn QueryDatabase>>) -> Self {
        self.database_tool = query_tool(databases);
        self
    }

    /// Sets the MCP servers, each of which is a capability.
    pub(crate) fn with_mcp_servers(mut self, servers: McpServers) -> Self {
        self.mcp = servers;
        self
    }

    /// The MCP servers.
    pub(crate) fn mcp(&self) -> &McpServers {
        &self.mcp
    }

    /// Sets how many bytes one tenant's folder may come to hold by what agents write.
    pub(crate) fn with_workspace_quota(mut self, bytes: u64) -> Self {
        self.workspace_quota = bytes;
        self
    }

    /// The bytes that one tenant's folder may come to hold by what agents write.
    pub(crate) fn workspace_quota(&self) -> u64 {
        self.workspace_quota
    }

    /// Refuses a name that grants nothing here.
    pub(crate) fn check(&self, capability: &str) -> Result<()> {
        let known: Vec<&str> = KNOWN.into_iter().chain(self.mcp.capabilities()).collect();
        if known.contains(&capability) {
            return Ok(());
        }
        if let Some(name) = capability.strip_prefix(COLLECTION) {
            return Collection::named(TenantId::local(), name).map(|_| ());
        }
        let known = known.join(", ");
        let detail = format!("there is no capability '{capability}' here; there are: {known}");
        Err(Error::invalid(detail).with_code("unknown_capability"))
    }

    /// The language models: for agents with `ai`; the others are answered by rules.
    pub(crate) fn models(&self) -> &ServerModels {
        &self.models
    }

    /// The granted tools that need what the server holds. An MCP server that cannot be reached grants none.
    pub(crate) async fn tools_of_server(&self, _: &TenantId, spec: &AgentSpec) -> Result<Tools> {
        let mut tools = Tools::new();
        let collections = granted_collections(spec);
        if !collections.is_empty() {
            tools.insert(operone_rag::search_tool(Arc::clone(&self.retriever), collections))?;
        }
        if spec.grants("memory") {
            for tool in operone_memory::tools(&self.memory) {
                tools.insert(tool)?;
            }
        }
        if spec.grants("http") {
            tools.insert(operone_web::http_get_tool(self.web.clone()))?;
        }
        if spec.grants("db") {
            tools.insert(self.database_tool.clone())?;
        }
        for tool in self.mcp.granted(spec).await {
            tools.insert(tool)?;
        }
        Ok(tools)
    }

    /// The folder of the granted file tools; made if it is missing.
    pub(crate) fn file_root(&self, tenant: &TenantId, spec: &AgentSpec) -> Result<Option<PathBuf>> {
        if !spec.grants("fs") {
            return Ok(None);
        }
        let root = self.workspace.join(tenant.as_str());
        std::fs::create_dir_all(&root).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the agents' workspace cannot be made").with_source(error)
        })?;
        Ok(Some(root))
    }

    /// Every tool that the capabilities of an agent grant.
    pub(crate) async fn tools(&self, tenant: &TenantId, spec: &AgentSpec) -> Result<Tools> {
        let mut tools = self.tools_of_server(tenant, spec).await?;
        if let Some(root) = self.file_root(tenant, spec)? {
            for tool in file_tools(&root, self.workspace_quota).await? {
                tools.insert(tool)?;
            }
        }
        Ok(tools)
    }

    /// Each capability with the tools it grants; those of MCP servers as far as they answer at once.
    pub(crate) async fn catalogue(&self, tenant: &TenantId) -> Result<Vec<(String, Vec<ToolSpec>)>> {
        let mut catalogue = Vec::new();
        for capability in KNOWN {
            let spec = AgentSpec::new("", vec![capability.to_owned()]);
            catalogue.push((capability.to_owned(), self.tools(tenant, &spec).await?.specs()));
        }
        catalogue.extend(self.mcp.catalogue().await);
        Ok(catalogue)
    }
}

#[async_trait]
impl Grants for Capabilities {
    async fn grant(&self, tenant: &TenantId, spec: &AgentSpec) -> Result<Driver> {
        let mut driver = Driver::new(self.models.of(spec)?, self.tools(tenant, spec).await?);
        for agent in &spec.agents {
            let own = AgentSpec::new("", agent.capabilities.clone());
            let below = Driver::new(self.models.of_subagent(spec, agent)?, self.tools(tenant, &own).await?);
            let below = Subagent::new(&agent.name, &agent.description, below)
                .with_instructions(&agent.instructions)
                .with_max_steps(agent.max_steps);
            driver = driver.with_agent(below)?;
        }
        Ok(driver)
    }
}

/// The tools of a tenant's folder, which may come to hold `quota` bytes. A worker process opens the folder itself.
pub(crate) async fn file_tools(root: &Path, quota: u64) -> Result<Vec<ToolHandle>> {
    FileRoot::open(root)?.with_quota(Quota::default().with_bytes(quota)).tools().await
}
