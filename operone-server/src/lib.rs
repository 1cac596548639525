//! The HTTP server of Operone: a router over the contracts of `operone-core`, and what is needed to serve it.
//!
//! The program `operone-server` is thin. A program of yours can serve the same routes on a listener of its own:
//!
//! ```no_run
//! use operone_server::{Config, Listeners, assemble, serve};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::local("operone-data", "/usr/local/bin/operone-server");
//! let parts = assemble(&config, tokio::runtime::Handle::current()).await?;
//! let public = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! serve(Listeners { public, internal: None }, parts, std::future::pending()).await;
//! # Ok(()) }
//! ```
//!
//! Or nest [`router`] in an axum app, with [`Parts::start_workers`] and [`Parts::shutdown`] around it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backends;
mod capabilities;
mod cli;
mod config;
mod databases;
mod embedder;
mod error;
mod extract;
mod guard;
mod idempotency;
mod info;
mod limits;
mod listen;
mod mcp;
mod models;
mod parts;
mod process;
mod program;
mod request_id;
mod routes;
mod sse;
mod wire;

pub mod parse;

pub use backends::assemble;
pub use cli::{
    EvalArguments, IngestArguments, ModelsArguments, QueryArguments, ReembedArguments, Task, run_task,
};
pub use config::{Arguments, Command, Config, DatabaseConfig};
pub use parts::Parts;
pub use process::run_worker;
pub use program::{check, serve_until_stopped};
pub use routes::{internal_router, router};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where to listen.
#[derive(Debug)]
pub struct Listeners {
    /// For the public routes.
    pub public: TcpListener,
    /// For the internal routes, with the token they ask for; `None` puts them beside the public ones, which only
    /// the local default may do.
    pub internal: Option<(TcpListener, String)>,
}

/// Serves until `stop` ends; then streams end, open requests finish, and the background workers give back their
/// leases.
pub async fn serve(listeners: Listeners, parts: Parts, stop: impl Future<Output = ()>) {
    parts.start_workers();
    let stopping = CancellationToken::new();
    let public = match &listeners.internal {
        None => router(parts.clone()).merge(internal_router(parts.clone(), None)),
        Some(_) => router(parts.clone()),
    };
    let internal = async {
        if let Some((listener, token)) = listeners.internal {
            let router = internal_router(parts.clone(), Some(token));
            listen::serve(listener, router, stopping.clone()).await;
        }
    };
    let stopped = async {
        stop.await;
        // Streams watch this token: they end before the connections are drained.
        parts.background.stop.cancel();
        stopping.cancel();
    };
    tokio::join!(listen::serve(listeners.public, public, stopping.clone()), internal, stopped);
    parts.shutdown().await;
}
