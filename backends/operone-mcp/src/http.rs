//! A server behind a URL: streamable HTTP by a client with this program's own TLS.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use operone_core::{Error, Result};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::FixedInterval;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use rustls::{ClientConfig, RootCertStore};
use sse_stream::Sse;

use crate::config::McpEndpoint;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a page that is no answer is kept for the error's cause, in bytes.
const MAX_ERROR_PAGE: usize = 256;

/// A client that calls servers; its errors hold no URL, which may hold a secret.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(Client);

impl HttpClient {
    /// Reads the operating system's trusted certificates; calls nobody.
    pub(crate) fn new() -> Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Another crate of the program may have switched these on: what is small on the wire is then large in memory.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("operone/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))?;
        Ok(Self(client))
    }

    /// A transport to the endpoint, whose messages are at most so many bytes long.
    pub(crate) fn transport(
        &self,
        endpoint: &McpEndpoint,
        max_message: usize,
    ) -> StreamableHttpClientTransport<Self> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(endpoint.url.as_str())
            .max_sse_event_size(max_message)
            .max_json_response_size(max_message)
            .max_error_response_size(MAX_ERROR_PAGE);
        let mut retry = FixedInterval::default();
        retry.max_times = Some(3);
        config.retry_config = Arc::new(retry);
        config.auth_header.clone_from(&endpoint.bearer);
        StreamableHttpClientTransport::with_client(self.clone(), config)
    }
}

/// TLS with the operating system's certificates. The provider is handed over: another one that is compiled into the
/// program changes nothing.
fn tls() -> Result<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a trusted certificate cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS cannot be set up").with_source(error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

type Failure = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

fn without_url(error: Failure) -> Failure {
    match error {
        StreamableHttpError::Client(error) => StreamableHttpError::Client(error.without_url()),
        error => error,
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        url: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        bearer: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.0.post_message(url, message, session, bearer, headers).await.map_err(without_url)
    }

    async fn post_message_with_response_limits(
        &self,
        url: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        bearer: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let answer = self.0.post_message_with_response_limits(url, message, session, bearer, headers, limits);
        answer.await.map_err(without_url)
    }

    async fn delete_session(
        &self,
        url: Arc<str>,
        session: Arc<str>,
        bearer: Option<String>,
        headers: Headers,
    ) -> Result<(), Failure> {
        self.0.delete_session(url, session, bearer, headers).await.map_err(without_url)
    }

    async fn get_stream(
        &self,
        url: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        bearer: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        self.0.get_stream(url, session, last_event, bearer, headers).await.map_err(without_url)
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        url: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        bearer: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        let client = &self.0;
        let events = client
            .get_stream_with_max_sse_event_size(url, session, last_event, bearer, headers, max_event)
            .await
            .map_err(without_url)?;
        Ok(events)
    }
}
