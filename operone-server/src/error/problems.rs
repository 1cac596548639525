//! Errors as RFC 9457 problems: the one place that writes their bodies.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tower::Service;

use super::{ApiError, FieldError};
use crate::request_id::{self, REQUEST_ID};

/// Around a service, gives each request an id and each error its body, those of the framework included.
#[derive(Clone, Debug)]
pub(crate) struct Problems<S>(pub(crate) S);

impl<S> Service<Request> for Problems<S>
where
    S: Service<Request, Error = Infallible, Response: IntoResponse, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (id, uri) = (request_id::of(request.headers()), request.uri().clone());
        let response = self.0.call(request);
        Box::pin(async move { Ok(told(response.await?.into_response(), &uri, id)) })
    }
}

fn told(mut response: Response, uri: &Uri, id: HeaderValue) -> Response {
    let error = response.extensions_mut().remove::<ApiError>();
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if is_error && let Some(error) = error.or_else(|| framework_error(&response)) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = match uri.path() {
            path if path.starts_with("/v1/") => openai_problem(&error),
            path => problem(&error, path, id.to_str().unwrap_or_default()),
        };
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

fn problem(error: &ApiError, path: &str, request_id: &str) -> Response {
    let body = Problem {
        kind: "about:blank",
        title: error.status.canonical_reason().unwrap_or("Error"),
        status: error.status.as_u16(),
        detail: &error.detail,
        instance: path,
        code: &error.code,
        request_id,
        errors: &error.errors,
    };
    let mut response = (error.status, Json(body)).into_response();
    let content_type = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    with_retry_after(response, error)
}

fn with_retry_after(mut response: Response, error: &ApiError) -> Response {
    if let Some(after) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    response
}

/// The error as clients of OpenAI's wire expect it; they know a faulty body as 400.
fn openai_problem(error: &ApiError) -> Response {
    let status = match error.status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    with_retry_after((status, Json(openai_error(error))).into_response(), error)
}

/// The body of an error on OpenAI's wire.
pub(crate) fn openai_error(error: &ApiError) -> Value {
    let kind = match error.status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let param = error.errors.first().map(|fault| fault.pointer.trim_start_matches('/').replace('/', "."));
    json!({"error": {"message": error.detail, "type": kind, "param": param, "code": error.code}})
}

/// The error of an answer that the framework gave; `None` for one that is a problem already.
fn framework_error(response: &Response) -> Option<ApiError> {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value == "application/problem+json") {
        return None;
    }
    let (code, detail) = match response.status() {
        StatusCode::NOT_FOUND => ("not_found", "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "this path does not take this method; see Allow")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is larger than this path takes"),
        StatusCode::NOT_ACCEPTABLE => ("not_acceptable", "no encoding that the request accepts can be given"),
        StatusCode::INTERNAL_SERVER_ERROR => ("internal", "the server failed; its log has the cause"),
        status if status.is_client_error() => ("bad_request", "the request cannot be understood"),
        _ => ("internal", "the server failed"),
    };
    Some(ApiError::new(response.status(), code, detail))
}
