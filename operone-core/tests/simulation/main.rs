//! A seeded simulation: runs of agents over processes that crash and stall, a journal that does not answer, wakes that
//! are lost and doubled, a clock that is set, and people who decide, cancel and leave. Whatever happens, the
//! invariants of `checks.rs` hold.
//!
//! `OPERONE_SEEDS` says how many seeds to try, `OPERONE_SEED` repeats one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken invariant fails the test"
)]

mod checks;
mod host;
mod journal;
mod people;
mod random;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use operone_core::agent::{AgentHandler, AgentSpec, ApprovalPolicy, Live, RunServices};
use operone_core::clock::Clock;
use operone_core::id::{AgentId, TenantId, WorkId};
use operone_core::in_process::InProcessBus;
use operone_core::journal::{Journal, NewAgent, NewWork, WorkKind};
use operone_core::work::{Doorbell, Workers};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use host::Host;
use journal::FaultyJournal;
use world::{LEASE, Process, World};

/// How many seeds are tried where nobody says how many: all that CI promises, or fewer on a desk.
const SEEDS: [u64; 2] = [20_000, 1_000];
/// The processes that work at the same time.
const PROCESSES: usize = 2;
/// How long things go wrong in a world, at most.
const TROUBLE: u64 = 120;
/// How long a world may take to come to rest once nothing goes wrong any more.
const REST: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn the_invariants_hold_for_every_seed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    if let Some(seed) = number("OPERONE_SEED") {
        return simulate(seed);
    }
    let default = SEEDS[usize::from(std::env::var_os("CI").is_none())];
    let seeds = number("OPERONE_SEEDS").unwrap_or(default);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
                        next.store(seeds, Ordering::Relaxed);
                        eprintln!("the seed is {seed}: repeat it with OPERONE_SEED={seed}");
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}

/// What a seed does, it does again: a failure can be repeated.
#[test]
fn a_seed_repeats_itself() {
    for seed in 0..20 {
        assert_eq!(story(seed), story(seed), "seed {seed}");
    }
}

fn simulate(seed: u64) {
    story(seed);
}

/// Runs a world to its rest, checks it, and tells what happened.
fn story(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed);
        let runs = begin(&world).await;
        let bells: Vec<Doorbell> = (0..PROCESSES).map(|_| Doorbell::default()).collect();
        let lives: Vec<Live> = (0..PROCESSES).map(|_| Live::default()).collect();
        let mut tasks = JoinSet::new();
        for (bell, live) in bells.iter().zip(&lives) {
            tasks.spawn(keep_running(Arc::clone(&world), bell.clone(), live.clone()));
        }
        tasks.spawn(people::ring(Arc::clone(&world), bells.clone()));
        tasks.spawn(people::decide(Arc::clone(&world)));
        tasks.spawn(people::cancel(Arc::clone(&world), runs.clone()));
        tasks.spawn(people::set_the_clock(Arc::clone(&world)));
        let mut readers = JoinSet::new();
        for run in &runs {
            let live = world.random.pick(&lives).clone();
            readers.spawn(people::read(Arc::clone(&world), live, run.clone()));
        }
        tokio::time::sleep(Duration::from_secs(world.random.below(TROUBLE))).await;
        world.faulty.store(false, Ordering::SeqCst);
        let rest = tokio::time::timeout(REST, readers.join_all()).await;
        let read = rest.unwrap_or_else(|_| panic!("a run never ends"));
        drop(tasks);
        checks::check(&world, &runs, read.into_iter().collect()).await
    })
}

/// Creates the agents and queues their runs, some behind others.
async fn begin(world: &World) -> Vec<WorkId> {
    let tenant = TenantId::local();
    let agents = 1 + world.random.below(3);
    let mut runs = Vec::new();
    for agent in 0..agents {
        let id = AgentId::from_uuid(Uuid::from_u128(u128::from(agent)));
        let mut spec = AgentSpec::new(host::plan(&world.random, 1), Vec::new());
        spec.approval = match world.random.below(3) {
            0 => ApprovalPolicy::never().with_tool("send"),
            _ => ApprovalPolicy::default(),
        };
        spec.approval = spec.approval.with_expires_in(Duration::from_secs(20 + world.random.below(100)));
        let spec = serde_json::to_value(spec).unwrap();
        let now = world.clock.now();
        world
            .journal
            .create_agents(vec![NewAgent::new(id.clone(), tenant.clone(), spec.clone(), now)])
            .await
            .unwrap();
        for run in 0..=world.random.below(2) {
            let run = WorkId::run(Uuid::from_u128(u128::from(1000 * (agent + 1) + run)));
            let work = NewWork::new(run.clone(), WorkKind::AGENT, tenant.clone(), spec.clone(), now);
            world.journal.enqueue(work.with_agent(id.clone()).behind_others()).await.unwrap();
            runs.push(run);
        }
    }
    runs
}

/// A process that is started again whenever it has crashed.
async fn keep_running(world: Arc<World>, bell: Doorbell, live: Live) {
    loop {
        let process = Process::new(&world);
        let journal: Arc<dyn Journal> = Arc::new(FaultyJournal(Arc::clone(&process)));
        let services = RunServices::new(
            Arc::clone(&journal),
            Arc::new(InProcessBus::default()),
            live.clone(),
            Arc::clone(&world.clock) as _,
        );
        let handler = AgentHandler::new(services, Arc::new(Host(Arc::clone(&process))));
        let workers = Workers::new(journal, bell.clone(), "process")
            .with_handler(WorkKind::AGENT, Arc::new(handler), 4)
            .with_lease_for(LEASE);
        tokio::select! {
            biased;
            () = process.crashed.cancelled() => {}
            () = workers.run(CancellationToken::new()) => {}
        }
        tokio::time::sleep(Duration::from_millis(world.random.below(5_000))).await;
    }
}
