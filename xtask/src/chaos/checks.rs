//! What must hold when everything has come to rest: ledger, journal and witness tell the same story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::http::{Event, request};
use super::ledger::{Ledger, Run};
use super::peers::Seen;
use super::server::Server;

/// A promise, how often it was put to the test, and how often it was broken.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) claim: &'static str,
    pub(crate) tested: usize,
    pub(crate) broken: Vec<String>,
}

pub(crate) fn check(server: &Server, ledger: &Ledger, seen: &[Seen]) -> Vec<Claim> {
    let runs: BTreeMap<String, Run> = ledger.runs().clone();
    let cancelled = runs.iter().filter(|(_, run)| run.cancelled.is_some());
    let cancelled = cancelled.map(|(id, run)| (id.clone(), run.clone())).collect();
    vec![
        claim("every acknowledged run reaches an end", &runs, |run_id, run| {
            let path = format!("/agents/{}", run.agent_id);
            let status =
                request(&server.address, "GET", &path, None, None).map(|(_, agent)| agent["status"].clone());
            let ended = run.ended
                && status.as_ref().is_ok_and(|status| {
                    status == "completed" || (status == "cancelled" && run.cancelled.is_some())
                });
            (!ended).then(|| format!("{run_id}: {status:?}"))
        }),
        claim("events are numbered without a gap and without a double", &runs, |run_id, run| {
            let expected = (1..=run.events.len()).map(|seq| format!("{run_id}.{seq}"));
            (!run.events.iter().map(|event| event.id.clone()).eq(expected)).then(|| run_id.to_owned())
        }),
        claim("each step begins once and ends once, and the end comes last", &runs, |run_id, run| {
            let (begun, ended) = (steps(&run.events, "step_start"), steps(&run.events, "step_end"));
            let once = |steps: &[u64]| steps.iter().collect::<BTreeSet<_>>().len() == steps.len();
            // A run that nobody worked on is cancelled by its `end` alone, which closes what was open.
            let cancelled = run.events.last().is_some_and(|event| event.data["status"] == "cancelled");
            let whole = cancelled || begun.iter().collect::<BTreeSet<_>>() == ended.iter().collect();
            let last = run.events.iter().filter(|event| event.name == "end").count() == 1;
            (!(once(&begun) && once(&ended) && whole && last)).then(|| run_id.to_owned())
        }),
        claim("a cancelled run begins no step once that is acknowledged", &cancelled, |run_id, run| {
            let path = format!("/agents/{}/steps?run={run_id}", run.agent_id);
            let answer = request(&server.address, "GET", &path, None, None);
            let acknowledged = run.cancelled.and_then(|told| told.duration_since(UNIX_EPOCH).ok())?;
            let late = |step: &Value| {
                step["started_at"].as_u64().is_none_or(|begun| u128::from(begun) > acknowledged.as_millis())
            };
            let steps = answer.as_ref().ok().and_then(|(_, answer)| answer["steps"].as_array());
            steps.is_none_or(|steps| steps.iter().any(late)).then(|| format!("{run_id}: {answer:?}"))
        }),
        claim("every reader sees the same events", &runs, |run_id, run| {
            let mut events = Vec::new();
            let path = format!("/agents/{}/events?run={run_id}", run.agent_id);
            let _ = super::http::follow(&server.address, &path, None, |event| {
                let ended = event.name == "end";
                events.push(event);
                !ended
            });
            (events != run.events).then(|| run_id.to_owned())
        }),
        calls(&runs, "put", seen, "an effect has one key, however often it is tried", |uses, answered| {
            let keys = uses.iter().map(|seen| &seen.key).collect::<BTreeSet<_>>();
            keys.len() == 1 || (uses.is_empty() && !answered)
        }),
        calls(
            &runs,
            "fire",
            seen,
            "a `once` tool runs at most once, and once if it answered",
            |uses, answered| uses.len() <= 1 && (uses.len() == 1 || !answered),
        ),
    ]
}

/// For each cancelled run the time from the client's being told to the last use of a tool; zero where none came
/// after it. Shortest first.
pub(crate) fn effects_after_cancel(ledger: &Ledger, seen: &[Seen]) -> Vec<Duration> {
    let mut last: BTreeMap<&str, SystemTime> = BTreeMap::new();
    for seen in seen {
        let tag = seen.call.rsplit_once('-').map_or("", |(tag, _)| tag);
        let last = last.entry(tag).or_insert(seen.time);
        *last = seen.time.max(*last);
    }
    let runs = ledger.runs();
    let mut after: Vec<Duration> = runs
        .values()
        .filter_map(|run| {
            let last = last.get(run.plan.split(' ').next().unwrap_or_default());
            let after = |told| last.and_then(|last| last.duration_since(told).ok()).unwrap_or_default();
            run.cancelled.map(after)
        })
        .collect();
    after.sort_unstable();
    after
}

fn claim(
    claim: &'static str,
    runs: &BTreeMap<String, Run>,
    broken: impl Fn(&str, &Run) -> Option<String>,
) -> Claim {
    Claim { claim, tested: runs.len(), broken: runs.iter().filter_map(|(id, run)| broken(id, run)).collect() }
}

/// Holds each planned call of a tool against what the witness saw of it, and against whether the model got an answer.
fn calls(
    runs: &BTreeMap<String, Run>,
    tool: &str,
    seen: &[Seen],
    claim: &'static str,
    holds: impl Fn(&[&Seen], bool) -> bool,
) -> Claim {
    let (mut tested, mut broken) = (0, Vec::new());
    for run in runs.values() {
        let mut words = run.plan.split(' ');
        let tag = words.next().unwrap_or_default();
        for (turn, _) in words.enumerate().filter(|(_, word)| *word == tool) {
            let call = format!("{tag}-{turn}");
            let uses: Vec<&Seen> = seen.iter().filter(|seen| seen.call == call).collect();
            let result = run
                .events
                .iter()
                .find(|event| event.name == "tool_result" && event.data["call_id"] == format!("call-{turn}"));
            let answered = result.is_some_and(|result| result.data["status"] == "ok");
            tested += 1;
            if !holds(&uses, answered) {
                broken.push(format!("{call}: {uses:?}"));
            }
        }
    }
    Claim { claim, tested, broken }
}

fn steps(events: &[Event], name: &str) -> Vec<u64> {
    let of_name = events.iter().filter(|event| event.name == name);
    of_name.filter_map(|event| event.data["step_id"].as_u64()).collect()
}
