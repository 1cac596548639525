//! The HTTP client: TLS with a provider and roots of its own, no redirects, no proxy.

use std::sync::Arc;
use std::time::Duration;

use operone_core::{Error, ErrorKind, Result};
use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore};

/// A client that waits at most `connect_timeout` for a connection.
pub(crate) fn client(connect_timeout: Duration) -> Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(connect_timeout)
        .user_agent(concat!("operone/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))
}

/// The provider is handed over: another one that is compiled into the program changes nothing.
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
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
