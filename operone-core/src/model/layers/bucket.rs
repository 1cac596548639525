//! Tokens that come back with time.

use std::time::Duration;

use tokio::time::Instant;

/// Small enough to make no difference, large enough for what sums of fractions lose.
const ROUNDING: f64 = 1e-6;

/// So many tokens at first and at most, which come back at a steady pace. The level may be below zero.
#[derive(Debug)]
pub(super) struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket of `capacity`, to which `amount` comes back in each `interval`.
    pub(super) fn new(capacity: u64, amount: u64, interval: Duration) -> Self {
        let capacity = capacity.max(1) as f64;
        let interval = interval.max(Duration::from_millis(1));
        let per_second = amount.max(1) as f64 / interval.as_secs_f64();
        Self { capacity, per_second, level: capacity, filled: Instant::now() }
    }

    /// How long it takes until there are `amount`; zero where they are there.
    pub(super) fn wait(&mut self, amount: f64) -> Duration {
        let now = Instant::now();
        let back = now.duration_since(self.filled).as_secs_f64() * self.per_second;
        self.level = (self.level + back).min(self.capacity);
        self.filled = now;
        let missing = amount - self.level;
        if missing <= ROUNDING {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX)
    }

    /// Takes `amount`, also where it is not there.
    pub(super) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }
}
