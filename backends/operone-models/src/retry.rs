//! How long to wait before a request is tried again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use operone_core::Error;

use crate::config::ServiceConfig;

/// How often a request is tried.
const MAX_TRIES: u32 = 3;

/// The longest wait between two tries. A service that asks for more is not asked again.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How long to wait after so many failed tries; `None` if there is no use in another.
pub(crate) fn wait(config: &ServiceConfig, tries: u32, error: &Error) -> Option<Duration> {
    if tries >= MAX_TRIES || !error.is_retryable() {
        return None;
    }
    let wait = error.retry_after().unwrap_or_else(|| {
        let whole = config.retry_delay.saturating_mul(1 << (tries - 1));
        whole.mul_f64(1.0 - 0.5 * random_share())
    });
    Some(wait).filter(|wait| *wait <= MAX_WAIT)
}

/// A number in [0, 1], so that clients that failed together do not come back together.
fn random_share() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
