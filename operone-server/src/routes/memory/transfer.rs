//! Memories in bulk: export, import, the feed of changes, the names of scopes.

use std::sync::Arc;

use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use operone_core::error::Error;
use operone_core::id::MemoryId;
use operone_core::memory::{Revision, Scope};

use super::{placed, scope_at};
use crate::error::{ApiError, ApiResult};
use crate::extract::{Params, Tenant};
use crate::limits;
use crate::parts::Parts;
use crate::wire::memory::{
    ChangeView, ChangesView, ImportedMemories, OneScope, ReadChanges, ReadScopes, ScopesView,
};

/// How many memories of an export are in memory at once.
const EXPORTED_AT_ONCE: usize = 500;

/// Where an export stands.
enum Export {
    Begin,
    After(MemoryId),
    End,
}

/// A scope as lines of JSON, sent as it is read.
pub(crate) async fn export(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(OneScope { scope }): Params<OneScope>,
) -> ApiResult<Response> {
    let scope = scope_at("/scope", tenant, scope)?;
    let memory = Arc::clone(&parts.memory);
    let lines = try_unfold(Export::Begin, move |state| {
        let (memory, scope) = (Arc::clone(&memory), scope.clone());
        async move {
            let after = match &state {
                Export::Begin => None,
                Export::After(id) => Some(id),
                Export::End => return Ok::<_, Error>(None),
            };
            let exported = memory.export(&scope, after, EXPORTED_AT_ONCE).await?;
            Ok(Some((exported.lines, exported.next.map_or(Export::End, Export::After))))
        }
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Bytes::from_stream(lines)).into_response())
}

/// Writes the lines of an export.
pub(crate) async fn import(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(OneScope { scope }): Params<OneScope>,
    lines: String,
) -> ApiResult<Json<ImportedMemories>> {
    let scope = scope_at("/scope", tenant, scope)?;
    let imported = parts.memory.import(&scope, &lines).await.map_err(placed)?;
    Ok(Json(ImportedMemories {
        created: imported.created,
        passed_over: imported.passed_over,
        revision: imported.revision.0,
    }))
}

/// What became of the memories of a scope after a revision.
pub(crate) async fn changes(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(read): Params<ReadChanges>,
) -> ApiResult<Json<ChangesView>> {
    let scope = scope_at("/scope", tenant, read.scope)?;
    let limit = limits::rows(read.limit, limits::JOB_PAGE);
    let changes = parts.memory.changes(&scope, Revision(read.after), limit).await?;
    let views = changes.changes.into_iter().map(|changed| ChangeView::new(changed, read.content));
    Ok(Json(ChangesView { changes: views.collect(), next: changes.next.0, has_more: changes.has_more }))
}

/// The scopes that were written to.
pub(crate) async fn scopes(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(read): Params<ReadScopes>,
) -> ApiResult<Json<ScopesView>> {
    let after = read.after.map(Scope::new).transpose();
    let after = after.map_err(|error| ApiError::at("/after", &error))?;
    let limit = limits::rows(read.limit, limits::PAGE);
    let scopes = parts.memory.scopes(&tenant, after.as_ref(), limit).await?;
    let scopes: Vec<String> = scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let next = scopes.last().filter(|_| scopes.len() == limit).cloned();
    Ok(Json(ScopesView { scopes, next }))
}
