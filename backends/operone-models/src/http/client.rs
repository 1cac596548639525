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
use rustls::ClientConfig;
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
    pub(crate) fn new(address: Address, headers: HeaderMap, connect_timeout: Duration) -> Result<Self> {
        Ok(Self::with_tls(address, headers, connect_timeout, tls()?))
    }

    fn with_tls(
        address: Address,
        mut headers: HeaderMap,
        connect_timeout: Duration,
        tls: ClientConfig,
    ) -> Self {
        headers.insert(HOST, address.host.clone());
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        Self { address, headers, connector, connect_timeout, pool: Arc::default() }
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
            let (host, port) = (self.address.uri.host().unwrap_or_default(), self.address.uri.port_u16());
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let detail = format!("the model service at {host}{port} cannot be reached{why}");
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

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/certificate/certificate.pem");
    const KEY: &[u8] = include_bytes!("../../tests/certificate/key.pem");

    fn certificate() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
    }

    /// A service behind TLS that takes one connection and answers whatever comes on it. Gives the address.
    async fn service() -> String {
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            config.unwrap().with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
            let mut request = [0; 4096];
            while stream.read(&mut request).await.unwrap_or(0) > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
            }
        });
        format!("https://localhost:{port}/v1")
    }

    fn client(url: &str, trusted: Option<CertificateDer<'_>>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let address = Address::new(url, "chat").unwrap();
        Client::with_tls(address, HeaderMap::new(), Duration::from_secs(5), tls)
    }

    #[tokio::test]
    async fn an_encrypted_connection_is_used_again() {
        let client = client(&service().await, Some(certificate()));
        for _ in 0..3 {
            let mut response = client.post(Bytes::from_static(b"hello")).await.unwrap();
            assert_eq!(response.bytes().await.unwrap().unwrap(), "hi");
            assert_eq!(response.bytes().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_service_that_nobody_vouches_for_is_told_nothing() {
        let client = client(&service().await, None);
        let error = client.post(Bytes::from_static(b"hello")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "model_unavailable"));
        assert!(error.with_causes().to_string().contains("certificate"), "{}", error.with_causes());
    }
}
