//! The ids by which requests and what they give are found again in logs.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries the request's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that a client may give, in bytes.
const MAX_LENGTH: usize = 128;

/// The id that the client gave, or a new one.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let is_plain = |id: &HeaderValue| {
        !id.is_empty() && id.len() <= MAX_LENGTH && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    match headers.get(&REQUEST_ID).filter(|id| is_plain(id)) {
        Some(given) => given.clone(),
        // A UUID is a header's value.
        None => HeaderValue::try_from(new().to_string()).unwrap_or(HeaderValue::from_static("unknown")),
    }
}

/// An id that no one else has; it can be guessed from others. The system is asked for chance once only, since asking it
/// for each request would cost more than all else that its id does.
pub(crate) fn new() -> Uuid {
    static FIRST: LazyLock<u128> = LazyLock::new(|| Uuid::new_v4().as_u128());
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(*FIRST ^ u128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_kept_and_any_other_replaced() {
        let with = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            of(&headers)
        };
        assert_eq!(with(b"abc-1"), "abc-1");
        for other in [&b""[..], b"a b", b"\xff", &[b'a'; 129]] {
            assert!(Uuid::try_parse(with(other).to_str().unwrap()).is_ok());
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
