//! What went wrong with a request: one table from kinds to statuses.

mod problems;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use operone_core::{Error, ErrorKind};
use serde::Serialize;

pub(crate) use problems::{Problems, openai_error};

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
    /// Only the status: [`Problems`] knows the request and writes the body.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
