//! Keys of repeated requests in an in-process journal.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use crate::cache::ContentHash;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::TenantId;
use crate::journal::{Reservation, Reserve};

/// A reserved key.
#[derive(Debug)]
pub(super) struct Key {
    request: ContentHash,
    seed: Uuid,
    created_at: Timestamp,
    held_at: Option<Timestamp>,
    answer: Option<Value>,
}

pub(super) fn reserve(
    keys: &mut HashMap<(TenantId, String), Key>,
    tenant: &TenantId,
    reserve: Reserve,
    now: Timestamp,
) -> Result<Reservation> {
    let age = |since: Timestamp| now.as_millis().saturating_sub(since.as_millis());
    keys.retain(|_, key| age(key.created_at) <= Reserve::KEPT_FOR);
    let key = keys.entry((tenant.clone(), reserve.key)).or_insert(Key {
        request: reserve.request,
        seed: reserve.seed,
        created_at: now,
        held_at: None,
        answer: None,
    });
    if key.request != reserve.request {
        return Err(Reserve::reused());
    }
    if let Some(answer) = &key.answer {
        return Ok(Reservation::Answered(answer.clone()));
    }
    if key.held_at.is_some_and(|since| age(since) < Reserve::HELD_FOR) {
        return Err(Reserve::in_use());
    }
    key.held_at = Some(now);
    Ok(Reservation::Held { seed: key.seed })
}

pub(super) fn settle(
    keys: &mut HashMap<(TenantId, String), Key>,
    tenant: &TenantId,
    key: &str,
    answer: Option<Value>,
) {
    if let Some(key) = keys.get_mut(&(tenant.clone(), key.to_owned())) {
        key.held_at = None;
        key.answer = answer;
    }
}
