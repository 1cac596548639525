//! Chooses the backends: the one place that maps the configuration to types.

use std::sync::Arc;

use operone_core::agent::{AgentHandler, Live, RunServices};
use operone_core::chunk::ChunkStore;
use operone_core::clock::{Clock, SystemClock};
use operone_core::egress::EgressPolicy;
use operone_core::error::{Error, ErrorKind, Result};
use operone_core::event::EventBus;
use operone_core::id::{Ids, SystemIds};
use operone_core::in_process::InProcessBus;
use operone_core::journal::{Journal, WorkKind};
use operone_core::memory::{MemoryStore, RecallMode};
use operone_core::retrieve::Retriever;
use operone_core::work::{Doorbell, Workers};
use operone_files::FileSource;
use operone_memory::Memory;
use operone_rag::HybridRetriever;
use operone_rag::ingest::{IngestHandler, Ingestor, ReembedHandler};
use operone_sqlite::{DataFolder, SqliteChunkStore, SqliteEmbeddingCache, SqliteJournal, SqliteMemoryStore};
use operone_web::{WebClient, WebSource};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::capabilities::Capabilities;
use crate::config::Config;
use crate::databases;
use crate::embedder::{Embedders, embedders};
use crate::guard::AllowedHosts;
use crate::info::Info;
use crate::limits;
use crate::mcp::{self, McpServers};
use crate::models::ServerModels;
use crate::parse::ProcessParser;
use crate::parts::{Background, Parts, Shared};
use crate::process::{Processes, RunHandler, Sandbox};

/// How many runs of agents are worked on at once; they mostly wait for a model.
const AGENTS_AT_ONCE: usize = 64;
/// How many jobs are worked on at once; they mostly compute.
const JOBS_AT_ONCE: usize = 2;

/// Opens the data folder and puts the parts together; background work goes to `background`.
pub async fn assemble(config: &Config, background: Handle) -> Result<Parts> {
    let Embedders { passages: embedder, queries } = embedders(config).await?;
    let folder = Arc::new(DataFolder::lock(&config.data)?);
    let data = folder.path().to_path_buf();
    let workspace = absolute(&config.workspace)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids: Arc<dyn Ids> = Arc::new(SystemIds);

    let journal = SqliteJournal::open_with(data.join("journal.db"), Arc::clone(&clock), config.durability)?;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let memories: Arc<dyn MemoryStore> = Arc::new(SqliteMemoryStore::open(data.join("memory.db"))?);
    let chunks: Arc<dyn ChunkStore> = Arc::new(SqliteChunkStore::open(data.join("chunks.db"))?);
    let cache = Arc::new(SqliteEmbeddingCache::open(data.join("cache.db"))?);
    let bus: Arc<dyn EventBus> = Arc::new(InProcessBus::default());
    let services =
        RunServices::new(Arc::clone(&journal), Arc::clone(&bus), Live::default(), Arc::clone(&clock));

    let models = ServerModels::new(config)?;
    let retriever: Arc<dyn Retriever> =
        Arc::new(HybridRetriever::new(Arc::clone(&chunks), queries, Arc::clone(&cache) as _));
    let memory = Memory::new(memories, Arc::clone(&clock), Arc::clone(&ids))
        .with_embedder(Arc::clone(&embedder))
        .with_default_mode(RecallMode::Lexical);
    let memory = Arc::new(memory);
    let files = match &config.files_roots {
        None => FileSource::any_readable(),
        Some(roots) => FileSource::below(roots),
    };
    let policy =
        config.allow_egress.iter().fold(EgressPolicy::public(), |policy, network| policy.allowing(*network));
    let web = WebClient::new(policy)?;
    let parser = ProcessParser::new(config.program.clone());
    let ingestor = Ingestor::new(Arc::clone(&chunks), Arc::clone(&embedder), cache, Arc::new(parser))
        .with_source(Arc::new(files))
        .with_source(Arc::new(WebSource::new(web.clone())));

    let sandbox = Sandbox::prepare(&config.program).await;
    let info = Info {
        sandbox: sandbox.probe().clone(),
        model: models.default().info(),
        embedder: json!({
            "id": embedder.info().id,
            "dimension": embedder.info().dimension,
            "window": embedder.info().window,
            "tokenizer": embedder.tokenizer().id(),
        }),
        data,
        mcp: mcp::shown(&config.mcp_servers),
    };
    let opened = databases::open(&config.databases).await?;
    for database in &opened {
        if let Some(reason) = &database.away {
            tracing::warn!(database = database.name, reason, "the database does not answer yet");
        }
    }
    let capabilities = Arc::new(
        Capabilities::new(models, Arc::clone(&retriever), Arc::clone(&memory) as _, web, workspace)
            .with_workspace_quota(config.workspace_quota)
            .with_databases(databases::by_name(opened))
            .with_mcp_servers(McpServers::new(&config.mcp_servers)?),
    );
    let processes =
        Processes::new(config.program.clone(), services.clone(), Arc::clone(&capabilities), sandbox);
    let in_process = AgentHandler::new(services.clone(), Arc::clone(&capabilities) as _);
    let runs = RunHandler::new(in_process, processes.clone());
    let jobs = IngestHandler::new(ingestor.clone(), Arc::clone(&journal), Arc::clone(&bus));
    let reembed = ReembedHandler::new(ingestor.clone(), Arc::clone(&journal), bus);
    let doorbell = Doorbell::default();
    let workers = Workers::new(journal, doorbell.clone(), format!("server-{}", ids.next()))
        .with_lease_for(config.lease)
        .with_handler(WorkKind::AGENT, Arc::new(runs), AGENTS_AT_ONCE)
        .with_handler(WorkKind::INGEST, Arc::new(jobs), JOBS_AT_ONCE)
        .with_handler(WorkKind::REEMBED, Arc::new(reembed), 1);

    Ok(Parts::new(Shared {
        services,
        ids,
        workers,
        lease: config.lease,
        doorbell,
        capabilities,
        processes,
        retriever,
        embedder,
        chunks,
        ingestor,
        memory,
        info: Arc::new(info),
        uploads: Arc::new(Semaphore::new(limits::UPLOADS_AT_ONCE)),
        allowed_hosts: allowed_hosts(config),
        background: Background::new(background),
        _folder: folder,
    }))
}

fn allowed_hosts(config: &Config) -> AllowedHosts {
    if !config.listen.ip().is_loopback() {
        return AllowedHosts::any();
    }
    let host = config.api_url.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        authority.rsplit_once(':').map_or(authority, |(host, _)| host)
    });
    AllowedHosts::local(host)
}

fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "the workspace's folder cannot be named").with_source(error)
    })
}
