//! What a failure of the service means to the caller; the only place that knows status codes.

use std::time::Duration;

use operone_core::{Error, ErrorKind};
use serde_json::Value;

use crate::config::Secret;
use crate::hint;

/// The most characters of the service's own message that are passed on.
const MAX_DETAIL: usize = 300;

/// An answer that is not what the protocol says; asking again would bring it again.
pub(crate) fn protocol(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, detail).with_code("model_protocol_error").with_retryable(false)
}

/// The answer ended before its end.
pub(crate) fn cut_off() -> Error {
    Error::new(ErrorKind::Unavailable, "the model service broke off its answer").with_code("model_cut_off")
}

/// The service was silent for too long.
pub(crate) fn silent(after: Duration) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the model service was silent for {} seconds", after.as_secs()),
    )
    .with_code("model_stalled")
}

/// The answer did not end in time.
pub(crate) fn endless(after: Duration) -> Error {
    let detail = format!("the model service's answer did not end within {} seconds", after.as_secs());
    Error::new(ErrorKind::Unavailable, detail).with_code("model_stalled").with_retryable(false)
}

/// There was a connection, and it ended before an answer began.
pub(crate) fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the model service broke")
        .with_code("model_unavailable")
}

/// The service answered with a status that is no success.
pub(crate) fn from_status(
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
    key: Option<&Secret>,
) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    from_report(status, body.get("error").unwrap_or(&body), retry_after, key)
}

/// The service sent an error object in place of an answer or in its midst.
pub(crate) fn from_stream(report: &Value, key: Option<&Secret>) -> Error {
    let status = report.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = status.filter(|status| (400..600).contains(status)).or_else(|| status_of_name(report));
    from_report(status.unwrap_or(500), report, None, key)
}

/// The status that an error would have come with, had the answer not begun.
fn status_of_name(report: &Value) -> Option<u16> {
    let names = ["type", "code"].iter().filter_map(|key| report.get(key)?.as_str());
    names.into_iter().find_map(|name| {
        Some(match name {
            "invalid_request_error" | "content_filter" | "content_policy_violation" => 400,
            "authentication_error" => 401,
            "permission_error" => 403,
            "not_found_error" => 404,
            "request_too_large" => 413,
            "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => 429,
            "overloaded_error" => 529,
            _ => return None,
        })
    })
}

fn from_report(status: u16, report: &Value, retry_after: Option<Duration>, key: Option<&Secret>) -> Error {
    let (kind, code, what) = match status {
        400 | 413 | 422 if status == 413 || is_too_long(report) => {
            (ErrorKind::Invalid, "context_length_exceeded", "the conversation is too long for the model")
        }
        400..500 if is_withheld(report) => {
            (ErrorKind::Denied, "model_refused", "the model service withholds an answer to this")
        }
        402 => (ErrorKind::Denied, "model_unpaid", "the model service wants to be paid"),
        401 | 403 => (ErrorKind::Denied, "model_key_refused", "the model service refused the key"),
        404 => {
            (ErrorKind::Invalid, "model_not_found", "the model service does not know the model or address")
        }
        408 => (ErrorKind::Unavailable, "model_unavailable", "the model service gave up waiting"),
        429 => (ErrorKind::RateLimited, "rate_limited", "the model service wants fewer requests"),
        300..400 => {
            (ErrorKind::Invalid, "model_redirected", "the model service is at another address: it redirects")
        }
        400..500 => (ErrorKind::Invalid, "model_request_refused", "the model service refused the request"),
        _ => (ErrorKind::Unavailable, "model_unavailable", "the model service failed"),
    };
    let detail = match message(report, key) {
        Some(message) => format!("{what} (status {status}): {message}"),
        None => format!("{what} (status {status})"),
    };
    let error = Error::new(kind, detail).with_code(code);
    match retry_after.or_else(|| hint::of_report(report)).filter(|_| error.is_retryable()) {
        _ if status == 501 || is_out_of_quota(report) => error.with_retryable(false),
        Some(after) => error.with_retry_after(after),
        None => error,
    }
}

fn is_too_long(report: &Value) -> bool {
    let is = |key: &str, value: &str| report.get(key).and_then(Value::as_str) == Some(value);
    let message = report.get("message").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    is("code", "context_length_exceeded")
        || is("type", "exceed_context_size_error")
        || ["context length", "context size", "context window", "context limit", "prompt is too long"]
            .iter()
            .any(|words| message.contains(words))
}

/// Whether what was asked, or the answer to it, offends the service's rules.
fn is_withheld(report: &Value) -> bool {
    ["code", "type"]
        .iter()
        .filter_map(|key| report.get(key)?.as_str())
        .any(|name| ["content_filter", "content_policy_violation", "moderation_blocked"].contains(&name))
}

