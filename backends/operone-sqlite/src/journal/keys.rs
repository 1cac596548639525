//! Keys of repeated requests in the journal's file.

use operone_core::clock::Timestamp;
use operone_core::id::TenantId;
use operone_core::journal::{Reservation, Reserve};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::error::{Failure, corrupt};
use crate::json::{optional_json, to_json};

pub(super) fn reserve(
    db: &Connection,
    tenant: &TenantId,
    reserve: &Reserve,
    now: Timestamp,
) -> Result<Reservation, Failure> {
    let now = now.as_millis();
    db.prepare_cached("DELETE FROM request_keys WHERE created_at < ?1")?
        .execute(params![now.saturating_sub(Reserve::KEPT_FOR)])?;
    let request = reserve.request.to_hex();
    db.prepare_cached(
        "INSERT INTO request_keys (tenant, key, request, seed, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (tenant, key) DO NOTHING",
    )?
    .execute(params![tenant.as_str(), reserve.key, request, reserve.seed.to_string(), now])?;
    let mut statement = db.prepare_cached(
        "SELECT request, seed, held_at, answer FROM request_keys WHERE tenant = ?1 AND key = ?2",
    )?;
    let found = statement
        .query_row(params![tenant.as_str(), reserve.key], |row| {
            let kept: (String, String, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((kept, optional_json(row, 3, "an answer")))
        })
        .optional()?;
    let ((kept, seed, held_at), answer) = found.ok_or_else(|| corrupt("a key"))?;
    if kept != request {
        return Err(Reserve::reused().into());
    }
    if let Some(answer) = answer? {
        return Ok(Reservation::Answered(answer));
    }
    if held_at.is_some_and(|since| now.saturating_sub(since) < Reserve::HELD_FOR) {
        return Err(Reserve::in_use().into());
    }
    db.prepare_cached("UPDATE request_keys SET held_at = ?3 WHERE tenant = ?1 AND key = ?2")?
        .execute(params![tenant.as_str(), reserve.key, now])?;
    Ok(Reservation::Held { seed: seed.parse().map_err(|_| corrupt("a seed"))? })
}

pub(super) fn settle(
    db: &Connection,
    tenant: &TenantId,
    key: &str,
    answer: Option<&Value>,
) -> Result<(), Failure> {
    let answer = answer.map(|answer| to_json(answer, "the answer")).transpose()?;
    db.prepare_cached("UPDATE request_keys SET held_at = NULL, answer = ?3 WHERE tenant = ?1 AND key = ?2")?
        .execute(params![tenant.as_str(), key, answer])?;
    Ok(())
}
