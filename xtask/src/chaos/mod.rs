//! Kills the server and its worker processes in the middle of runs, and holds what clients were told against what is
//! there: `cargo xtask chaos [--server-kills N] [--worker-kills N] [--seed S] [--server PATH]`.

mod checks;
mod http;
mod ledger;
mod peers;
mod random;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use checks::Claim;
use ledger::Ledger;
use peers::Witness;
use random::Random;
use server::Server;

/// The runs that are open at the same time.
const OPEN: usize = 6;
/// How long everything may take to come to rest after the last kill.
const REST: Duration = Duration::from_secs(180);

/// How much to kill.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) server_kills: u64,
    pub(crate) worker_kills: u64,
    pub(crate) seed: u64,
    pub(crate) server: Option<PathBuf>,
}

impl Options {
    /// Reads `--name value` pairs over the full number of kills and a seed of the moment.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |now| now.as_secs());
        let mut options = Self { server_kills: 200, worker_kills: 300, seed, server: None };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair.join(" "))) };
            let number = || value.parse::<u64>().map_err(|_| format!("{name} takes a number, not {value}"));
            match *name {
                "--server-kills" => options.server_kills = number()?,
                "--worker-kills" => options.worker_kills = number()?,
                "--seed" => options.seed = number()?,
                "--server" => options.server = Some(PathBuf::from(value)),
                other => return Err(format!("there is no option {other}")),
            }
        }
        Ok(options)
    }
}

/// Runs the harness with a server program; prints a table, and fails if a promise was broken.
pub(crate) fn run(options: &Options, program: PathBuf) -> Result<(), String> {
    let Options { server_kills, worker_kills, seed, server } = options;
    let program = server.clone().unwrap_or(program);
    println!("chaos: seed {seed}, {server_kills} kills of the server, {worker_kills} of workers");
    let random = Arc::new(Random::new(*seed));
    let folder = std::env::temp_dir().join(format!("operone-chaos-{seed}-{}", std::process::id()));
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let witnessed = std::fs::File::create(folder.join("witness.log")).map_err(failed)?;
    let witness = Witness::start(witnessed, Arc::clone(&random)).map_err(failed)?;
    let model_url = peers::model(Arc::clone(&random)).map_err(failed)?;
    let server = Arc::new(Server::start(&program, &folder.join("data"), &model_url, &witness.url)?);
    let ledger = Arc::new(Ledger::default());

    let begun = Instant::now();
    let mut restarts = Vec::new();
    with_runs(&server, &ledger, &random, 0, || {
        for _ in 0..*server_kills {
            std::thread::sleep(Duration::from_millis(300 + random.below(1_000)));
            let killed = Instant::now();
            let ready = server.kill_and_restart()?;
            restarts.push(ready.duration_since(killed));
        }
        Ok(())
    })?;
    with_runs(&server, &ledger, &random, 1_000_000, || {
        let mut left = *worker_kills;
        let give_up = Instant::now() + Duration::from_secs(60 + 10 * *worker_kills);
        while left > 0 {
            if Instant::now() > give_up {
                return Err(format!("{left} workers were left to kill"));
            }
            // Chosen by place, so that the last one of a few is not killed again and again until it counts as a crash
            // loop.
            std::thread::sleep(Duration::from_millis(40 + random.below(300)));
            let workers = server.workers();
            if let Some(worker) = workers.get(random.below(OPEN as u64) as usize) {
                server::kill(*worker);
                left -= 1;
            }
        }
        Ok(())
    })?;

    let claims = checks::check(&server, &ledger, &witness.seen());
    report(&claims, &ledger, &restarts, begun.elapsed());
    let after_cancel = checks::effects_after_cancel(&ledger, &witness.seen());
    if let Some(late) = after_cancel.get(after_cancel.len() * 99 / 100) {
        println!("from a cancel to the last use of a tool: {} ms in 99 of 100 runs", late.as_millis());
    }
    let broken = claims.iter().any(|claim| !claim.broken.is_empty());
    if broken {
        return Err(format!("a promise was broken; the seed is {seed}, the folder {}", folder.display()));
    }
    std::fs::remove_dir_all(&folder).map_err(failed)
}

/// Keeps runs open while `trouble` lasts, then waits until all have ended. In the second half of all, by tag, every run
/// is in a process of its own; before that one in three.
fn with_runs(
    server: &Arc<Server>,
    ledger: &Arc<Ledger>,
    random: &Arc<Random>,
    first_tag: u64,
    trouble: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let (over, tags) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(first_tag)));
    let keeper = {
        let (server, ledger, random) = (Arc::clone(server), Arc::clone(ledger), Arc::clone(random));
        let (over, tags) = (Arc::clone(&over), Arc::clone(&tags));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) || ledger.open() > 0 {
                if !over.load(Ordering::SeqCst) && ledger.open() < OPEN {
                    let tag = tags.fetch_add(1, Ordering::SeqCst);
                    let confined = first_tag > 0 || random.below(3) == 0;
                    ledger::live_one(&server, &ledger, &random, tag, confined);
                }
                ledger::deny_what_is_unknown(&server, &ledger);
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let result = trouble();
    over.store(true, Ordering::SeqCst);
    let give_up = Instant::now() + REST;
    while !keeper.is_finished() {
        if Instant::now() > give_up {
            let open: Vec<String> =
                ledger.runs().iter().filter(|(_, run)| !run.ended).map(|(id, _)| id.clone()).collect();
            return Err(format!("these runs never end: {}", open.join(", ")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    result
}

fn report(claims: &[Claim], ledger: &Ledger, restarts: &[Duration], took: Duration) {
    println!("| claim | tested | broken |\n| --- | --- | --- |");
    for claim in claims {
        println!("| {} | {} | {} |", claim.claim, claim.tested, claim.broken.len());
        claim.broken.iter().take(5).for_each(|broken| println!("  {broken}"));
    }
    let runs = ledger.runs();
    let steps: usize =
        runs.values().map(|run| run.events.iter().filter(|event| event.name == "step_end").count()).sum();
    let silence = runs.values().map(|run| run.silence).max().unwrap_or_default();
    let asked = *ledger.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{} runs, {steps} steps, {asked} calls of unknown outcome, in {} s", runs.len(), took.as_secs());
    println!("the longest a run was silent: {} ms", silence.as_millis());
    if let Some(longest) = restarts.iter().max() {
        println!("the longest from a kill of the server to its ready line: {} ms", longest.as_millis());
    }
}
