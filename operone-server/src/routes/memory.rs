//! Memory: write a batch, read by query and scope.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use operone_core::cache::ContentHash;
use operone_core::error::{Error, Result};
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{NewMemory, RecallQuery, Recalled, Scope, ScopeKey};

use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Id, Params, Tenant};
use crate::parts::Parts;
use crate::wire::memory::{MemoryView, ReadEntries, ReadEntry, ReadMemories, WriteMemories, WrittenMemories};

pub(super) async fn write(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(body): Body<WriteMemories>,
) -> ApiResult<(StatusCode, Json<WrittenMemories>)> {
    let scope = Scope::new(body.scope).map_err(|error| ApiError::at("/scope", &error))?;
    let memories: Vec<NewMemory> =
        body.entries.into_iter().map(|entry| NewMemory::new(entry.content).with_tags(entry.tags)).collect();
    if memories.is_empty() {
        return Err(ApiError::invalid(vec![FieldError::new("/entries", "a batch has at least one entry")]));
    }
    let faults = operone_memory::faults(&memories);
    if !faults.is_empty() {
        let faults = faults.into_iter().map(|fault| FieldError::new(fault.pointer, fault.detail)).collect();
        return Err(ApiError::invalid(faults).with_code("invalid_memory"));
    }
    let written = parts.memory.remember(&ScopeKey::new(tenant, scope), memories).await?;
    let ids = written.ids.iter().map(ToString::to_string).collect();
    Ok((StatusCode::CREATED, Json(WrittenMemories { ids, revision: written.revision.0 })))
}

pub(super) async fn read(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(read): Params<ReadMemories>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let limit = read.limit;
    let tag = ContentHash::of(format!("{}\n{}\n{limit:?}", read.scope, read.query)).to_hex();
    let recalled = recall(&parts, tenant, read).await?;
    let etag = format!("\"{}-{}\"", recalled.revision.0, tag.get(..16).unwrap_or_default());
    let header_of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = header_of(header::IF_NONE_MATCH).split(',').any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    });
    let fresh = header_of(header::CACHE_CONTROL).contains("no-cache");
    let mut response = if known && !fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(entries(recalled)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// The same as reading, with the query in the body, where no log of addresses shows it.
pub(super) async fn search(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(read): Body<ReadMemories>,
) -> ApiResult<Json<ReadEntries>> {
    Ok(Json(entries(recall(&parts, tenant, read).await?)))
}

pub(super) async fn show(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(memory_id): Id<MemoryId>,
) -> ApiResult<Json<MemoryView>> {
    let found = parts.memories.get(&tenant, &memory_id).await?;
    let (scope, entry) = found.ok_or_else(|| unknown(&memory_id))?;
    Ok(Json(MemoryView {
        id: entry.id.to_string(),
        scope: scope.scope.as_str().to_owned(),
        content: entry.content,
        tags: entry.tags,
        created_at: entry.recorded_at,
    }))
}

/// Erases a memory: its text is gone from the store's files when this answers.
pub(super) async fn erase(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(memory_id): Id<MemoryId>,
) -> ApiResult<StatusCode> {
    let found = parts.memories.get(&tenant, &memory_id).await?;
    let (scope, _) = found.ok_or_else(|| unknown(&memory_id))?;
    parts.memories.erase(&scope, &[memory_id]).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(id: &MemoryId) -> Error {
    Error::not_found(format!("there is no memory {id}"))
}

async fn recall(parts: &Parts, tenant: TenantId, read: ReadMemories) -> Result<Recalled> {
    let scope = ScopeKey::new(tenant, Scope::new(read.scope)?);
    let mut query = RecallQuery::new(scope, read.query);
    if let Some(limit) = read.limit {
        if !(1..=RecallQuery::MAX_LIMIT).contains(&limit) {
            let detail = format!("limit is 1 to {}", RecallQuery::MAX_LIMIT);
            return Err(Error::invalid(detail).with_code("invalid_limit"));
        }
        query = query.with_limit(limit);
    }
    parts.memory.recall(query).await
}

fn entries(recalled: Recalled) -> ReadEntries {
    let entries = recalled.memories.into_iter().map(|memory| ReadEntry {
        id: memory.entry.id.to_string(),
        content: memory.entry.content,
        score: memory.score,
        tags: memory.entry.tags,
        created_at: memory.entry.recorded_at,
    });
    ReadEntries { entries: entries.collect() }
}
