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
        let was_swept = std::mem::replace(&mut idle.is_swept, true);
        drop(idle);
        if !was_swept {
            let sweep = Sweep(Arc::downgrade(self));
            if let Ok(runtime) = Handle::try_current() {
                // A runtime that ends drops it at once, and that takes the lock.
                runtime.spawn(sweep.run());
            }
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

#[cfg(test)]
mod tests {
    use hyper_rustls::MaybeHttpsStream;
    use hyper_util::rt::TokioIo;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::pause;

    use super::*;

    /// A connection that can take a request, and its other end.
    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let stream = MaybeHttpsStream::Http(TokioIo::new(near.unwrap()));
        (Connection::new(stream).await.unwrap(), far.unwrap().0)
    }

    /// Gives its connection back when the task that holds it is dropped.
    struct Held(Arc<Pool>, Option<Connection>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.put(self.1.take().unwrap());
        }
    }

    #[test]
    fn a_connection_is_put_back_while_its_runtime_ends() {
        let pool = Arc::<Pool>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (near, _far) = runtime.block_on(connection());
        let held = Held(Arc::clone(&pool), Some(near));
        runtime.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        let idle = pool.lock();
        assert_eq!((idle.connections.len(), idle.is_swept), (1, false));
    }

    #[tokio::test]
    async fn what_the_service_closes_is_swept_out() {
        let pool = Arc::new(Pool::default());
        let ((first, far), (second, other_far)) = (connection().await, connection().await);
        pool.put(first);
        pool.put(second);
        pause();
        let swept = async |count| {
            // Time passes at once here, whenever there is nothing else to do.
            sleep(SWEEP * 3).await;
            let idle = pool.lock();
            assert_eq!((idle.connections.len(), idle.is_swept), (count, count > 0));
        };
        swept(2).await;
        drop(far);
        swept(1).await;
        drop(other_far);
        swept(0).await;
        assert!(pool.take().is_none());
        let (third, _far) = connection().await;
        pool.put(third);
        assert!(pool.lock().is_swept, "it begins anew");
        assert!(pool.take().is_some());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_the_most() {
        let pool = Arc::new(Pool::default());
        let mut far = Vec::new();
        for _ in 0..MOST + 2 {
            let (connection, end) = connection().await;
            pool.put(connection);
            far.push(end);
        }
        assert_eq!(pool.lock().connections.len(), MOST);
    }

    #[test]
    fn a_runtime_that_ends_takes_the_sweep_with_it() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = Arc::new(Pool::default());
        for _ in 0..2 {
            let runtime = runtime();
            let _far = runtime.block_on(async {
                let (connection, far) = connection().await;
                pool.put(connection);
                assert!(pool.lock().is_swept);
                far
            });
            drop(runtime);
            assert!(!pool.lock().is_swept);
        }
        // Their sockets belonged to runtimes that are gone.
        assert!(pool.take().is_none());
    }
}
