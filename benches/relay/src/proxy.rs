//! The bare proxy that Operone is compared with: it passes bytes on and does nothing else.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use reqwest::{Client, Url};

use crate::Failure;

pub(crate) fn router(upstream: &str) -> Result<Router, Failure> {
    // It is plain HTTP here, but a client wants to know how it would speak TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = Url::parse(&format!("{upstream}/v1/chat/completions"))?;
    let client = Client::builder().no_proxy().build()?;
    let pass_on = move |body: Bytes| pass_on(client.clone(), address.clone(), body);
    Ok(Router::new().route("/v1/chat/completions", post(pass_on)))
}

async fn pass_on(client: Client, address: Url, body: Bytes) -> Response {
    let request = client.post(address).header(CONTENT_TYPE, "application/json").body(body);
    match request.send().await {
        Ok(answer) => {
            let status = answer.status();
            let content_type = answer.headers().get(CONTENT_TYPE).cloned();
            let headers = content_type.map(|value| [(CONTENT_TYPE, value)]);
            (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
