//! Documents whose bytes are in the request.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use operone_core::chunk::Collection;
use operone_core::error::{Error, ErrorReport};
use operone_core::id::DocId;
use operone_core::metadata::Metadata;
use operone_core::source::Fetched;
use operone_rag::ingest::DocumentStatus;
use serde::Deserialize;

use super::chunk_options;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Id, Params, Tenant};
use crate::limits;
use crate::parts::Parts;
use crate::wire::rag::{IngestOptions, Uploaded, collection};

/// Carries a document's metadata where the query does not.
const METADATA: HeaderName = HeaderName::from_static("x-metadata");
/// Carries the name of the file where the query does not.
const FILE_NAME: HeaderName = HeaderName::from_static("x-file-name");
/// The longest name of a file, in bytes.
const MAX_NAME: usize = 255;
/// What comes before the name in the source of an uploaded document.
const SCHEME: &str = "upload:";

/// The source of a document that was uploaded under a name.
pub(super) fn upload_uri(name: &str) -> String {
    format!("{SCHEME}{name}")
}

#[derive(Deserialize)]
pub(super) struct Upload {
    collection: Option<String>,
    name: Option<String>,
    metadata: Option<String>,
    chunk_size: Option<usize>,
    overlap: Option<usize>,
}

/// Stores a document under an id of the client's.
pub(super) async fn put(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(id): Id<DocId>,
    Params(upload): Params<Upload>,
    request: Request,
) -> ApiResult<(StatusCode, Json<Uploaded>)> {
    let collection = collection(tenant, upload.collection.clone())?;
    let uri = match parts.chunks.document(&collection, &id).await? {
        Some(known) if known.uri.starts_with(SCHEME) => known.uri,
        Some(known) => {
            let detail = format!("the document {id} comes from {} and cannot be uploaded", known.uri);
            return Err(Error::conflict(detail).with_code("not_uploaded").into());
        }
        None => upload_uri(id.as_str()),
    };
    let name = file_name(&upload, request.headers())?.unwrap_or_else(|| id.to_string());
    store(&parts, Place { collection, uri, name }, &upload, request).await
}

/// Stores a document under the name of its file.
pub(super) async fn put_named(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(upload): Params<Upload>,
    request: Request,
) -> ApiResult<(StatusCode, Json<Uploaded>)> {
    let collection = collection(tenant, upload.collection.clone())?;
    let name = file_name(&upload, request.headers())?.ok_or_else(|| {
        let detail = "name the file: PUT /rag/documents?name=report.pdf, or PUT /rag/documents/{id}";
        Error::invalid(detail).with_code("missing_name")
    })?;
    store(&parts, Place { collection, uri: upload_uri(&name), name }, &upload, request).await
}

/// Where an uploaded document goes.
struct Place {
    collection: Collection,
    uri: String,
    name: String,
}

async fn store(
    parts: &Parts,
    place: Place,
    upload: &Upload,
    request: Request,
) -> ApiResult<(StatusCode, Json<Uploaded>)> {
    let metadata = metadata(upload, request.headers())?;
    let asked =
        IngestOptions { chunk_size: upload.chunk_size, overlap: upload.overlap, ..IngestOptions::default() };
    let options = chunk_options(parts, &asked)?.unwrap_or_else(|| parts.ingestor.default_options());
    let media_type = media_type(request.headers());
    let permit = std::sync::Arc::clone(&parts.uploads).acquire_owned().await;
    let permit = permit.map_err(|error| Error::internal("uploads are closed").with_source(error))?;
    let mut fetched = Fetched::new(place.name.as_str(), read(request).await?);
    fetched.media_type = media_type;
    let ingestor = parts.ingestor.clone();
    let work = async move {
        let _permit = permit;
        let Place { collection, uri, .. } = &place;
        ingestor.ingest_fetched(collection, uri, fetched, &metadata, &options, None).await
    };
    let outcome = parts.background.run(work).await;
    let outcome = outcome
        .map_err(|error| Error::internal("the work on the document broke off").with_source(error))??;
    if let Some(error) = outcome.error {
        return Err(problem(error));
    }
    let status = match outcome.status {
        DocumentStatus::Indexed => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let doc_id = outcome.doc_id.map(|id| id.to_string()).unwrap_or_default();
    let chunks = outcome.chunks.unwrap_or(0);
    Ok((status, Json(Uploaded { doc_id, status: outcome.status, chunks })))
}

async fn read(request: Request) -> ApiResult<Vec<u8>> {
    let read = tokio::time::timeout(limits::UPLOAD_TIME, Bytes::from_request(request, &())).await;
    let Ok(read) = read else {
        let detail = format!("the body did not arrive within {} seconds", limits::UPLOAD_TIME.as_secs());
        return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
    };
    match read {
        Ok(bytes) => Ok(bytes.into()),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("a document has at most {} bytes", limits::UPLOAD);
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
        }
        Err(rejection) => {
            Err(ApiError::new(rejection.status(), "unreadable_body", "the body did not arrive whole"))
        }
    }
}

/// A document that was not stored: the code is that of its outcome in a job.
fn problem(error: ErrorReport) -> ApiError {
    match error.code.as_str() {
        "unsupported_format" => ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.code, error.detail),
        "too_large" => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error.code, error.detail),
        _ => Error::from(error).into(),
    }
}

fn file_name(upload: &Upload, headers: &HeaderMap) -> ApiResult<Option<String>> {
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let name = match (&upload.name, header(&FILE_NAME)) {
        (Some(name), _) => name.as_str(),
        (None, Some(name)) => name,
        (None, None) => return Ok(None),
    };
    // Names of files are kept, never used as paths.
    let name = name.trim();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        let detail = format!("the name of a file has 1 to {MAX_NAME} bytes and no control characters");
        return Err(Error::invalid(detail).with_code("invalid_name").into());
    }
    Ok(Some(name.to_owned()))
}

fn metadata(upload: &Upload, headers: &HeaderMap) -> ApiResult<Metadata> {
    let header = headers.get(&METADATA).map(|value| value.as_bytes());
    let Some(json) = upload.metadata.as_ref().map(String::as_bytes).or(header) else {
        return Ok(Metadata::new());
    };
    serde_json::from_slice(json).map_err(|error| {
        let detail =
            format!("the metadata is no object of strings, numbers, booleans and string arrays: {error}");
        Error::invalid(detail).with_code("invalid_metadata").into()
    })
}

/// What the client says of the body's type; what clients say of themselves says nothing.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let nothing = ["", "application/octet-stream", "application/x-www-form-urlencoded"];
    (!nothing.contains(&essence.as_str())).then(|| said.to_owned())
}
