//! What operators ask: is it alive, is it ready, what is it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use operone_core::chunk::Collection;
use serde_json::{Map, Value, json};

use crate::error::ApiResult;
use crate::extract::Tenant;
use crate::parts::Parts;

/// The process answers.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The stores answer.
pub(super) async fn ready(State(parts): State<Parts>, Tenant(tenant): Tenant) -> (StatusCode, Json<Value>) {
    let journal = parts.services.journal.agents(&tenant, None, 1).await.map(drop);
    let chunks = parts.chunks.generation(&Collection::of(tenant)).await.map(drop);
    let checks = [("journal", journal), ("chunks", chunks)];
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let checks: Map<String, Value> = checks
        .into_iter()
        .map(|(name, check)| {
            (name.to_owned(), check.map_or_else(|error| json!(error.code()), |()| json!("ok")))
        })
        .collect();
    let (status, word) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (status, Json(json!({"status": word, "checks": checks})))
}

/// What the calls of models took and cost, in the text format of Prometheus.
pub(super) async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, format)], parts.capabilities.models().metrics().to_prometheus())
}

pub(super) async fn info(State(parts): State<Parts>, Tenant(tenant): Tenant) -> ApiResult<Json<Value>> {
    let catalogue = parts.capabilities.catalogue(&tenant).await?;
    let tools: Map<String, Value> = catalogue
        .into_iter()
        .map(|(capability, specs)| {
            (capability, specs.into_iter().map(|spec| Value::String(spec.name)).collect())
        })
        .collect();
    Ok(Json(parts.info.body(Value::Object(tools))))
}
