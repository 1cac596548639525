//! What a step of an agent costs beside the model and the tool: a model that answers at once, a tool that does
//! nothing, and the journal in memory or in a file. Run with `cargo bench -p operone-sqlite --bench steps`; the folder
//! is `OPERONE_BENCH_DIR`, or the system's temporary one. A run has 20 turns, each with one call: 41 steps.

use std::sync::Arc;

use async_trait::async_trait;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use operone_core::agent::{Agent, AgentHandler, AgentSpec, Driver, Grants, Live, RunServices};
use operone_core::clock::{Clock, SystemClock};
use operone_core::id::{Ids, SystemIds, TenantId, WorkId};
use operone_core::in_process::{InProcessBus, InProcessJournal};
use operone_core::journal::{Claim, Durability, Journal, NewWork, WorkKind};
use operone_core::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelInfo, ModelRequest, ModelStream, ToolCall,
    Usage,
};
use operone_core::tool::{ToolHandle, ToolSpec, Tools};
use operone_core::work::WorkHandler;
use operone_core::{Error, Result};
use operone_sqlite::SqliteJournal;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const TURNS: usize = 20;
const STEPS: u64 = 2 * TURNS as u64 + 1;

/// Calls the tool for so many turns, then answers.
#[derive(Debug)]
struct NoModel;

#[async_trait]
impl LanguageModel for NoModel {
    fn info(&self) -> ModelInfo {
        ModelInfo::rules("benchmark", "none")
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let said = |message: &&Message| matches!(message, Message::Assistant { .. });
        let turn = request.messages.iter().filter(said).count();
        let mut events = vec![Ok(ModelEvent::Text("Next.".into()))];
        if turn < TURNS {
            events.push(Ok(ModelEvent::Call(ToolCall::new(turn.to_string(), "nothing", "{}"))));
        }
        events.push(Ok(ModelEvent::Done(Finish::new(FinishReason::Stop, Usage::default()))));
        Ok(Box::pin(futures_util::stream::iter(events)))
    }
}

fn nothing() -> ToolHandle {
    ToolHandle::from_fn(ToolSpec::new("nothing", "Does nothing"), |_, _| async { Ok(json!({})) })
}

#[derive(Debug)]
struct Granted(Driver);

#[async_trait]
impl Grants for Granted {
    async fn grant(&self, _: &TenantId, _: &AgentSpec) -> Result<Driver> {
        Ok(self.0.clone())
    }
}

/// Queues a run in a journal and drives it to its end.
async fn journalled(journal: &Arc<dyn Journal>, handler: &AgentHandler) -> Result<()> {
    let id = WorkId::run(SystemIds.next());
    let mut spec = AgentSpec::new("go", Vec::new());
    spec.max_steps = 2 * TURNS as u32;
    let spec = serde_json::to_value(spec)
        .map_err(|error| Error::internal("the agent cannot be stored").with_source(error))?;
    let work = NewWork::new(id.clone(), WorkKind::AGENT, TenantId::local(), spec, SystemClock.now());
    journal.enqueue(work).await?;
    let claim = Claim::new(vec![WorkKind::AGENT], "benchmark").with_work(id);
    let claimed = journal.claim(claim).await?.ok_or_else(|| Error::internal("nothing is due"))?;
    handler.run(claimed, CancellationToken::new()).await
}

fn steps(criterion: &mut Criterion) {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return eprintln!("no runtime: {error}"),
    };
    let folder = match std::env::var_os("OPERONE_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let folder = match folder {
        Ok(folder) => folder,
        Err(error) => return eprintln!("no folder: {error}"),
    };
    let mut tools = Tools::new();
    if let Err(error) = tools.insert(nothing()) {
        return eprintln!("no tool: {error}");
    }
    let mut group = criterion.benchmark_group("a step");
    group.throughput(Throughput::Elements(STEPS)).sample_size(20);

    let agent = Agent::new(Arc::new(NoModel)).with_max_steps(2 * TURNS as u32).with_tool(nothing());
    if let Ok(agent) = agent {
        group.bench_function("embedded, no journal", |bencher| {
            bencher.iter(|| runtime.block_on(agent.run("go")).map(|end| end.status));
        });
    }
    let clock = || Arc::new(SystemClock);
    let file =
        |name: &str, durability| SqliteJournal::open_with(folder.path().join(name), clock(), durability);
    let journals: [(&str, Result<Arc<dyn Journal>>); 3] = [
        ("journal in memory", Ok(Arc::new(InProcessJournal::default()))),
        ("sqlite, process", file("process.db", Durability::Process).map(|journal| Arc::new(journal) as _)),
        ("sqlite, strict", file("strict.db", Durability::Strict).map(|journal| Arc::new(journal) as _)),
    ];
    for (name, journal) in journals {
        let journal = match journal {
            Ok(journal) => journal,
            Err(error) => return eprintln!("{name}: {error}"),
        };
        let bus = Arc::new(InProcessBus::default());
        let services = RunServices::new(Arc::clone(&journal), bus, Live::default(), clock());
        let granted = Granted(Driver::new(Arc::new(NoModel), tools.clone()));
        let handler = AgentHandler::new(services, Arc::new(granted));
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(journalled(&journal, &handler)));
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
