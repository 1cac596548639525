//! The steps of a run, read from its journal.

use axum::Json;
use axum::extract::State;
use operone_core::Error;
use operone_core::id::{AgentId, WorkId};
use operone_core::journal::{JournalEvent, Page, Seq};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::ApiResult;
use crate::extract::{Id, Params, Tenant};
use crate::parts::Parts;

/// How many events are read from the journal at once.
const EVENTS: usize = 1000;

#[derive(Deserialize)]
pub(super) struct Which {
    run: Option<WorkId>,
}

/// The steps of the latest run, or of the one that is named, in the order in which they began.
pub(super) async fn list(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
    Params(Which { run }): Params<Which>,
) -> ApiResult<Json<Value>> {
    let journal = &parts.services.journal;
    let record = journal.agent(&tenant, &agent_id).await?;
    let work = match run {
        Some(run) => Some(journal.work(&tenant, &run).await?),
        None => record.run,
    };
    let Some(work) = work.filter(|work| work.new.agent.as_ref() == Some(&agent_id)) else {
        return Err(Error::not_found("this agent has no such run").into());
    };
    let mut steps: Vec<Map<String, Value>> = Vec::new();
    let mut after: Seq = 0;
    loop {
        let events = journal.events(&work.new.id, after, Page::of(EVENTS)).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        events.iter().for_each(|event| add(&mut steps, event));
    }
    Ok(Json(json!({"agent_id": agent_id, "run_id": work.new.id, "steps": steps})))
}

/// Brings what an event says of a step to what is known of it.
fn add(steps: &mut Vec<Map<String, Value>>, event: &JournalEvent) {
    let Some(said) = event.event.payload.as_object() else { return };
    if event.event.kind == "end" {
        // The run was given up without its worker, which would have closed them.
        for step in steps.iter_mut().filter(|step| !step.contains_key("duration_ms")) {
            step.insert("status".into(), json!("interrupted"));
        }
        return;
    }
    let known = steps.iter_mut().rev().find(|step| step.get("step_id") == said.get("step_id"));
    match (event.event.kind.as_str(), known) {
        ("step_start", _) => {
            let mut step = said.clone();
            step.insert("started_at".into(), json!(event.time));
            step.insert("status".into(), json!("running"));
            steps.push(step);
        }
        ("tool_call" | "step_end", Some(step)) => {
            step.extend(said.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        ("approval_required", Some(step)) => {
            step.insert("status".into(), json!("waiting_approval"));
        }
        ("approval_decided", Some(step)) => {
            step.insert("status".into(), json!("running"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use operone_core::clock::Timestamp;
    use operone_core::journal::NewEvent;

    use super::*;

    #[test]
    fn a_step_tells_where_it_stands() {
        let mut steps = Vec::new();
        let mut said = |kind: &str, payload: Value| {
            let event = JournalEvent::new(1, Timestamp::from_millis(1), NewEvent::new(kind, payload));
            add(&mut steps, &event);
            steps.last().and_then(|step: &Map<String, Value>| step.get("status").cloned())
        };
        assert_eq!(said("step_start", json!({"step_id": 1})), Some(json!("running")));
        assert_eq!(said("approval_required", json!({"step_id": 1})), Some(json!("waiting_approval")));
        assert_eq!(said("approval_decided", json!({"step_id": 1})), Some(json!("running")));
        let ended = json!({"step_id": 1, "status": "ok", "duration_ms": 2});
        assert_eq!(said("step_end", ended), Some(json!("ok")));
        assert_eq!(said("step_start", json!({"step_id": 2})), Some(json!("running")));
        assert_eq!(said("end", json!({"status": "failed"})), Some(json!("interrupted")));
        assert_eq!(steps[0]["status"], "ok");
    }
}
