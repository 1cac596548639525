//! TLS with a provider and roots of its own: what else is compiled into the program changes nothing.

use std::sync::{Arc, OnceLock};

use operone_core::{Error, ErrorKind, Result};
use rustls::{ClientConfig, RootCertStore};

/// The settings; the operating system's certificates are read once.
pub(crate) fn tls() -> Result<ClientConfig> {
    static TLS: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(ready) = TLS.get() {
        return Ok(ready.clone());
    }
    let config = read_certificates()?;
    Ok(TLS.get_or_init(|| config).clone())
}

fn read_certificates() -> Result<ClientConfig> {
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
