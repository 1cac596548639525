//! The bundled embedder keeps the promises of its contract.

use std::sync::Arc;

use operone_core::embed::Embedder;

async fn fresh() -> (Arc<dyn Embedder>, ()) {
    (Arc::new(operone_embed::bundled()), ())
}

operone_core::embedder_conformance!(fresh);
