//! Errors as RFC 9457 problems: one table from kinds to statuses, one place that writes the body.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use operone_core::{Error, ErrorKind};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The header that carries the request's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler answers when it cannot do as asked.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
}

/// One fault in a request's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// A JSON pointer into the body.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) detail: String,
}

impl FieldError {
    pub(crate) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// A body that is JSON but says something that cannot be done.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.pointer, only.detail),
            several => format!("the body has {} faults", several.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail) }
    }

    /// What is wrong, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Names the cause more precisely.
    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// One fault in the body, with the code of the error that found it.
    pub(crate) fn at(pointer: impl Into<String>, error: &Error) -> Self {
        Self::invalid(vec![FieldError::new(pointer, error.message())]).with_code(error.code())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, error.code(), error.message());
        problem.retry_after = error.retry_after().map(|after| after.as_secs().max(1));
        if status.is_server_error() {
            tracing::error!(code = error.code(), error = %error.with_causes(), "a request failed");
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            problem.detail = "the server failed; its log has the cause under this request's time".into();
        }
        problem
    }
}

impl IntoResponse for ApiError {
    /// Only the status: [`problems`] knows the request and writes the body.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
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

/// Gives each request an id and each error its body, those of the framework included.
pub(crate) async fn problems(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let plain =
        |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic());
    let request_id = given.filter(plain).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let Ok(id_header) = HeaderValue::from_str(&request_id) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    request.headers_mut().insert(REQUEST_ID, id_header.clone());
    let path = request.uri().path().to_owned();

    let mut response = next.run(request).await;
    let error = response.extensions_mut().remove::<ApiError>();
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if is_error && let Some(error) = error.or_else(|| framework_error(&response)) {
        let allow = response.headers_mut().remove(header::ALLOW);
        let shape = if path.starts_with("/v1/") { openai_problem } else { problem };
        response = shape(&error, &path, &request_id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    response.headers_mut().insert(REQUEST_ID, id_header);
    response
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
fn openai_problem(error: &ApiError, _: &str, _: &str) -> Response {
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
