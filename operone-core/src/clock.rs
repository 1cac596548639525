//! Time: milliseconds since 1970 in UTC, from a clock that tests and simulations replace.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `millis` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This point plus `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(0).plus(after),
            Err(before) => {
                Self(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis))
            }
        }
    }
}

impl fmt::Display for Timestamp {
    /// ISO 8601 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A span of time whose ends both belong to it: what an ISO 8601 date or time names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first millisecond.
    pub first: Timestamp,
    /// The last millisecond.
    pub last: Timestamp,
}

impl Period {
    /// Reads an ISO 8601 date, which covers its whole UTC day, or a time. A time without an offset is UTC.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::at(timestamp.as_millisecond()));
        }
        let wrong = || {
            Error::invalid(format!(
                "'{text}' is no ISO 8601 date or time such as 2023-01-31 or 2023-01-31T09:00:00Z"
            ))
            .with_code("invalid_date")
        };
        let in_utc = |moment: jiff::civil::DateTime| {
            moment
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map(|zoned| zoned.timestamp().as_millisecond())
                .map_err(|_| wrong())
        };
        if text.contains(['T', 't', ' ']) {
            return Ok(Self::at(in_utc(text.parse().map_err(|_| wrong())?)?));
        }
        let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
        let first = in_utc(day.at(0, 0, 0, 0))?;
        Ok(Self { first: Timestamp(first), last: Timestamp(first + 86_400_000 - 1) })
    }

    fn at(millis: i64) -> Self {
        Self { first: Timestamp(millis), last: Timestamp(millis) }
    }
}

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millis()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let now = self.now().plus(by);
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_date_covers_its_whole_day() {
        let day = Period::parse("2023-01-31").unwrap();
        assert_eq!(day.first.to_string(), "2023-01-31T00:00:00Z");
        assert_eq!(day.last.to_string(), "2023-01-31T23:59:59.999Z");
    }

    #[test]
    fn a_time_with_an_offset_is_moved_to_utc() {
        let time = Period::parse("2023-01-31T01:00:00+05:30").unwrap();
        assert_eq!((time.first, time.first.to_string()), (time.last, "2023-01-30T19:30:00Z".into()));
        assert_eq!(Period::parse("2023-01-31T01:00:00").unwrap().first.to_string(), "2023-01-31T01:00:00Z");
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in ["", "yesterday", "2023-13-01", "2023-02-30", "31.01.2023"] {
            assert_eq!(Period::parse(wrong).unwrap_err().code(), "invalid_date", "{wrong}");
        }
    }
}
