//! Documents and collections: listed, shown, removed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use operone_core::Error;
use operone_core::chunk::Collection;
use operone_core::id::DocId;
use serde::Deserialize;

use super::rag_uploads::upload_uri;
use crate::error::ApiResult;
use crate::extract::{Id, Params, Tenant};
use crate::limits;
use crate::parts::Parts;
use crate::wire::rag::{CollectionView, Collections, DocumentView, Documents, collection};

#[derive(Deserialize)]
pub(super) struct DocumentPage {
    collection: Option<String>,
    after: Option<DocId>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(DocumentPage { collection: name, after, limit }): Params<DocumentPage>,
) -> ApiResult<Json<Documents>> {
    let limit = limits::rows(limit, limits::PAGE);
    let documents = parts.chunks.documents(&collection(tenant, name)?, after.as_ref(), limit).await?;
    let next = documents.last().filter(|_| documents.len() == limit).map(|document| document.id.to_string());
    Ok(Json(Documents { documents: documents.into_iter().map(DocumentView::new).collect(), next }))
}

#[derive(Deserialize)]
pub(super) struct In {
    collection: Option<String>,
}

pub(super) async fn show(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(id): Id<DocId>,
    Params(In { collection: name }): Params<In>,
) -> ApiResult<Json<DocumentView>> {
    let collection = collection(tenant, name)?;
    let id = document_id(&parts, &collection, id).await?;
    let found = parts.chunks.document(&collection, &id).await?;
    let found = found.ok_or_else(|| Error::not_found(format!("there is no document {id}")))?;
    Ok(Json(DocumentView::new(found)))
}

pub(super) async fn remove(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(id): Id<DocId>,
    Params(In { collection: name }): Params<In>,
) -> ApiResult<StatusCode> {
    let collection = collection(tenant, name)?;
    let id = document_id(&parts, &collection, id).await?;
    parts.ingestor.remove_document(&collection, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The id of a document that was named by it, or by the name of its upload.
async fn document_id(parts: &Parts, collection: &Collection, id: DocId) -> ApiResult<DocId> {
    if parts.chunks.document(collection, &id).await?.is_some() {
        return Ok(id);
    }
    let uploaded = DocId::derive(collection, &upload_uri(id.as_str()));
    Ok(if parts.chunks.document(collection, &uploaded).await?.is_some() { uploaded } else { id })
}

pub(super) async fn collections(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
) -> ApiResult<Json<Collections>> {
    let present = parts.embedder.info().id;
    let listed = parts.chunks.collections(&tenant).await?.into_iter();
    let named = listed.filter(|found| is_named(&tenant, &found.name));
    Ok(Json(Collections { collections: named.map(|found| CollectionView::new(found, &present)).collect() }))
}

pub(super) async fn show_collection(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(name): Id<String>,
) -> ApiResult<Json<CollectionView>> {
    let asked = Collection::named(tenant.clone(), name)?;
    let mut listed = parts.chunks.collections(&tenant).await?.into_iter();
    let found = listed.find(|found| found.name == asked.name).ok_or_else(|| {
        let name = &asked.name;
        Error::not_found(format!("there is no collection {name}"))
    })?;
    Ok(Json(CollectionView::new(found, &parts.embedder.info().id)))
}

/// Removes every document of a collection, on the threads for background work.
pub(super) async fn remove_collection(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(name): Id<String>,
) -> ApiResult<StatusCode> {
    let collection = Collection::named(tenant, name)?;
    let ingestor = parts.ingestor.clone();
    let removed = parts.background.run(async move { ingestor.remove_collection(&collection).await }).await;
    removed.map_err(|error| Error::internal("removing the collection broke off").with_source(error))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a collection is one of the tenant's own, and none that is being made.
fn is_named(tenant: &operone_core::id::TenantId, name: &str) -> bool {
    Collection { tenant: tenant.clone(), name: name.to_owned() }.is_named()
}
