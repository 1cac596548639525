//! Erasing by id, tag, scope and time, with a receipt.

use axum::Json;
use axum::extract::State;
use operone_memory::Selection;

use super::scope_at;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Body, Tenant};
use crate::parts::Parts;
use crate::wire::memory::{EraseMemories, ErasedMemories, Moment};

/// The text is gone from the store's files when this answers.
pub(crate) async fn erase(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(body): Body<EraseMemories>,
) -> ApiResult<Json<ErasedMemories>> {
    let scope = scope_at("/scope", tenant, body.scope)?;
    let at = |pointer: &str, moment: Option<Moment>| {
        moment.map(|moment| moment.first()).transpose().map_err(|error| ApiError::at(pointer, &error))
    };
    let mut selection = Selection::default();
    selection.ids = body.ids;
    selection.tags = body.tags;
    selection.before = at("/before", body.before)?;
    selection.after = at("/after", body.after)?;
    let erasure = parts.memory.erase(&scope, &selection, body.dry_run).await?;
    Ok(Json(ErasedMemories::new(erasure)))
}
