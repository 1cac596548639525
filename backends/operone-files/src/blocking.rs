//! Blocking work beside the runtime, which stops when nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use operone_core::{Error, ErrorKind, Result};

/// Tells blocking work that its result is no longer wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// An error once nobody waits any more.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "nobody waits for the file any more"));
        }
        Ok(())
    }
}

/// Stops the work when it is dropped.
struct Waiting(Stop);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread for blocking work.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let stop = Stop::default();
    let waiting = Waiting(stop.clone());
    let result = tokio::task::spawn_blocking(move || work(&stop)).await;
    drop(waiting);
    result.unwrap_or_else(|error| Err(Error::internal("the file work broke off").with_source(error)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_stops() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let work = run(move |stop| {
            while stop.check().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            sender.send(()).map_err(|_| Error::internal("the test is gone"))
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), work).await.is_err());
        let stopped = tokio::task::spawn_blocking(move || receiver.recv_timeout(Duration::from_secs(10)));
        assert!(stopped.await.unwrap().is_ok());
    }
}
