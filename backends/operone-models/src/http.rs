//! The HTTP client: TLS with a provider and roots of its own, no redirects, no proxy.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use operone_core::{Error, ErrorKind, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Secret;

/// What an error calls the key.
const KEY: &str = "the key of the model service";

/// A client that waits at most `connect_timeout` for a connection.
pub(crate) fn client(connect_timeout: Duration) -> Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        // Another crate of the program may have switched these on: what is small on the wire is then large in memory.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .connect_timeout(connect_timeout)
        .user_agent(concat!("operone/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))
}

/// The address of a route below that of the service.
pub(crate) fn address(base_url: &str, route: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::invalid(format!("the model service's address {why}")).with_code("invalid_base_url")
    };
    let (base, query) =
        base_url.split_once('?').map_or((base_url, None), |(base, query)| (base, Some(query)));
    let address = format!("{}/{route}", base.trim_end_matches('/'));
    let mut address =
        Url::parse(&address).map_err(|_| wrong("is no URL such as http://localhost:8080/v1"))?;
    if !matches!(address.scheme(), "http" | "https") || address.host_str().is_none_or(str::is_empty) {
        return Err(wrong("must begin with http:// or https:// and a host"));
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Err(wrong("must hold no user or password: give the key by itself"));
    }
    if query.is_some() {
        address.set_query(query);
    }
    Ok(address)
}

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

/// The provider is handed over: another one that is compiled into the program changes nothing. The certificates are
/// read once.
fn tls() -> Result<ClientConfig> {
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
