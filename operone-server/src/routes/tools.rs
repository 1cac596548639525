//! Tools: list them, and call one on behalf of an agent.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use operone_core::ErrorKind;
use operone_core::agent::AgentSpec;
use operone_core::id::AgentId;
use operone_core::tool::{ToolClass, ToolContext};
use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::extract::{Body, Tenant};
use crate::idempotency::RequestIds;
use crate::parts::Parts;
use crate::wire::ErrorView;
use crate::wire::agents::{InvokeTool, InvokedTool};

pub(super) async fn list(State(parts): State<Parts>, Tenant(tenant): Tenant) -> ApiResult<Json<Value>> {
    let mut tools = Vec::new();
    for (capability, specs) in parts.capabilities.catalogue(&tenant).await? {
        tools.extend(specs.into_iter().map(|spec| {
            json!({
                "name": spec.name,
                "description": spec.description,
                "capability": capability,
                "class": spec.class,
                "concurrent": spec.concurrent || spec.class == ToolClass::Read,
                "egress": spec.egress,
                "untrusted": spec.untrusted,
                "input_schema": spec.input_schema,
            })
        }));
    }
    Ok(Json(json!({ "tools": tools })))
}

pub(super) async fn invoke(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    ids: RequestIds,
    Body(body): Body<InvokeTool>,
) -> ApiResult<Json<InvokedTool>> {
    let agent_id = AgentId::new(body.agent_id).map_err(|error| ApiError::at("/agent_id", &error))?;
    let step = body.step_id.map(|step| step.number()).transpose()?.unwrap_or(0);
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let spec = AgentSpec::from_stored(&record.agent.spec)?;
    let tools = parts.capabilities.tools(&tenant, &spec).await?;
    let Some(tool) = tools.get(&body.tool).cloned() else {
        let detail = format!("the capabilities of this agent do not grant the tool '{}'", body.tool);
        return Err(ApiError::new(StatusCode::FORBIDDEN, "tool_not_granted", detail));
    };
    let mut context = ToolContext::new(tenant);
    context.agent = Some(agent_id);
    context.run = record.run.map(|run| run.new.id);
    context.step = step;
    context.idempotency_key = ids.key().unwrap_or_else(|| parts.ids.next().to_string());
    let inputs = if body.inputs.is_null() { json!({}) } else { body.inputs };
    match tool.call(&context, inputs).await {
        Ok(output) => Ok(Json(InvokedTool { status: "ok", output: Some(output), error: None })),
        Err(error) if error.kind() == ErrorKind::Internal => Err(error.into()),
        Err(error) => {
            let error = ErrorView::new(error.report());
            Ok(Json(InvokedTool { status: "error", output: None, error: Some(error) }))
        }
    }
}
