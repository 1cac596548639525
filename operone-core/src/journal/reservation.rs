//! Keys under which clients repeat requests.

use serde_json::Value;
use uuid::Uuid;

use crate::cache::ContentHash;
use crate::error::Error;

/// A key to reserve.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reserve {
    /// The client's key.
    pub key: String,
    /// The hash of the request.
    pub request: ContentHash,
    /// The seed to keep if the key is new.
    pub seed: Uuid,
}

impl Reserve {
    /// How long a key is kept, in milliseconds: a day.
    pub const KEPT_FOR: i64 = 24 * 60 * 60 * 1000;
    /// How long a request that was begun holds its key, in milliseconds: a minute.
    pub const HELD_FOR: i64 = 60 * 1000;

    /// A key to reserve.
    pub fn new(key: impl Into<String>, request: ContentHash, seed: Uuid) -> Self {
        Self { key: key.into(), request, seed }
    }

    /// The error of a key that came with another request.
    pub fn reused() -> Error {
        Error::invalid(
            "this Idempotency-Key came with another request before: take a new key for a new request",
        )
        .with_code("idempotency_key_reused")
    }

    /// The error of a key whose request is being done.
    pub fn in_use() -> Error {
        Error::conflict("the request of this Idempotency-Key is being done: ask again in a moment")
            .with_code("idempotency_key_in_use")
    }
}

/// What a reservation says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reservation {
    /// The request is to be done.
    Held {
        /// Where its new ids come from.
        seed: Uuid,
    },
    /// The request was answered.
    Answered(Value),
}
