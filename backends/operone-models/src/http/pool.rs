//! Connections that are kept to be used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::connection::Connection;

/// The most connections that are kept.
const MOST: usize = 64;
/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(90);
/// How often those are dropped that the service has closed, or that were kept long enough.
const SWEEP: Duration = Duration::from_secs(5);

/// The idle connections to one service.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    /// With the time since when each is idle; the last one is used first.
    connections: Vec<(Instant, Connection)>,
    is_swept: bool,
}

impl Pool {
    /// A connection that was kept, if one is still good.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let (since, mut connection) = self.lock().connections.pop()?;
            if since.elapsed() < KEPT && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection, if it can be used again.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.lock();
        if idle.connections.len() >= MOST {
            return;
        }
        idle.connections.push((Instant::now(), connection));
        if !idle.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.is_swept = true;
            runtime.spawn(Sweep(Arc::downgrade(self)).run());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while there are idle connections.
struct Sweep(Weak<Pool>);

impl Sweep {
    async fn run(mut self) {
        loop {
            sleep(SWEEP).await;
            let Some(pool) = self.0.upgrade() else { return };
            let mut idle = pool.lock();
            idle.connections.retain_mut(|(since, connection)| since.elapsed() < KEPT && connection.is_idle());
            if idle.connections.is_empty() {
                idle.is_swept = false;
                // Whoever puts the next one begins anew, maybe before this is dropped.
                self.0 = Weak::new();
                return;
            }
        }
    }
}

impl Drop for Sweep {
    /// Its runtime may end before the pool does.
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.lock().is_swept = false;
        }
    }
}
