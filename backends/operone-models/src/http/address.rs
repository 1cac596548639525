//! Where a service's route is.

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::{PathAndQuery, Scheme};
use operone_core::{Error, Result};

/// A route of a service.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// The whole of it, for making a connection.
    pub(super) uri: Uri,
    /// What a request asks for: the path and the query.
    pub(super) target: Uri,
    /// The header that names the host.
    pub(super) host: HeaderValue,
}

impl Address {
    /// A route below that of the service; a query at the end of `base_url` goes with it.
    pub(crate) fn new(base_url: &str, route: &str) -> Result<Self> {
        let (base, query) = match base_url.split_once('?') {
            Some((base, query)) => (base, format!("?{query}")),
            None => (base_url, String::new()),
        };
        let address = format!("{}/{route}{query}", base.trim_end_matches('/'));
        let uri: Uri = address.parse().map_err(|_| wrong("is no URL such as http://localhost:8080/v1"))?;
        let default_port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            _ => return Err(wrong("must begin with http:// or https:// and a host")),
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(wrong("must begin with http:// or https:// and a host"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("must hold no user or password: give the key by itself"));
        }
        let host = match authority.port_u16() {
            Some(port) if port != default_port => authority.as_str(),
            _ => authority.host(),
        };
        let host = HeaderValue::from_str(host).map_err(|_| wrong("has a host that is none"))?;
        let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Self { target: target.into(), host, uri })
    }
}

fn wrong(why: &str) -> Error {
    Error::invalid(format!("the model service's address {why}")).with_code("invalid_base_url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_lies_below_the_service() {
        for (base, host, target) in [
            ("http://localhost:8080/v1", "localhost:8080", "/v1/chat"),
            ("https://api.example/v1/", "api.example", "/v1/chat"),
            ("https://api.example:443", "api.example", "/chat"),
            ("http://api.example:443/", "api.example:443", "/chat"),
            ("http://[::1]:80/v1", "[::1]", "/v1/chat"),
            ("https://mine.example/a/b?api-version=1&x=%20", "mine.example", "/a/b/chat?api-version=1&x=%20"),
        ] {
            let address = Address::new(base, "chat").unwrap();
            assert_eq!((address.host.to_str().unwrap(), address.target.to_string().as_str()), (host, target));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (base, why) in [
            ("", "http://"),
            ("localhost:8080/v1", "http://"),
            ("/v1", "http://"),
            ("ftp://localhost/v1", "http://"),
            ("http:///v1", "URL"),
            ("http://a b/v1", "URL"),
            ("http://localhost/a b", "URL"),
            ("http://me:secret@localhost/v1", "user"),
        ] {
            let error = Address::new(base, "chat").unwrap_err();
            assert!(error.message().contains(why) && !error.message().contains("secret"), "{base}: {error}");
            assert_eq!(error.code(), "invalid_base_url");
        }
    }
}
