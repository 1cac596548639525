//! Approvals in the journal's file.

use operone_core::clock::Timestamp;
use operone_core::id::{AgentId, ApprovalId, TenantId, WorkId};
use operone_core::journal::{
    Append, Approval, ApprovalFilter, ApprovalReason, Decided, Decision, Lease, NewApproval, Status, Verdict,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{lease, not_found};
use crate::database::integer;
use crate::error::{Failure, corrupt};
use crate::json::{json, to_json};

/// What [`approval_of`] reads, in its order, and whether the run has ended.
const COLUMNS: &str = "approvals.id, work.id, work.agent, step, call_id, tool, inputs, arguments_hash, reason, \
     approvals.created_at, expires_at, verdict, comment, decided_at, work.outcome IS NOT NULL, approvals.number";

pub(super) fn suspend(
    db: &Connection,
    lease: &Lease,
    append: &Append,
    approvals: &[NewApproval],
    now: Timestamp,
) -> Result<Status, Failure> {
    lease::append(db, lease, append, now)?;
    let (number, tenant): (i64, String) = db
        .prepare_cached("SELECT number, tenant FROM work WHERE id = ?1")?
        .query_row(params![lease.work.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO approvals (id, work, tenant, step, call_id, tool, inputs, arguments_hash, reason, created_at,
                                expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING",
    )?;
    let mut decided = db.prepare_cached("SELECT verdict IS NOT NULL FROM approvals WHERE id = ?1")?;
    let (mut first_end, mut is_decided) = (i64::MAX, false);
    for approval in approvals {
        first_end = first_end.min(approval.expires_at.as_millis());
        insert.execute(params![
            approval.id.as_str(),
            number,
            tenant,
            integer(approval.step),
            approval.call_id,
            approval.tool,
            to_json(&approval.inputs, "the inputs")?,
            approval.arguments_hash,
            approval.reason.as_str(),
            now.as_millis(),
            approval.expires_at.as_millis(),
        ])?;
        is_decided |= decided.query_row(params![approval.id.as_str()], |row| row.get::<_, bool>(0))?;
    }
    let (status, due_at) = if is_decided {
        (Status::Queued, None)
    } else {
        (Status::WaitingApproval, Some(Timestamp::from_millis(first_end.saturating_add(1))))
    };
    lease::give_back(db, lease, status, due_at, now)?;
    Ok(status)
}

pub(super) fn list(
    db: &Connection,
    tenant: &TenantId,
    filter: &ApprovalFilter,
    now: Timestamp,
) -> Result<Vec<Approval>, Failure> {
    let after: i64 = match &filter.after {
        None => 0,
        Some(id) => db
            .prepare_cached("SELECT number FROM approvals WHERE id = ?1 AND tenant = ?2")?
            .query_row(params![id.as_str(), tenant.as_str()], |row| row.get(0))
            .optional()?
            .ok_or_else(|| not_found("approval", id))?,
    };
    // The condition on the verdict is spelled out where it holds, so that the index of open ones is used.
    let pending = if filter.pending {
        "AND verdict IS NULL AND expires_at >= ?6 AND work.outcome IS NULL"
    } else {
        "AND ?6 = ?6"
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM approvals JOIN work ON work.number = approvals.work
         WHERE approvals.tenant = ?1 AND approvals.number > ?2 AND (?3 IS NULL OR work.id = ?3)
           AND (?4 IS NULL OR approvals.id = ?4) {pending}
         ORDER BY approvals.number LIMIT ?5"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        tenant.as_str(),
        after,
        filter.work.as_ref().map(|work| work.as_str()),
        filter.id.as_ref().map(|id| id.as_str()),
        integer(filter.limit),
        now.as_millis(),
    ])?;
    let mut approvals = Vec::new();
    while let Some(row) = rows.next()? {
        approvals.push(approval_of(row)?);
    }
    Ok(approvals)
}

pub(super) fn decide(
    db: &Connection,
    tenant: &TenantId,
    id: &ApprovalId,
    decision: Decision,
    now: Timestamp,
) -> Result<Approval, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM approvals JOIN work ON work.number = approvals.work
         WHERE approvals.id = ?1 AND approvals.tenant = ?2"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement
        .query_row(params![id.as_str(), tenant.as_str()], |row| {
            Ok((approval_of(row), row.get::<_, bool>(14)?, row.get::<_, i64>(15)?))
        })
        .optional()?;
    let (approval, run_ended, number) = found.ok_or_else(|| not_found("approval", id))?;
    let mut approval = approval?;
    if !approval.may_be_decided(&decision, run_ended, now)? {
        return Ok(approval);
    }
    db.prepare_cached("UPDATE approvals SET verdict = ?2, comment = ?3, decided_at = ?4 WHERE number = ?1")?
        .execute(params![number, decision.verdict.as_str(), decision.comment, now.as_millis()])?;
    db.prepare_cached(
        "UPDATE work SET status = 'queued', not_before = NULL, updated_at = ?2
         WHERE id = ?1 AND status = 'waiting_approval'",
    )?
    .execute(params![approval.work.as_str(), now.as_millis()])?;
    approval.decided = Some(Decided::new(decision.verdict, decision.comment, now));
    Ok(approval)
}

fn approval_of(row: &Row<'_>) -> Result<Approval, Failure> {
    let text = |column: usize| row.get::<_, String>(column);
    let id = ApprovalId::new(text(0)?).map_err(|_| corrupt("an id"))?;
    let reason = ApprovalReason::parse(&text(8)?).ok_or_else(|| corrupt("a reason"))?;
    let mut new = NewApproval::new(id, row.get(3)?, text(5)?, reason);
    new.call_id = text(4)?;
    new.inputs = json(row, 6, "inputs")?;
    new.arguments_hash = text(7)?;
    new.expires_at = Timestamp::from_millis(row.get(10)?);
    let work = WorkId::new(text(1)?).map_err(|_| corrupt("an id"))?;
    let agent =
        row.get::<_, Option<String>>(2)?.map(AgentId::new).transpose().map_err(|_| corrupt("an id"))?;
    let mut approval = Approval::new(new, work, agent, Timestamp::from_millis(row.get(9)?));
    if let Some(verdict) = row.get::<_, Option<String>>(11)? {
        let verdict = Verdict::parse(&verdict).ok_or_else(|| corrupt("a verdict"))?;
        approval.decided = Some(Decided::new(verdict, row.get(12)?, Timestamp::from_millis(row.get(13)?)));
    }
    Ok(approval)
}
