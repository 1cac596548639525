//! Single memories: show, change, history, erase, promote.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use operone_core::error::Error;
use operone_core::id::MemoryId;

use super::{placed, scope_at};
use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Id, Tenant};
use crate::parts::Parts;
use crate::wire::memory::{
    ChangeMemory, EntryFields, MemoryView, PromoteMemories, Versions, WrittenMemories,
};

pub(crate) async fn show(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(memory_id): Id<MemoryId>,
) -> ApiResult<Json<MemoryView>> {
    let found = parts.memory.get(&tenant, &memory_id).await?;
    let (scope, entry) = found.ok_or_else(|| unknown(&memory_id))?;
    Ok(Json(MemoryView::new(&scope, entry, None)))
}

pub(crate) async fn change(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(memory_id): Id<MemoryId>,
    Body(body): Body<ChangeMemory>,
) -> ApiResult<Json<MemoryView>> {
    let patch = body.into_patch()?;
    let (scope, entry, revision) = parts.memory.update(&tenant, &memory_id, &patch).await.map_err(placed)?;
    Ok(Json(MemoryView::new(&scope, entry, Some(revision))))
}

pub(crate) async fn history(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(memory_id): Id<MemoryId>,
) -> ApiResult<Json<Versions>> {
    let versions = parts.memory.history(&tenant, &memory_id).await?;
    if versions.is_empty() {
        return Err(unknown(&memory_id).into());
    }
    Ok(Json(Versions { versions: versions.into_iter().map(EntryFields::new).collect() }))
}

/// Erases a memory: its text is gone from the store's files when this answers.
pub(crate) async fn erase(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(memory_id): Id<MemoryId>,
) -> ApiResult<StatusCode> {
    parts.memory.erase_one(&tenant, &memory_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn promote(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(body): Body<PromoteMemories>,
) -> ApiResult<(StatusCode, Json<WrittenMemories>)> {
    if body.ids.is_empty() {
        return Err(ApiError::invalid(vec![FieldError::new("/ids", "name at least one memory")]));
    }
    let from = scope_at("/from", tenant.clone(), body.from)?;
    let to = scope_at("/to", tenant, body.to)?;
    let receipt = parts.memory.promote(&from, &body.ids, &to).await.map_err(placed)?;
    let ids = receipt.written.iter().map(|written| written.id.to_string()).collect();
    Ok((StatusCode::CREATED, Json(WrittenMemories { ids, revision: receipt.revision.0 })))
}

fn unknown(id: &MemoryId) -> Error {
    Error::not_found(format!("there is no memory {id}"))
}
