//! URLs: which are understood, in one spelling, and the address that a host spells out.

use std::net::IpAddr;

use operone_core::Result;
use reqwest::Url;

use crate::error::invalid_url;

/// The longest URL, in bytes.
const MAX_URL: usize = 8 * 1024;

/// Reads an absolute URL. What comes has the scheme http or https, a host in lower case and in ASCII, no default
/// port, no dot segments, no user and no fragment.
pub(crate) fn parse(text: &str) -> Result<Url> {
    if text.len() > MAX_URL {
        return Err(too_long());
    }
    checked(Url::parse(text))
}

/// Reads the target of a redirect, which may be relative to `base`.
pub(crate) fn join(base: &Url, target: &str) -> Result<Url> {
    if target.len() > MAX_URL {
        return Err(too_long());
    }
    checked(base.join(target))
}

/// The host as the URL spells it.
pub(crate) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The address of a host that is an address rather than a name. The parser has brought 0x7f.1 and the like into
/// the usual spelling, so that what is no address here is none to the client either.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    let host = host(url);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().ok()
}

fn checked<E: std::fmt::Display>(parsed: Result<Url, E>) -> Result<Url> {
    let mut url = parsed.map_err(|error| invalid_url(&format!("cannot be understood: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid_url("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid_url("must hold no user and no password"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn too_long() -> operone_core::Error {
    invalid_url(&format!("is longer than {} KiB", MAX_URL / 1024))
}
