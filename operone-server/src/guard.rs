//! Keeps web pages of other sites away from a server on this machine.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::validate_request::ValidateRequest;

use crate::error::ApiError;

/// The hosts by which this server may be addressed; `None` allows every host.
#[derive(Clone, Debug)]
pub(crate) struct AllowedHosts(Option<Arc<[String]>>);

impl AllowedHosts {
    /// The names of this machine for itself, and the host of the public URL.
    pub(crate) fn local(public_host: Option<&str>) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].into_iter().chain(public_host);
        Self(Some(own.map(str::to_ascii_lowercase).collect()))
    }

    /// Every host: the operator has put the server on a network.
    pub(crate) fn any() -> Self {
        Self(None)
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<ApiError> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if !self.allow(text(header::HOST).unwrap_or_default()) {
            let detail = "this server does not go by the name in the Host header; use its own URL";
            return Some(ApiError::new(StatusCode::FORBIDDEN, "host_not_allowed", detail));
        }
        let origin =
            text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
        if origin.is_some_and(|origin| !self.allow(origin)) {
            let detail = "web pages of other sites may not use this server";
            return Some(ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail));
        }
        None
    }

    fn allow(&self, host: &str) -> bool {
        let port = host.rfind(':').filter(|at| !host.get(*at..).unwrap_or_default().contains(']'));
        let name = host.get(..port.unwrap_or(host.len())).unwrap_or_default().to_ascii_lowercase();
        self.0.as_ref().is_none_or(|allowed| allowed.contains(&name))
    }
}

/// Refuses requests whose `Host` is not ours, which is how a page elsewhere would reach this machine through a
/// name of its own (DNS rebinding), and requests whose `Origin` is another site.
impl ValidateRequest<Body> for AllowedHosts {
    type ResponseBody = Body;

    fn validate(&mut self, request: &mut Request) -> Result<(), Response> {
        match self.refusal(request.headers()) {
            Some(refusal) => Err(refusal.into_response()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_allowed() {
        let hosts = AllowedHosts::local(Some("Agents.example"));
        for own in ["localhost", "LOCALHOST:3000", "127.0.0.1:1", "[::1]", "[::1]:3000", "agents.example:443"]
        {
            assert!(hosts.allow(own), "{own}");
        }
        for foreign in
            ["", "evil.example", "localhost.evil.example:3000", "127.0.0.1.evil", "[::2]:3000", "null"]
        {
            assert!(!hosts.allow(foreign), "{foreign}");
        }
        assert!(AllowedHosts::any().allow("anything"));
    }
}
