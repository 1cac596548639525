//! How often something that fails is tried, and how long to wait in between.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::error::Error;

/// How often something that fails is tried, and how long to wait in between: after each failure twice as long as after
/// the one before, less a random part, so that callers that failed together do not come back together.
///
/// ```
/// use std::time::Duration;
/// use operone_core::backoff::Backoff;
/// use operone_core::{Error, ErrorKind};
///
/// let backoff = Backoff::default().with_delay(Duration::from_secs(1)).with_jitter(0.0);
/// let gone = Error::new(ErrorKind::Unavailable, "nobody is there");
/// assert_eq!(backoff.wait(1, &gone), Some(Duration::from_secs(1)));
/// assert_eq!(backoff.wait(2, &gone), Some(Duration::from_secs(2)));
/// assert_eq!(backoff.wait(3, &gone), None, "three tries are enough");
/// assert_eq!(backoff.wait(1, &Error::invalid("wrong")), None, "it stays wrong");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The most tries, the first one among them; three by default, and at least one.
    pub tries: u32,
    /// The wait after the first failure; half a second by default.
    pub delay: Duration,
    /// The longest wait; 30 seconds by default. Whoever asks for a longer one is not asked again.
    pub max_wait: Duration,
    /// The largest part of a wait that chance takes off, from 0 to 1; a half by default.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { tries: 3, delay: Duration::from_millis(500), max_wait: Duration::from_secs(30), jitter: 0.5 }
    }
}

impl Backoff {
    /// Sets the most tries.
    #[must_use]
    pub fn with_tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// Sets the wait after the first failure.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets the longest wait.
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Sets the largest part of a wait that chance takes off.
    #[must_use]
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long to wait after so many failed tries, the last of them with `error`; `None` if there is no use in
    /// another.
    ///
    /// What the other side asked for ([`Error::retry_after`]) is waited to the full.
    pub fn wait(&self, tries: u32, error: &Error) -> Option<Duration> {
        if tries >= self.tries || !error.is_retryable() {
            return None;
        }
        if let Some(after) = error.retry_after() {
            return Some(after).filter(|after| *after <= self.max_wait);
        }
        let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
        let whole = self.delay.saturating_mul(doubled).min(self.max_wait);
        let left = 1.0 - self.jitter.clamp(0.0, 1.0) * random_share();
        Some(Duration::try_from_secs_f64(whole.as_secs_f64() * left).unwrap_or(whole))
    }
}

/// A number in [0, 1].
fn random_share() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_wait_is_no_longer_than_the_longest() {
        let backoff = Backoff::default().with_tries(u32::MAX).with_jitter(0.0);
        let gone = Error::new(ErrorKind::Unavailable, "gone");
        for tries in [7, 40, u32::MAX - 1] {
            assert_eq!(backoff.wait(tries, &gone), Some(Duration::from_secs(30)));
        }
    }

    #[test]
    fn chance_takes_off_no_more_than_its_part() {
        let backoff = Backoff::default().with_delay(Duration::from_secs(8));
        let gone = Error::new(ErrorKind::Unavailable, "gone");
        let waits: Vec<Duration> = (0..64).filter_map(|_| backoff.wait(1, &gone)).collect();
        assert_eq!(waits.len(), 64);
        assert!(waits.iter().all(|wait| (4.0..=8.0).contains(&wait.as_secs_f64())), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "all waits are the same");
        for (jitter, longest) in [(f64::NAN, Duration::ZERO), (-1.0, Duration::MAX), (9.0, Duration::MAX)] {
            let odd = Backoff::default().with_delay(longest).with_max_wait(longest).with_jitter(jitter);
            assert!(odd.wait(1, &gone).is_some(), "{jitter}");
        }
    }

    #[test]
    fn what_the_other_side_asks_for_is_heeded_up_to_the_longest_wait() {
        let backoff = Backoff::default();
        let asked = |seconds| {
            Error::new(ErrorKind::RateLimited, "slower").with_retry_after(Duration::from_secs(seconds))
        };
        assert_eq!(backoff.wait(1, &asked(30)), Some(Duration::from_secs(30)));
        assert_eq!(backoff.wait(1, &asked(31)), None);
    }
}
