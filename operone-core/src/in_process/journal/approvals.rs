//! Approvals of an in-process journal.

use super::state::State;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ApprovalId, TenantId};
use crate::journal::{Append, Approval, ApprovalFilter, Decided, Decision, Lease, NewApproval, Status};

pub(super) fn suspend(
    state: &mut State,
    lease: &Lease,
    append: Append,
    approvals: Vec<NewApproval>,
    now: Timestamp,
) -> Result<Status> {
    let entry = state.leased(lease)?;
    entry.append(append, now)?;
    let (tenant, agent) = (entry.work.new.tenant.clone(), entry.work.new.agent.clone());
    let mut first_end = Timestamp::from_millis(i64::MAX);
    let mut decided = false;
    for new in approvals {
        first_end = first_end.min(new.expires_at);
        match state.approval(&tenant, &new.id) {
            Ok(place) => {
                decided |= state.approvals.get(&place).is_some_and(|(_, known)| known.decided.is_some());
            }
            Err(_) => {
                let place = state.next_number();
                let approval = Approval::new(new, lease.work.clone(), agent.clone(), now);
                state.approvals.insert(place, (tenant.clone(), approval));
            }
        }
    }
    let (status, due_at) = if decided {
        (Status::Queued, Timestamp::from_millis(i64::MIN))
    } else {
        (Status::WaitingApproval, first_end.plus(std::time::Duration::from_millis(1)))
    };
    state.leased(lease)?.give_back(status, due_at);
    Ok(status)
}

pub(super) fn list(
    state: &State,
    tenant: &TenantId,
    filter: &ApprovalFilter,
    now: Timestamp,
) -> Result<Vec<Approval>> {
    let begin =
        filter.after.as_ref().map_or(Ok(0), |id| state.approval(tenant, id).map(|place| place + 1))?;
    let fits = |approval: &&Approval| {
        filter.work.as_ref().is_none_or(|work| approval.work == *work)
            && filter.id.as_ref().is_none_or(|id| approval.new.id == *id)
            && (!filter.pending || state.is_pending(approval, now))
    };
    let of_tenant = state.approvals.range(begin..).filter(|(_, (owner, _))| owner == tenant);
    Ok(of_tenant.map(|(_, (_, approval))| approval).filter(fits).take(filter.limit).cloned().collect())
}

pub(super) fn decide(
    state: &mut State,
    tenant: &TenantId,
    id: &ApprovalId,
    decision: Decision,
    now: Timestamp,
) -> Result<Approval> {
    let place = state.approval(tenant, id)?;
    let missing = || Error::not_found(format!("there is no approval {id}"));
    let (_, approval) = state.approvals.get(&place).ok_or_else(missing)?;
    let ended = state.work.get(&approval.work).is_none_or(|entry| entry.work.status.is_terminal());
    if !approval.may_be_decided(&decision, ended, now)? {
        return Ok(approval.clone());
    }
    let (_, approval) = state.approvals.get_mut(&place).ok_or_else(missing)?;
    approval.decided = Some(Decided::new(decision.verdict, decision.comment, now));
    let decided = approval.clone();
    if let Some(entry) = state.work.get_mut(&decided.work)
        && entry.work.status == Status::WaitingApproval
    {
        entry.work.status = Status::Queued;
        entry.work.updated_at = now;
        entry.due_at = Timestamp::from_millis(i64::MIN);
    }
    Ok(decided)
}
