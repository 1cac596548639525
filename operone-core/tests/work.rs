//! Workers and streams over the in-process journal: leases given back, cancels heard, nothing lost between readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken promise fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use operone_core::agent::{
    AgentHandler, AgentSpec, Cursor, Driver, Grants, Live, RunEvent, RunServices, run_events,
};
use operone_core::clock::{Clock, SystemClock};
use operone_core::id::{AgentId, Ids, SystemIds, TenantId, WorkId};
use operone_core::in_process::{InProcessBus, InProcessJournal, ScriptedModel, ScriptedTurn};
use operone_core::journal::{Append, Claimed, Journal, NewAgent, NewWork, Outcome, Status, WorkKind};
use operone_core::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};
use operone_core::tool::Tools;
use operone_core::work::{Doorbell, WorkHandler, Workers};
use operone_core::{Error, ErrorKind, Result};
use serde_json::json;
use tokio_util::sync::CancellationToken;

fn kind() -> WorkKind {
    WorkKind::new("test")
}

async fn enqueue(journal: &dyn Journal) -> WorkId {
    let id = WorkId::job(SystemIds.next());
    let work = NewWork::new(id.clone(), kind(), TenantId::local(), json!({}), SystemClock.now());
    journal.enqueue(work).await.unwrap();
    id
}

async fn status(journal: &dyn Journal, id: &WorkId) -> Status {
    journal.work(&TenantId::local(), id).await.unwrap().status
}

