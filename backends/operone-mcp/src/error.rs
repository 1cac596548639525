//! Errors in the host's terms: what a server says of itself is bounded, and no URL is shown.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use operone_core::text::floor_char_boundary;
use operone_core::{Error, ErrorKind};
use rmcp::model::ErrorCode;
use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

/// The longest text of a server that an error's detail or cause repeats, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// The server is not there, or went away meanwhile.
pub(crate) fn unavailable(server: &str, what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the MCP server '{server}' {what}"))
        .with_code("mcp_unavailable")
        .with_operation("mcp")
}

/// The server does not keep to the protocol; it will do the same again.
pub(crate) fn protocol(server: &str, what: impl fmt::Display) -> Error {
    unavailable(server, what).with_code("mcp_protocol").with_retryable(false)
}

/// The server did not answer in time.
pub(crate) fn timed_out(server: &str, timeout: Duration) -> Error {
    unavailable(server, format_args!("did not answer within {} s", timeout.as_secs_f32()))
        .with_code("mcp_timeout")
}

/// The tool says itself that it failed. The input's schema helps whoever tries again.
pub(crate) fn tool_failed(text: &str) -> Error {
    let text = if text.trim().is_empty() { "the tool failed and said nothing more" } else { text };
    Error::invalid(bounded(text)).with_code("tool_failed")
}

/// What a request came to that got no result; true if the connection is of no use any more.
pub(crate) fn from_service(server: &str, error: ServiceError) -> (Error, bool) {
    match error {
        ServiceError::McpError(data) => {
            let detail = bounded(&data.message);
            let error = match data.code {
                ErrorCode::INVALID_PARAMS => Error::invalid(detail).with_code("invalid_input"),
                ErrorCode::METHOD_NOT_FOUND => Error::not_found(detail).with_code("mcp_unknown_tool"),
                _ => tool_failed(&detail),
            };
            (error, false)
        }
        error if error.is_authorization_required() => (unauthorized(server), true),
        error @ (ServiceError::TransportSend(_) | ServiceError::TransportClosed) => {
            let cause = match &error {
                ServiceError::TransportSend(error) => Cause::of_transport(error),
                _ => Cause::of(&error),
            };
            (unavailable(server, "was lost during the call").with_source(cause), true)
        }
        ServiceError::Cancelled { .. } => {
            (Error::new(ErrorKind::Cancelled, "the MCP server stopped the call"), false)
        }
        error => (protocol(server, "answered what no tool answers").with_source(Cause::of(&error)), false),
    }
}

/// Why the greeting failed.
pub(crate) fn from_greeting(server: &str, error: &ClientInitializeError) -> Error {
    if error.is_authorization_required() {
        return unauthorized(server);
    }
    let cause = match error {
        ClientInitializeError::TransportError { error, .. } => Cause::of_transport(error),
        _ => Cause::of(error),
    };
    unavailable(server, "cannot be connected to").with_source(cause)
}

/// Whether nothing answered at all.
pub(crate) fn is_unreachable(error: &ClientInitializeError) -> bool {
    let ClientInitializeError::TransportError { error, .. } = error else { return false };
    http_error(error).is_some_and(|error| error.is_connect() || error.is_timeout())
}

fn http_error(error: &DynamicTransportError) -> Option<&reqwest::Error> {
    match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>()? {
        StreamableHttpError::Client(error) => Some(error),
        _ => None,
    }
}

fn unauthorized(server: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("the MCP server '{server}' wants another token"))
        .with_code("mcp_unauthorized")
        .with_operation("mcp")
}

/// A text cut at a character's border, saying so.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, MAX_TEXT)
}

/// A text of at most `limit` bytes and a note, where it was longer.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = floor_char_boundary(text, limit);
    format!("{}\n[cut after {end} of {} bytes]", text.get(..end).unwrap_or_default(), text.len())
}

/// The driver's error as bounded text: it may hold whole messages of the server.
#[derive(Debug)]
struct Cause(String);

impl Cause {
    fn of_transport(error: &DynamicTransportError) -> Self {
        match http_error(error) {
            Some(error) => Self::of(error),
            None => Self::of(error.error.as_ref()),
        }
    }

    fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self(cut(&text, 512))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}
