//! `Idempotency-Key`: a request that is sent again gets its first answer, and does nothing twice.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use operone_core::Error;
use operone_core::cache::ContentHash;
use operone_core::id::{Ids, TenantId};
use operone_core::journal::{Reservation, Reserve};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{ApiError, ApiResult};
use crate::extract::Tenant;
use crate::limits;
use crate::parts::Parts;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// Where the new ids of one request come from. They are the same each time the request is sent under its key: what
/// an earlier try has done is found again, also after a crash.
pub(crate) struct RequestIds {
    seed: Option<Uuid>,
    taken: AtomicU64,
}

impl RequestIds {
    /// The key that tools are told, if the request came with one.
    pub(crate) fn key(&self) -> Option<String> {
        self.seed.map(|seed| seed.to_string())
    }

    /// Whether the request may have been done before.
    pub(crate) fn may_repeat(&self) -> bool {
        self.seed.is_some()
    }

    /// The next new id.
    pub(crate) fn next(&self, ids: &dyn Ids) -> Uuid {
        let Some(seed) = self.seed else { return ids.next() };
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let hash = ContentHash::of([seed.as_bytes().as_slice(), &number.to_be_bytes()].concat()).0;
        // The time of the seed, and the hash in place of randomness.
        let mut bytes = *seed.as_bytes();
        bytes.iter_mut().zip(hash).skip(6).for_each(|(byte, hashed)| *byte = hashed);
        let mut builder = uuid::Builder::from_bytes(bytes);
        builder.set_version(uuid::Version::SortRand).set_variant(uuid::Variant::RFC4122);
        builder.into_uuid()
    }
}

#[derive(Clone, Copy)]
struct Seed(Uuid);

impl<S: Send + Sync> FromRequestParts<S> for RequestIds {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, ApiError> {
        let seed = parts.extensions.get::<Seed>().map(|seed| seed.0);
        Ok(Self { seed, taken: AtomicU64::new(0) })
    }
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    content_type: Option<String>,
    location: Option<String>,
    body: String,
}

/// Answers a request that was answered before under its key; any other is passed on, and its answer kept. A failure
/// of the server, and a stream, are not kept: the request may be sent again.
pub(crate) async fn replay(State(parts): State<Parts>, request: Request, next: Next) -> Response {
    match handle(parts, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn handle(parts: Parts, request: Request, next: Next) -> ApiResult<Response> {
    let Some(key) = request.headers().get(&KEY) else { return Ok(next.run(request).await) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(|| {
        let detail = format!("an Idempotency-Key has 1 to {MAX_KEY} visible ASCII characters");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_idempotency_key", detail)
    })?;
    let key = key.to_owned();
    let (mut head, body) = request.into_parts();
    let Tenant(tenant) = Tenant::from_request_parts(&mut head, &parts).await?;
    let body = to_bytes(body, limits::BULK_BODY).await.map_err(|_| {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is larger than this path takes",
        )
    })?;
    let said =
        [head.method.as_str().as_bytes(), b" ", head.uri.to_string().as_bytes(), b"\n", &body].concat();
    let reserve = Reserve::new(key.as_str(), ContentHash::of(said), parts.ids.next());
    let journal = &parts.services.journal;
    let seed = match journal.reserve(&tenant, reserve).await? {
        Reservation::Answered(answer) => return replayed(answer),
        Reservation::Held { seed } => seed,
        _ => return Err(Error::internal("the journal answers in a way that is not known").into()),
    };
    // Whoever leaves before the answer, by a cut connection for instance, gives the key up.
    let hold = Hold { parts: parts.clone(), tenant: tenant.clone(), key: Some(key.clone()) };
    head.extensions.insert(Seed(seed));
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    keep(&parts, hold, response).await
}

/// Gives a key up unless its answer was kept.
struct Hold {
    parts: Parts,
    tenant: TenantId,
    key: Option<String>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let (parts, tenant) = (self.parts.clone(), self.tenant.clone());
        self.parts.background.spawn(async move {
            if let Err(error) = parts.services.journal.settle(&tenant, &key, None).await {
                tracing::warn!(%error, "an Idempotency-Key is held for a minute longer than needed");
            }
        });
    }
}

async fn keep(parts: &Parts, mut hold: Hold, response: Response) -> ApiResult<Response> {
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (content_type, location) = (header(header::CONTENT_TYPE), header(header::LOCATION));
    let is_stream = content_type.as_deref().is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !head.status.is_success() || is_stream {
        if let Some(key) = hold.key.take() {
            parts.services.journal.settle(&hold.tenant, &key, None).await?;
        }
        return Ok(Response::from_parts(head, body));
    }
    let body = to_bytes(body, usize::MAX)
        .await
        .map_err(|error| Error::internal("the answer cannot be kept").with_source(error))?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let answer = Answer { status: head.status.as_u16(), content_type, location, body: text };
    let answer = serde_json::to_value(answer)
        .map_err(|error| Error::internal("the answer cannot be kept").with_source(error))?;
    if let Some(key) = hold.key.take() {
        parts.services.journal.settle(&hold.tenant, &key, Some(answer)).await?;
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replayed(answer: serde_json::Value) -> ApiResult<Response> {
    let unreadable = || Error::internal("the kept answer cannot be read").with_code("corrupt");
    let answer: Answer = serde_json::from_value(answer).map_err(|error| unreadable().with_source(error))?;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| unreadable())?;
    let headers = response.headers_mut();
    for (name, value) in [(header::CONTENT_TYPE, answer.content_type), (header::LOCATION, answer.location)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use operone_core::id::SystemIds;

    use super::*;

    #[test]
    fn the_ids_of_a_request_are_the_same_each_time_and_all_different() {
        let seed = Uuid::now_v7();
        let ids = || RequestIds { seed: Some(seed), taken: AtomicU64::new(0) };
        let take = |ids: RequestIds| [0; 4].map(|_| ids.next(&SystemIds));
        let first = take(ids());
        assert_eq!(first, take(ids()));
        for (place, id) in first.iter().enumerate() {
            assert_eq!(id.get_version_num(), 7);
            assert!(!first[..place].contains(id));
        }
    }
}
