//! Worker processes, for the server's own side.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use operone_core::Error;
use operone_core::agent::AgentSpec;
use operone_core::cache::ContentHash;
use operone_core::id::{AgentId, WorkId};
use operone_core::journal::{Claim, Status, WorkKind};

use super::runs::enqueue;
use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Tenant};
use crate::parts::Parts;
use crate::wire::agents::{StartWorker, StartedWorker};

/// How long a worker stays after its run: whoever asked for the process may look for it, also after a short run.
const LINGER: Duration = Duration::from_secs(3);

/// Starts a process that takes the agent's run; an agent without an open run gets a new one.
pub(super) async fn start_worker(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(body): Body<StartWorker>,
) -> ApiResult<(StatusCode, Json<StartedWorker>)> {
    if body.kind != "agent_runtime" {
        let detail = format!("there is no worker of type '{}'; there is: agent_runtime", body.kind);
        return Err(ApiError::invalid(vec![FieldError::new("/type", detail)]));
    }
    let agent_id =
        AgentId::new(body.payload.agent_id).map_err(|error| ApiError::at("/payload/agent_id", &error))?;
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let work = match record.run {
        Some(run) if run.status == Status::Queued => run,
        _ => enqueue(&parts, &tenant, agent_id, WorkId::run(parts.ids.next())).await?,
    };
    let run_id = work.new.id;
    let worker_id = format!("worker-{}", parts.ids.next());
    let claim = Claim::new(vec![WorkKind::AGENT], worker_id.as_str())
        .with_work(run_id.clone())
        .with_lease_for(parts.lease);
    let Some(claimed) = parts.services.journal.claim(claim).await? else {
        return Err(Error::conflict("a worker has this run already").with_code("already_running").into());
    };
    let spec = AgentSpec::from_stored(&claimed.work.new.spec)?;
    let launched = {
        // A child belongs to the runtime that reaps it.
        let _background = parts.background.runtime.enter();
        parts.processes.launch(&spec, LINGER)
    };
    let ready = async {
        let launched = launched?;
        launched.ready().await?;
        let pid = launched.pid().ok_or_else(|| Error::internal("the worker process died at once"))?;
        Ok::<_, Error>((launched, pid))
    };
    let (launched, pid) = match ready.await {
        Ok(ready) => ready,
        Err(error) => {
            parts.services.journal.release(&claimed.lease, None).await?;
            return Err(error.into());
        }
    };
    let handler = parts.processes.handler(launched);
    let (workers, stop) = (parts.workers.clone(), parts.stop());
    parts.background.spawn(async move { workers.run_claimed(claimed, &handler, stop).await });
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let body = StartedWorker { worker_pid: pid, worker_id, host, run_id: run_id.to_string() };
    Ok((StatusCode::CREATED, Json(body)))
}

/// The token that internal requests carry, by its hash: comparing hashes tells nothing about the token.
#[derive(Clone, Debug)]
pub(super) struct Token(ContentHash);

impl Token {
    pub(super) fn new(token: String) -> Self {
        Self(ContentHash::of(token))
    }
}

pub(super) async fn authorize(State(token): State<Token>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(ContentHash::of);
    if given == Some(token.0) {
        return next.run(request).await;
    }
    let detail = "internal routes ask for the internal token: Authorization: Bearer …";
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response()
}