fn is_out_of_quota(report: &Value) -> bool {
    ["code", "type"].iter().any(|key| report.get(key).and_then(Value::as_str) == Some("insufficient_quota"))
}

/// The service's own words on one line, without the key, which some services repeat.
fn message(report: &Value, key: Option<&Secret>) -> Option<String> {
    let message = match report {
        Value::String(message) => message,
        report => ["message", "detail", "error"].iter().find_map(|key| report.get(key)?.as_str())?,
    };
    let mut message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(key) = key.map(Secret::expose).filter(|key| !key.is_empty()) {
        message = message.replace(key, "***");
    }
    if let Some((end, _)) = message.char_indices().nth(MAX_DETAIL) {
        message.truncate(end);
        message.push('…');
    }
    Some(message).filter(|message| !message.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(status: u16, report: Value) -> Error {
        from_status(
            status,
            json!({"error": report}).to_string().as_bytes(),
            Some(Duration::from_secs(3)),
            Some(&Secret::new("sk-1")),
        )
    }

    #[test]
    fn every_status_has_its_meaning() {
        use ErrorKind::{Denied, Invalid, RateLimited, Unavailable};
        let too_long = json!({"type": "exceed_context_size_error", "message": "request exceeds"});
        for (status, report, kind, code, retryable) in [
            (400, json!({"message": "no"}), Invalid, "model_request_refused", false),
            (400, too_long, Invalid, "context_length_exceeded", false),
            (
                400,
                json!({"message": "The maximum context length is 9"}),
                Invalid,
                "context_length_exceeded",
                false,
            ),
            (
                400,
                json!({"message": "prompt is too long: 9 tokens > 8 maximum"}),
                Invalid,
                "context_length_exceeded",
                false,
            ),
            (413, json!({"type": "request_too_large"}), Invalid, "context_length_exceeded", false),
            (400, json!({"code": "content_filter", "message": "no"}), Denied, "model_refused", false),
            (402, json!({"type": "billing_error"}), Denied, "model_unpaid", false),
            (529, json!({"type": "overloaded_error"}), Unavailable, "model_unavailable", true),
            (401, json!({"code": 401}), Denied, "model_key_refused", false),
            (403, Value::Null, Denied, "model_key_refused", false),
            (404, Value::Null, Invalid, "model_not_found", false),
            (429, json!({"message": "slow down"}), RateLimited, "rate_limited", true),
            (429, json!({"code": "insufficient_quota"}), RateLimited, "rate_limited", false),
            (500, json!({"code": 500}), Unavailable, "model_unavailable", true),
            (501, json!({"code": 501}), Unavailable, "model_unavailable", false),
            (503, Value::Null, Unavailable, "model_unavailable", true),
            (307, Value::Null, Invalid, "model_redirected", false),
        ] {
            let error = error(status, report);
            assert_eq!(
                (error.kind(), error.code(), error.is_retryable()),
                (kind, code, retryable),
                "{status}"
            );
            assert_eq!(error.retry_after().is_some(), retryable, "{status}");
        }
    }

    #[test]
    fn the_services_words_are_passed_on_without_the_key() {
        let error = error(401, json!({"message": format!("the key sk-1 is\nwrong {}", "é".repeat(500))}));
        assert!(error.message().contains("the key *** is wrong é"), "{error}");
        assert!(!error.message().contains("sk-1") && error.message().chars().count() < 400);
    }

    #[test]
    fn any_body_will_do() {
        for body in [&b""[..], b"<html>", b"[1]", b"\"text\"", b"{\"error\":\"text\"}", b"{\"error\":{}}"] {
            assert_eq!(from_status(400, body, None, None).code(), "model_request_refused");
        }
        assert!(from_status(400, b"{\"error\":\"text\"}", None, None).message().ends_with(": text"));
    }

    #[test]
    fn an_error_within_an_answer_has_the_meaning_of_its_name() {
        for (report, kind, code) in [
            (json!({"code": 503, "message": "loading"}), ErrorKind::Unavailable, "model_unavailable"),
            (json!({"type": "overloaded_error"}), ErrorKind::Unavailable, "model_unavailable"),
            (json!({"type": "rate_limit_error"}), ErrorKind::RateLimited, "rate_limited"),
            (json!({"code": "content_filter"}), ErrorKind::Denied, "model_refused"),
            (json!("text"), ErrorKind::Unavailable, "model_unavailable"),
        ] {
            let error = from_stream(&report, None);
            assert_eq!((error.kind(), error.code()), (kind, code), "{report}");
        }
        let hinted = from_stream(&json!({"type": "rate_limit_error", "message": "try again in 2s"}), None);
        assert_eq!(hinted.retry_after(), Some(Duration::from_secs(2)));
    }
}
