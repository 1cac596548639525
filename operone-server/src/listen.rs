//! Accepts connections: with a time limit on headers, a limit on connections, and a clean stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const MAX_HEADER: usize = 16 * 1024;
/// The most connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// What the kernel holds for a client that does not read, in bytes.
const SEND_BUFFER: usize = 128 * 1024;
/// After how many milliseconds a client is given up that has taken nothing.
const STALLED: u32 = 30_000;
/// How often the loop below wakes for nothing. A timer that is to end before all others has to wake a thread that
/// sleeps until the next one; those of requests are longer than this one, so that none of them ever has to.
const TICK: Duration = Duration::from_secs(5);
/// How long open requests may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop` ends, then lets open requests finish for at most 10 seconds.
///
/// `axum::serve` knows neither a time limit on headers nor a limit on connections: a client that sends half a
/// header would hold its connection for ever.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => continue,
            accepted = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (listener.accept().await, permit)
            } => accepted,
        };
        let (stream, permit) = match accepted {
            (Ok((stream, _)), Ok(permit)) => (stream, permit),
            (Err(error), _) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Too many open files, for instance: without a pause this would spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            (_, Err(_)) => break,
        };
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "a connection is slower than it could be");
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that were still open are cut off");
    }
}

/// Small answers and events are to leave at once, and a client that does not read is not to be kept long: the kernel
/// holds little for it, and gives it up when it has taken nothing for a while.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    sockopt::set_tcp_user_timeout(stream, STALLED)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}
