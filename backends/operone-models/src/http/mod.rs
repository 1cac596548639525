//! The HTTP client.

mod address;
mod client;
mod connection;
mod gate;
mod pool;
mod response;
mod tls;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use operone_core::{Error, Result};

use crate::config::Secret;

pub(crate) use address::Address;
pub(crate) use client::Client;
pub(crate) use response::Response;
#[cfg(feature = "genai")]
pub(crate) use tls::tls;

/// What an error calls the key.
const KEY: &str = "the key of the model service";

/// The headers that the host has set.
pub(crate) fn headers(given: &[(String, Secret)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let known = HeaderName::try_from(name.as_str()).map_err(|_| {
            Error::invalid(format!("'{name}' is no name of a header")).with_code("invalid_header")
        })?;
        headers.insert(
            known,
            secret(value.expose().to_owned(), &format!("the header '{name}'"), "invalid_header")?,
        );
    }
    Ok(headers)
}

/// The header that carries the key.
pub(crate) fn bearer(key: &Secret) -> Result<HeaderValue> {
    secret(format!("Bearer {}", key.expose()), KEY, "invalid_api_key")
}

/// A header that is the key.
pub(crate) fn bare(key: &Secret) -> Result<HeaderValue> {
    secret(key.expose().to_owned(), KEY, "invalid_api_key")
}

fn secret(value: String, what: &str, code: &'static str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        Error::invalid(format!("{what} has characters that no header can hold")).with_code(code)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
