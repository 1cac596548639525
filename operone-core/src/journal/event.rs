//! Events: what is appended, and what is read back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;

/// A number of an event within its work: dense, from 1. Zero is before the first.
pub type Seq = u64;

/// What to append.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Append {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// What replaces the snapshot.
    pub snapshot: Option<Value>,
    /// Whether it is to be written only while nobody asked for the end of the work.
    pub unless_cancelled: bool,
}

impl Append {
    /// Appends events.
    pub fn new(events: Vec<NewEvent>) -> Self {
        Self { events, snapshot: None, unless_cancelled: false }
    }

    /// Replaces the snapshot.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Value) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    /// Writes only while nobody asked for the end of the work.
    #[must_use]
    pub fn unless_cancelled(mut self) -> Self {
        self.unless_cancelled = true;
        self
    }
}

/// How much to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// At most so many events.
    pub limit: usize,
    /// At most so many bytes of payload, as JSON; the first event is given whatever its size.
    pub bytes: usize,
}

impl Page {
    /// At most `limit` events of any size.
    pub fn of(limit: usize) -> Self {
        Self { limit, bytes: usize::MAX }
    }

    /// Sets the most bytes of payload.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// What an append tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The number of the last event.
    pub last_seq: Seq,
    /// Whether the end of the work was asked for.
    pub cancel_requested: bool,
}

impl Appended {
    /// What an append tells.
    pub fn new(last_seq: Seq, cancel_requested: bool) -> Self {
        Self { last_seq, cancel_requested }
    }
}

/// An event to append.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewEvent {
    /// What happened, for instance `step_end`.
    pub kind: String,
    /// What else there is to know: an object.
    pub payload: Value,
}

impl NewEvent {
    /// An event to append.
    pub fn new(kind: impl Into<String>, payload: Value) -> Self {
        Self { kind: kind.into(), payload }
    }
}

/// An event of a run or job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JournalEvent {
    /// Its number.
    pub seq: Seq,
    /// When it was appended.
    pub time: Timestamp,
    /// What happened.
    pub event: NewEvent,
}

impl JournalEvent {
    /// An event with its number.
    pub fn new(seq: Seq, time: Timestamp, event: NewEvent) -> Self {
        Self { seq, time, event }
    }
}
