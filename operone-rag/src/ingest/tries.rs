//! Tries again what failed for a reason that may pass.

use std::time::Duration;

use operone_core::Result;

use super::DocumentOutcome;

/// How often something that may succeed later is tried before it counts as failed.
const TRIES: u32 = 5;

/// The pause after the first try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// Tries again what failed for a reason that may pass.
pub(super) async fn again<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match call().await {
            Err(error) if error.is_retryable() => tokio::time::sleep(pause).await,
            result => return result,
        }
        pause *= 2;
    }
    call().await
}

/// Like [`again`], also for a document that failed for a reason that may pass.
pub(super) async fn ingest<F: Future<Output = Result<DocumentOutcome>>>(
    mut call: impl FnMut() -> F,
) -> Result<DocumentOutcome> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        let outcome = again(&mut call).await?;
        if !outcome.error.as_ref().is_some_and(|error| error.retryable) {
            return Ok(outcome);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    again(call).await
}
