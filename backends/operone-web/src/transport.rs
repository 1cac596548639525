//! The HTTP client under the guard: own resolver, own trust, no redirects, no proxy.

use std::sync::Arc;
use std::time::Duration;

use operone_core::{Error, Result};
use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore};

use crate::guard::Guard;

/// The longest wait for a connection, the resolving of the name included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that connects where `guard` resolves to. Hosts that are addresses do not pass the guard here: check
/// them before.
pub(crate) fn client(guard: Guard, tls: ClientConfig) -> Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(guard))
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
        .map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))
}

/// TLS with the operating system's certificates. The provider is handed over: another one that is compiled into the
/// program changes nothing.
pub(crate) fn tls() -> Result<ClientConfig> {
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
