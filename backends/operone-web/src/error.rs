//! What a failed request means to the caller; says the host as it was written and never an address behind it.

use std::error::Error as StdError;
use std::time::Duration;

use operone_core::{Error, ErrorKind};
use reqwest::Url;

use crate::guard::{Ports, Refused};
use crate::url::host;

/// A URL that stays wrong.
pub(crate) fn invalid_url(why: &str) -> Error {
    Error::invalid(format!("the URL {why}")).with_code("invalid_url")
}

/// A host that the egress policy refuses, at all or at this port.
pub(crate) fn denied(url: &Url) -> Error {
    let detail = match url.port_or_known_default() {
        Some(port) if Ports::of(port) == Ports::Other => {
            format!("'{}' may not be called at port {port}, only at 80 and 443", host(url))
        }
        _ => format!("'{}' may not be called: it is not on the public internet", host(url)),
    };
    Error::new(ErrorKind::Denied, detail).with_code("egress_denied")
}

/// A body longer than `limit` bytes.
pub(crate) fn too_large(url: &Url, limit: usize) -> Error {
    Error::invalid(format!("what '{}' sends is larger than {} MiB", host(url), limit / 1024 / 1024))
        .with_code("too_large")
}

/// A redirect after the last one that is followed.
pub(crate) fn too_many_redirects(most: usize) -> Error {
    Error::invalid(format!("the URL redirects more than {most} times")).with_code("too_many_redirects")
}

/// The whole call took longer than `limit`.
pub(crate) fn timed_out(limit: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the answer was not complete after {limit:?}"))
        .with_code("timeout")
}

/// An answer in an encoding that was not asked for.
pub(crate) fn encoded(url: &Url) -> Error {
    Error::invalid(format!("what '{}' sends is compressed though that was not asked for", host(url)))
        .with_code("unreadable")
}

/// The request did not get through, the guard refused it, or the answer broke off.
pub(crate) fn from_transport(url: &Url, error: reqwest::Error) -> Error {
    if is_refusal(&error) {
        // Without the cause, which may know the address.
        return denied(url);
    }
    if error.is_builder() {
        return invalid_url("cannot be requested");
    }
    let (code, what) = if error.is_timeout() {
        ("timeout", "did not answer in time")
    } else if error.is_connect() {
        ("unreachable", "cannot be reached")
    } else {
        ("unreachable", "broke off")
    };
    Error::new(ErrorKind::Unavailable, format!("'{}' {what}", host(url)))
        .with_code(code)
        .with_source(error.without_url())
}

fn is_refusal(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return true;
        }
        cause = error.source();
    }
    false
}
