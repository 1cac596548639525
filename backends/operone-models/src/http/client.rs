//! Sends requests to one route of a service: no redirects, no proxy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use operone_core::{Error, ErrorKind, Result};
use tokio::time::timeout;
use tower::ServiceExt;

use super::address::Address;
use super::connection::Connection;
use super::pool::Pool;
use super::response::Response;
use super::tls::tls;

/// When the operating system asks an idle peer whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: Address,
    headers: HeaderMap,
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    pool: Arc<Pool>,
}

impl Client {
    /// A client that sends these headers with each request, and waits at most `connect_timeout` for a connection. Calls
    /// nobody.
    pub(crate) fn new(address: Address, mut headers: HeaderMap, connect_timeout: Duration) -> Result<Self> {
        headers.insert(HOST, address.host.clone());
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls()?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { address, headers, connector, connect_timeout, pool: Arc::default() })
    }

    /// Sends a body and waits for the head of the answer. A service may close a connection that was kept at the moment
    /// it is used again: then the request goes out once more, on a new one.
    pub(crate) async fn post(&self, body: Bytes) -> Result<Response> {
        if let Some(kept) = self.pool.take() {
            match self.exchange(kept, body.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => tracing::debug!(error = %error.with_causes(), "a kept connection was closed"),
            }
        }
        // It is large and seldom needed.
        let new = Box::pin(self.connect()).await?;
        self.exchange(new, body).await
    }

    async fn exchange(&self, mut connection: Connection, body: Bytes) -> Result<Response> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.target.clone();
        *request.headers_mut() = self.headers.clone();
        let response = connection.send(request).await?;
        Ok(Response::new(response, connection, Arc::clone(&self.pool)))
    }

    async fn connect(&self) -> Result<Connection> {
        let unreachable = |why: &str| {
            let detail = format!("the model service cannot be reached{why}");
            Error::new(ErrorKind::Unavailable, detail).with_code("model_unavailable")
        };
        let connecting = self.connector.clone().oneshot(self.address.uri.clone());
        let socket = timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| unreachable(&format!(" within {:?}", self.connect_timeout)))?
            .map_err(|error| unreachable("").with_source(error))?;
        Connection::new(socket).await
    }
}
