//! What clients were told: every acknowledged run, and every event of it as it came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::http::{Event, follow, request};
use super::random::Random;
use super::server::Server;

/// How long a client waits before it asks again.
const AGAIN: Duration = Duration::from_millis(20);

/// A run that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) agent_id: String,
    /// The tag and the tools to call, one a turn.
    pub(crate) plan: String,
    pub(crate) events: Vec<Event>,
    pub(crate) ended: bool,
    /// When a client was told that the run is cancelled.
    pub(crate) cancelled: Option<SystemTime>,
    /// The longest time between two events.
    pub(crate) silence: Duration,
    last: Instant,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: Mutex<BTreeMap<String, Run>>,
    /// How often a person was asked whether a call of unknown outcome may run again.
    pub(crate) asked: Mutex<u64>,
}

impl Ledger {
    pub(crate) fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self) -> usize {
        self.runs().values().filter(|run| !run.ended).count()
    }
}

/// Creates an agent and starts it, until both are acknowledged; then follows the run to its end. One in eight is
/// cancelled on the way.
pub(crate) fn live_one(
    server: &Arc<Server>,
    ledger: &Arc<Ledger>,
    random: &Random,
    tag: u64,
    confined: bool,
) {
    let tools = ["look", "put", "fire"];
    let calls = 2 + random.below(5);
    let words: Vec<&str> = (0..calls).map(|_| tools[random.below(3) as usize]).collect();
    let plan = format!("run-{tag} {}", words.join(" "));
    let mut body = json!({
        "goal": plan, "capabilities": ["ai", "mcp:witness"], "approval": {"tainted": false}
    });
    if confined {
        body["resources"] = json!({"ram": "512MB"});
    }
    let agent_id = acknowledged(server, "/agents", &format!("agent-{tag}"), &body, "agent_id");
    let start = format!("/agents/{agent_id}/start");
    let run_id = acknowledged(server, &start, &format!("start-{tag}"), &json!({}), "run_id");
    let silence = Duration::ZERO;
    let cancel = format!("/agents/{agent_id}/cancel");
    let events = Vec::new();
    let run = Run { agent_id, plan, events, ended: false, cancelled: None, silence, last: Instant::now() };
    ledger.runs().insert(run_id.clone(), run);
    if random.below(8) == 0 {
        let (server, ledger, run_id) = (Arc::clone(server), Arc::clone(ledger), run_id.clone());
        let pause = Duration::from_millis(random.below(400));
        std::thread::spawn(move || {
            std::thread::sleep(pause);
            acknowledged(&server, &cancel, &format!("cancel-{tag}"), &json!({}), "status");
            let told = SystemTime::now();
            if let Some(run) = ledger.runs().get_mut(&run_id) {
                run.cancelled = Some(told);
            }
        });
    }
    let (server, ledger) = (Arc::clone(server), Arc::clone(ledger));
    std::thread::spawn(move || read(&server, &ledger, &run_id));
}

/// Posts until an answer has come; gives one of its values.
fn acknowledged(server: &Server, path: &str, key: &str, body: &Value, value: &str) -> String {
    loop {
        if let Ok((200..=202, answer)) = request(&server.address, "POST", path, Some(key), Some(body))
            && let Some(value) = answer[value].as_str()
        {
            return value.to_owned();
        }
        std::thread::sleep(AGAIN);
    }
}

/// Reads a run's events to its end, coming back behind the last one whenever the stream is cut.
fn read(server: &Server, ledger: &Ledger, run_id: &str) {
    loop {
        let (path, last) = {
            let runs = ledger.runs();
            let Some(run) = runs.get(run_id).filter(|run| !run.ended) else { return };
            let last = run.events.last().map(|event| event.id.clone());
            (format!("/agents/{}/events?run={run_id}", run.agent_id), last)
        };
        let cut = follow(&server.address, &path, last.as_deref(), |event| {
            if ["token", "snapshot"].contains(&event.name.as_str()) {
                return true;
            }
            let mut runs = ledger.runs();
            let Some(run) = runs.get_mut(run_id) else { return false };
            run.silence = run.silence.max(run.last.elapsed());
            run.last = Instant::now();
            run.ended = event.name == "end";
            run.events.push(event);
            !run.ended
        });
        if cut.is_err() {
            std::thread::sleep(AGAIN);
        }
    }
}

/// Says no to every call whose outcome is unknown.
pub(crate) fn deny_what_is_unknown(server: &Server, ledger: &Ledger) {
    let Ok((200, listed)) = request(&server.address, "GET", "/approvals", None, None) else { return };
    for approval in listed["approvals"].as_array().into_iter().flatten() {
        let Some(id) = approval["approval_id"].as_str() else { continue };
        let path = format!("/approvals/{id}");
        if let Ok((200, _)) =
            request(&server.address, "POST", &path, None, Some(&json!({"decision": "deny"})))
        {
            *ledger.asked.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }
}
