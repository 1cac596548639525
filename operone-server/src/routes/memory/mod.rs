//! Memory: write a batch, read by query and scope.

mod entries;
mod erase;
mod transfer;

pub(super) use entries::{change, erase as erase_one, history, promote, show};
pub(super) use erase::erase;
pub(super) use transfer::{changes, export, import, scopes};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use operone_core::cache::ContentHash;
use operone_core::clock::Timestamp;
use operone_core::error::{Error, ErrorKind, Result};
use operone_core::id::TenantId;
use operone_core::memory::{Recall, RecallQuery, Recalled, Revision, Scope, ScopeKey};
use operone_memory::WriteRequest;

use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Params, Tenant};
use crate::idempotency::RequestIds;
use crate::parts::Parts;
use crate::wire::memory::{ReadEntries, ReadMemories, SearchMemories, WriteMemories, WrittenMemories};

pub(super) async fn write(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    ids: RequestIds,
    Body(body): Body<WriteMemories>,
) -> ApiResult<(StatusCode, Json<WrittenMemories>)> {
    let scope = scope_at("/scope", tenant, body.scope)?;
    if body.entries.is_empty() {
        return Err(ApiError::invalid(vec![FieldError::new("/entries", "a batch has at least one entry")]));
    }
    let now = parts.services.clock.now();
    let entries = body.entries.into_iter().enumerate();
    let memories =
        entries.map(|(place, entry)| entry.into_memory(place, now)).collect::<ApiResult<Vec<_>>>()?;
    let faults = operone_memory::faults(&memories);
    if !faults.is_empty() {
        let faults = faults.into_iter().map(|fault| FieldError::new(fault.pointer, fault.detail)).collect();
        return Err(ApiError::invalid(faults).with_code("invalid_memory"));
    }
    let mut request = WriteRequest::new(memories);
    request.key = ids.key();
    request.unique = body.unique;
    request.expected_revision = body.expected_revision.map(Revision);
    let receipt = parts.memory.write(&scope, request).await.map_err(placed)?;
    let ids = receipt.written.iter().map(|written| written.id.to_string()).collect();
    Ok((StatusCode::CREATED, Json(WrittenMemories { ids, revision: receipt.revision.0 })))
}

pub(super) async fn read(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(read): Params<ReadMemories>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let query = query(tenant, read.into_search())?;
    let now = parts.services.clock.now();
    let key = query_key(&query, now);
    let recalled = recall(&parts, query).await?;
    // With the number of what can be read, for what expires changes no revision.
    let etag = format!("\"{}-{}-{key}\"", recalled.revision.0, recalled.readable);
    let header_of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = header_of(header::IF_NONE_MATCH).split(',').any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    });
    let fresh = header_of(header::CACHE_CONTROL).contains("no-cache");
    let mut response = if known && !fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(ReadEntries::new(recalled)).into_response()
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
    Body(search): Body<SearchMemories>,
) -> ApiResult<Json<ReadEntries>> {
    let recalled = recall(&parts, query(tenant, search)?).await?;
    Ok(Json(ReadEntries::new(recalled)))
}

fn query(tenant: TenantId, search: SearchMemories) -> ApiResult<RecallQuery> {
    let scope = ScopeKey::new(tenant, Scope::new(search.scope())?);
    search.into_query(scope)
}

async fn recall(parts: &Parts, query: RecallQuery) -> Result<Recalled> {
    if !(1..=RecallQuery::MAX_LIMIT).contains(&query.limit) {
        let detail = format!("limit is 1 to {}", RecallQuery::MAX_LIMIT);
        return Err(Error::invalid(detail).with_code("invalid_limit"));
    }
    parts.memory.recall(query).await
}

/// What of a query decides about its answer; where age counts, the minute too.
fn query_key(query: &RecallQuery, now: Timestamp) -> String {
    let minute = query.recency.map(|_| now.as_millis() / 60_000);
    let hash = ContentHash::of(format!("{query:?} {minute:?}")).to_hex();
    hash.chars().take(16).collect()
}

fn scope_at(pointer: &str, tenant: TenantId, scope: String) -> ApiResult<ScopeKey> {
    let scope = Scope::new(scope).map_err(|error| ApiError::at(pointer, &error))?;
    Ok(ScopeKey::new(tenant, scope))
}

/// A fault of one entry, whose message begins with its place, told by pointer.
fn placed(error: Error) -> ApiError {
    match error.message().split_once(": ") {
        Some((pointer, detail)) if pointer.starts_with('/') && error.kind() == ErrorKind::Invalid => {
            let fault = FieldError::new(pointer, detail);
            ApiError::invalid(vec![fault]).with_code(error.code().to_owned())
        }
        _ => error.into(),
    }
}