async fn wait_for(journal: &dyn Journal, id: &WorkId, wanted: Status) {
    for _ in 0..500 {
        if status(journal, id).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{id} is {:?}, not {wanted:?}", status(journal, id).await);
}

/// What a handler of the tests does.
#[derive(Debug)]
enum Behaviour {
    Finish,
    WaitForCancel,
    Hang,
    Fail(ErrorKind),
    Panic,
}

#[derive(Debug)]
struct TestHandler {
    journal: Arc<dyn Journal>,
    behaviour: Behaviour,
    begun: AtomicUsize,
}

#[async_trait]
impl WorkHandler for TestHandler {
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let outcome = match self.behaviour {
            Behaviour::Finish => Outcome::completed(json!(null)),
            Behaviour::WaitForCancel => {
                cancelled.cancelled().await;
                Outcome::new(Status::Cancelled)
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Fail(kind) => return Err(Error::new(kind, "it does not work").with_code("no_luck")),
            Behaviour::Panic => panic!("a fault of the handler"),
        };
        self.journal.finish(&claimed.lease, Append::default(), outcome).await.map(drop)
    }
}

struct Running {
    journal: Arc<dyn Journal>,
    workers: Workers,
    doorbell: Doorbell,
    handler: Arc<TestHandler>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(behaviour: Behaviour) -> Running {
    let journal: Arc<dyn Journal> = Arc::new(InProcessJournal::default());
    let handler = TestHandler { journal: Arc::clone(&journal), behaviour, begun: AtomicUsize::new(0) };
    let (handler, doorbell, stop) = (Arc::new(handler), Doorbell::default(), CancellationToken::new());
    let workers = Workers::new(Arc::clone(&journal), doorbell.clone(), "test")
        .with_handler(kind(), Arc::clone(&handler) as _, 2)
        .with_lease_for(Duration::from_secs(1));
    let task = tokio::spawn({
        let (workers, stop) = (workers.clone(), stop.clone());
        async move { workers.run(stop).await }
    });
    Running { journal, workers, doorbell, handler, stop, task }
}

#[tokio::test]
async fn queued_work_is_run_at_the_ring_of_the_bell() {
    let running = start(Behaviour::Finish);
    for _ in 0..5 {
        let id = enqueue(running.journal.as_ref()).await;
        running.doorbell.ring();
        wait_for(running.journal.as_ref(), &id, Status::Completed).await;
    }
}

#[tokio::test]
async fn a_lease_is_kept_for_as_long_as_the_work_takes() {
    let running = start(Behaviour::Hang);
    let id = enqueue(running.journal.as_ref()).await;
    running.doorbell.ring();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(status(running.journal.as_ref(), &id).await, Status::Running);
    assert_eq!(running.handler.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn stopping_gives_the_lease_back_with_its_attempt() {
    let running = start(Behaviour::Hang);
    let id = enqueue(running.journal.as_ref()).await;
    running.doorbell.ring();
    wait_for(running.journal.as_ref(), &id, Status::Running).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let work = running.journal.work(&TenantId::local(), &id).await.unwrap();
    assert_eq!((work.status, work.attempts), (Status::Queued, 0));
}

#[tokio::test]
async fn a_cancel_is_heard_at_once_here_and_with_the_next_renewal_elsewhere() {
    for here in [true, false] {
        let running = start(Behaviour::WaitForCancel);
        let id = enqueue(running.journal.as_ref()).await;
        running.doorbell.ring();
        wait_for(running.journal.as_ref(), &id, Status::Running).await;
        running.journal.cancel(&TenantId::local(), &id).await.unwrap();
        if here {
            running.workers.cancel(&id);
        }
        wait_for(running.journal.as_ref(), &id, Status::Cancelled).await;
    }
}

#[tokio::test]
async fn an_error_ends_the_work_unless_it_may_pass() {
    let running = start(Behaviour::Fail(ErrorKind::Invalid));
    let id = enqueue(running.journal.as_ref()).await;
    running.doorbell.ring();
    wait_for(running.journal.as_ref(), &id, Status::Failed).await;
    let work = running.journal.work(&TenantId::local(), &id).await.unwrap();
    assert_eq!(work.outcome.unwrap().error.unwrap().code, "no_luck");

    let running = start(Behaviour::Fail(ErrorKind::Unavailable));
    let id = enqueue(running.journal.as_ref()).await;
    running.doorbell.ring();
    wait_for(running.journal.as_ref(), &id, Status::Running).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    running.doorbell.ring();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(running.handler.begun.load(Ordering::SeqCst) >= 2, "it was not tried again");
}

#[tokio::test]
async fn a_handler_that_panics_takes_nobody_with_it() {
    let running = start(Behaviour::Panic);
    for _ in 0..3 {
        enqueue(running.journal.as_ref()).await;
        running.doorbell.ring();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(running.handler.begun.load(Ordering::SeqCst) >= 3);
    assert!(!running.task.is_finished());
}

#[derive(Debug)]
struct OneModel(Arc<dyn LanguageModel>);

#[async_trait]
impl Grants for OneModel {
    async fn grant(&self, _: &TenantId, _: &AgentSpec) -> Result<Driver> {
        Ok(Driver::new(Arc::clone(&self.0), Tools::new()))
    }
}

/// A model that takes a moment before its first word.
#[derive(Debug)]
struct Slow(ScriptedModel);

#[async_trait]
impl LanguageModel for Slow {
    fn info(&self) -> ModelInfo {
        self.0.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.0.stream(request).await
    }
}

/// Readers that come before, during and after a run, and from each place, see the same durable events, and those
/// that were there see each piece of text once.
#[tokio::test]
async fn every_reader_of_a_run_sees_the_same() {
    let journal: Arc<dyn Journal> = Arc::new(InProcessJournal::default());
    let live = Live::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus = Arc::new(InProcessBus::default());
    let services = RunServices::new(Arc::clone(&journal), bus, live.clone(), clock);
    let pieces: Vec<String> = (0..50).map(|number| format!(" word{number}")).collect();
    let turn = ScriptedTurn::text(pieces.clone()).with_pause(Duration::from_millis(2));
    let model = Arc::new(Slow(ScriptedModel::new(vec![turn])));
    let handler = AgentHandler::new(services, Arc::new(OneModel(model)));
    let doorbell = Doorbell::default();
    let workers = Workers::new(Arc::clone(&journal), doorbell.clone(), "test").with_handler(
        WorkKind::AGENT,
        Arc::new(handler),
        4,
    );
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { workers.run(stop).await }
    });

    let spec = serde_json::to_value(AgentSpec::new("go", vec![])).unwrap();
    let (agent, run) = (AgentId::from_uuid(SystemIds.next()), WorkId::run(SystemIds.next()));
    let now = SystemClock.now();
    let created = NewAgent::new(agent.clone(), TenantId::local(), spec.clone(), now);
    journal.create_agents(vec![created]).await.unwrap();
    let work = NewWork::new(run.clone(), WorkKind::AGENT, TenantId::local(), spec, now).with_agent(agent);
    journal.enqueue(work).await.unwrap();

    let read = |cursor: Cursor| {
        let events = run_events(Arc::clone(&journal), &live, run.clone(), cursor);
        tokio::spawn(events.map(Result::unwrap).collect::<Vec<RunEvent>>())
    };
    let early = read(Cursor::default());
    doorbell.ring();
    tokio::time::sleep(Duration::from_millis(90)).await;
    let late = read(Cursor::default());
    let (early, late) = (early.await.unwrap(), late.await.unwrap());

    let durable = |events: &[RunEvent]| -> Vec<RunEvent> {
        events.iter().filter(|event| matches!(event, RunEvent::Durable(_))).cloned().collect()
    };
    let text = |events: &[RunEvent]| -> String {
        events.iter().fold(String::new(), |text, event| match event {
            RunEvent::Token { content, .. } => text + content,
            RunEvent::Snapshot { text, .. } => text.clone(),
            _ => text,
        })
    };
    let all = durable(&early);
    let names: Vec<&str> = all
        .iter()
        .map(|event| match event {
            RunEvent::Durable(event) => event.event.kind.as_str(),
            _ => "",
        })
        .collect();
    assert_eq!(names, ["step_start", "step_end", "end"]);
    assert_eq!((text(&early), text(&late)), (pieces.concat(), pieces.concat()));
    assert_eq!(durable(&late), all);
    for seq in 0..3 {
        let rest = read(Cursor::after(seq)).await.unwrap();
        assert_eq!(rest, all[usize::try_from(seq).unwrap()..]);
    }
    stop.cancel();
    task.await.unwrap();
}
