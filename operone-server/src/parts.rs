//! What the routes need, put together by the host or by the server's own configuration.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use operone_core::agent::RunServices;
use operone_core::chunk::{ChunkStore, Collection, Level, LexicalQuery};
use operone_core::embed::Embedder;
use operone_core::id::{Ids, TenantId};
use operone_core::retrieve::Retriever;
use operone_core::work::{Doorbell, Workers};
use operone_memory::{Memory, Purge};
use operone_rag::ingest::Ingestor;
use operone_sqlite::DataFolder;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capabilities::Capabilities;
use crate::guard::AllowedHosts;
use crate::info::Info;
use crate::process::Processes;

/// What the routes need. Clones share everything, and cost next to nothing: each request takes several.
#[derive(Clone, Debug)]
pub struct Parts(Arc<Shared>);

impl Deref for Parts {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The parts themselves.
#[derive(Debug)]
pub struct Shared {
    pub(crate) services: RunServices,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) workers: Workers,
    pub(crate) lease: Duration,
    pub(crate) doorbell: Doorbell,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) processes: Processes,
    pub(crate) retriever: Arc<dyn Retriever>,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) chunks: Arc<dyn ChunkStore>,
    pub(crate) ingestor: Ingestor,
    pub(crate) memory: Arc<Memory>,
    pub(crate) info: Arc<Info>,
    /// Lets as many uploads be worked on at once as it has permits.
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) allowed_hosts: AllowedHosts,
    pub(crate) background: Background,
    /// Keeps other processes out of the data folder for as long as anything here lives.
    pub(crate) _folder: Arc<DataFolder>,
}

/// How often expired memories are erased.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Where work runs that no request waits for.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Background {
    /// Tasks on `runtime`, which are told to stop by [`Background::shutdown`].
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Tells the tasks to stop and waits for them.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs a task that a request waits for; it goes on when the client leaves.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.tasks.spawn_on(task, &self.runtime).await
    }

    /// Runs a task until it ends; it watches `stop` itself.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }
}

impl Parts {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Starts the background workers: they take up what an earlier life of the server left. Reads the search index
    /// of the documents meanwhile, so that the first query need not wait for it.
    pub fn start_workers(&self) {
        let (workers, stop) = (self.workers.clone(), self.background.stop.clone());
        self.background.spawn(async move { workers.run(stop).await });
        let (capabilities, stop) = (Arc::clone(&self.capabilities), self.background.stop.clone());
        self.background.spawn(async move {
            // What is wrong with a server is said in the log now, not at the first run that wants it.
            tokio::select! {
                () = stop.cancelled() => {}
                () = capabilities.mcp().connect() => {}
            }
        });
        let (mut purge, stop) = (Purge::new(Arc::clone(&self.memory)), self.background.stop.clone());
        self.background.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(PURGE_EVERY)).await.is_some() {
                match stop.run_until_cancelled(purge.run()).await {
                    Some(Ok(0)) | None => {}
                    Some(Ok(erased)) => tracing::info!(erased, "expired memories were erased"),
                    Some(Err(error)) => tracing::warn!(%error, "expired memories were not erased yet"),
                }
            }
        });
        let (chunks, present) = (Arc::clone(&self.chunks), self.embedder.info().id);
        self.background.spawn(async move {
            for found in chunks.collections(&TenantId::local()).await.unwrap_or_default() {
                let (name, stored) = (&found.name, &found.embedder);
                if *stored != present && Collection::named(TenantId::local(), name.as_str()).is_ok() {
                    tracing::warn!(
                        "the collection '{name}' was built with the embedder {stored}, the present one is {present}: \
                         it is searched by words alone until it is embedded again (operone-server reembed)"
                    );
                }
            }
            let nothing = LexicalQuery { terms: &[], level: Level::default(), filter: None, limit: 1 };
            if let Err(error) = chunks.lexical(&Collection::of(TenantId::local()), nothing).await {
                tracing::warn!(%error, "the search index was not read yet");
            }
        });
    }

    /// Stops the background workers: open steps are dropped, their leases are given back. MCP servers are stopped
    /// after them.
    pub async fn shutdown(&self) {
        self.background.shutdown().await;
        self.capabilities.mcp().close().await;
    }

    /// The token that ends streams when the server stops.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.background.stop.clone()
    }
}
