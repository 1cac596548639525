//! The routes, one file for each part of the contract, and what surrounds them all.

mod agents;
mod approvals;
mod events;
mod internal;
mod memory;
mod openai;
mod operations;
mod rag;
mod rag_documents;
mod rag_jobs;
mod rag_uploads;
mod relay;
mod runs;
mod steps;
mod tools;

pub(crate) use rag::chunk_options;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use tower::layer::layer_fn;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::error::Problems;
use crate::idempotency::replay;
use crate::limits;
use crate::parts::Parts;

/// Answers over this size are compressed, in bytes.
const COMPRESS_ABOVE: u64 = 1024;

/// All public routes; nest it in an axum app of your own or serve it.
pub fn router(parts: Parts) -> Router {
    let repeatable = from_fn_with_state(parts.clone(), replay);
    let bulk = Router::new()
        .route("/rag/ingest/batch", post(rag::ingest_batch))
        .route("/memory/batch", post(memory::write))
        .route("/memory/import", post(memory::import))
        .route_layer(repeatable.clone())
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/embeddings", post(openai::embeddings))
        .layer(body_limit(limits::BULK_BODY));
    let created = Router::new()
        .route("/agents", post(agents::create).get(agents::list))
        .route("/agents/batch", post(agents::create_batch))
        .route("/agents/{agent_id}/start", post(runs::start))
        .route("/agents/{agent_id}/resume", post(runs::resume))
        .route("/tools/invoke", post(tools::invoke))
        .route("/rag/reembed", post(rag_jobs::reembed))
        .route("/memory/promote", post(memory::promote))
        .route_layer(repeatable);
    let others = Router::new()
        .merge(created)
        .route("/agents/{agent_id}", get(agents::show).delete(agents::remove))
        .route("/agents/{agent_id}/cancel", post(runs::cancel))
        .route("/agents/{agent_id}/events", get(runs::events))
        .route("/agents/{agent_id}/steps", get(steps::list))
        .route("/tools", get(tools::list))
        .route("/approvals", get(approvals::list))
        .route("/approvals/{approval_id}", post(approvals::decide))
        .route("/rag/query", post(rag::query))
        .route("/rag/documents", get(rag_documents::list))
        .route("/rag/documents/{doc_id}", get(rag_documents::show).delete(rag_documents::remove))
        .route("/rag/collections", get(rag_documents::collections))
        .route(
            "/rag/collections/{name}",
            get(rag_documents::show_collection).delete(rag_documents::remove_collection),
        )
        .route("/rag/jobs/{job_id}", get(rag_jobs::job))
        .route("/rag/jobs/{job_id}/events", get(rag_jobs::events))
        .route("/rag/jobs/{job_id}/cancel", post(rag_jobs::cancel))
        .route("/memory", get(memory::read))
        .route("/memory/{memory_id}", get(memory::show).patch(memory::change).delete(memory::erase_one))
        .route("/memory/{memory_id}/history", get(memory::history))
        .route("/memory/erase", post(memory::erase))
        .route("/memory/export", get(memory::export))
        .route("/memory/changes", get(memory::changes))
        .route("/memory/scopes", get(memory::scopes))
        .route("/memory/search", post(memory::search))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{model}", get(openai::model))
        .route("/events", get(events::subscribe))
        .route("/healthz", get(operations::health))
        .route("/readyz", get(operations::ready))
        .route("/info", get(operations::info))
        .route("/metrics", get(operations::metrics))
        .layer(body_limit(limits::BODY));
    let uploads = Router::new()
        .route("/rag/documents", put(rag_uploads::put_named))
        .route("/rag/documents/{doc_id}", put(rag_uploads::put))
        .layer(DefaultBodyLimit::max(limits::UPLOAD));
    surround(bulk.merge(uploads).merge(others).with_state(parts.clone()), &parts)
}

/// The internal routes, for a listener of their own where `token` is given: requests then carry it as bearer.
pub fn internal_router(parts: Parts, token: Option<String>) -> Router {
    let routes = Router::new().route("/internal/workers", post(internal::start_worker));
    let routes = routes.layer(body_limit(limits::BODY)).with_state(parts.clone());
    let routes = match token {
        Some(token) => routes.layer(from_fn_with_state(internal::Token::new(token), internal::authorize)),
        None => routes,
    };
    surround(routes, &parts)
}

/// For what reads a body by an extractor, and for what reads it otherwise.
fn body_limit(bytes: usize) -> (DefaultBodyLimit, RequestBodyLimitLayer) {
    (DefaultBodyLimit::max(bytes), RequestBodyLimitLayer::new(bytes))
}

fn surround(routes: Router, parts: &Parts) -> Router {
    // `SizeAbove` takes what has its size too, and what has no known size: streams of events must stay out.
    let compressed = SizeAbove::new(COMPRESS_ABOVE + 1).and(NotForContentType::SSE);
    // The first is the outermost. As one layer they are cloned once for a request, and not each with all below it.
    routes.layer((
        layer_fn(Problems),
        CatchPanicLayer::new(),
        CompressionLayer::new().compress_when(compressed),
        ValidateRequestHeaderLayer::custom(parts.allowed_hosts.clone()),
    ))
}
