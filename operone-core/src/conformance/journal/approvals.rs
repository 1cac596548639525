//! The promises about approvals: work that waits for a person.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{
    LONG, SHORT, agent, agent_id, all_events, assert_lost, assert_refused, claim, claimed, events, running,
    status, work, work_id,
};
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::id::{ApprovalId, TenantId};
use crate::journal::{
    Append, ApprovalFilter, ApprovalReason, Claimed, Decision, Journal, NewApproval, Status, Verdict,
};

fn approval_id(id: u32) -> ApprovalId {
    ApprovalId::new(format!("apr-{id}")).unwrap()
}

/// An approval that is open for so long.
fn approval(id: u32, open_for: Duration) -> NewApproval {
    let mut approval = NewApproval::new(approval_id(id), 2, "mail.send", ApprovalReason::Tainted);
    approval.call_id = format!("call-{id}");
    approval.inputs = json!({"to": "ada"});
    approval.arguments_hash = format!("hash {id}");
    approval.expires_at = SystemClock.now().plus(open_for);
    approval
}

/// Queues work 1, leases it, and suspends it for these approvals.
async fn suspended(journal: &dyn Journal, approvals: Vec<NewApproval>) -> Claimed {
    let first = running(journal).await;
    let append = Append::new(events(0..1)).with_snapshot(json!("waiting"));
    let status = journal.suspend(&first.lease, append, approvals).await.unwrap();
    assert_eq!(status, Status::WaitingApproval);
    first
}

async fn pending(journal: &dyn Journal) -> Vec<ApprovalId> {
    let approvals = journal.approvals(&TenantId::local(), ApprovalFilter::pending(100)).await.unwrap();
    approvals.into_iter().map(|approval| approval.new.id).collect()
}

async fn decide(journal: &dyn Journal, id: u32, verdict: Verdict) -> crate::Result<crate::journal::Approval> {
    journal.decide(&TenantId::local(), &approval_id(id), Decision::new(verdict)).await
}

/// Suspended work keeps its events and snapshot, gives its lease and attempt back, and is not due.
pub(super) async fn suspended_work_waits_for_a_decision(journal: Arc<dyn Journal>) {
    let first = suspended(journal.as_ref(), vec![approval(1, LONG), approval(2, LONG)]).await;
    let stored = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_eq!(
        (stored.status, stored.attempts, stored.snapshot),
        (Status::WaitingApproval, 0, Some(json!("waiting")))
    );
    assert_eq!(all_events(journal.as_ref(), 1).await.len(), 1);
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    assert_lost(journal.append(&first.lease, Append::new(events(1..2))).await);
    assert_eq!(pending(journal.as_ref()).await, [approval_id(1), approval_id(2)]);
    let listed = journal.approvals(&TenantId::local(), ApprovalFilter::one(approval_id(1))).await.unwrap();
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    let asked = approval(1, LONG);
    assert_eq!((&listed.new.inputs, &listed.new.arguments_hash), (&asked.inputs, &asked.arguments_hash));
    assert_eq!((&listed.new.call_id, listed.new.step, listed.new.reason), (&asked.call_id, 2, asked.reason));
    assert_eq!((&listed.work, &listed.agent, &listed.decided), (&work_id(1), &None, &None));
}

/// A decision makes the work due, and is read back.
pub(super) async fn a_decision_makes_the_work_due(journal: Arc<dyn Journal>) {
    suspended(journal.as_ref(), vec![approval(1, LONG), approval(2, LONG)]).await;
    let decision = Decision::new(Verdict::Deny).with_comment("not today");
    let decided = journal.decide(&TenantId::local(), &approval_id(2), decision).await.unwrap();
    let decided = decided.decided.unwrap();
    assert_eq!((decided.verdict, decided.comment.as_deref()), (Verdict::Deny, Some("not today")));
    assert_eq!(status(journal.as_ref(), 1).await, Status::Queued);
    let again = claimed(journal.as_ref(), LONG).await;
    assert_eq!((again.work.attempts, again.work.snapshot), (1, Some(json!("waiting"))));
    let listed = journal.approvals(&TenantId::local(), ApprovalFilter::of(work_id(1))).await.unwrap();
    assert_eq!(listed.iter().map(|approval| approval.decided.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(pending(journal.as_ref()).await, [approval_id(1)]);
}

/// The first decision stands; the same verdict again is taken, the other is refused.
pub(super) async fn the_first_decision_stands(journal: Arc<dyn Journal>) {
    suspended(journal.as_ref(), vec![approval(1, LONG)]).await;
    let first = decide(journal.as_ref(), 1, Verdict::Approve).await.unwrap();
    assert_eq!(decide(journal.as_ref(), 1, Verdict::Approve).await.unwrap(), first);
    assert_refused(decide(journal.as_ref(), 1, Verdict::Deny).await, ErrorKind::Conflict, "already_decided");
}

/// A decision about other arguments than those asked about is refused and decides nothing.
pub(super) async fn a_decision_is_bound_to_the_arguments(journal: Arc<dyn Journal>) {
    suspended(journal.as_ref(), vec![approval(1, LONG)]).await;
    let about = |hash: &str| Decision::new(Verdict::Approve).with_arguments_hash(hash);
    let refused = journal.decide(&TenantId::local(), &approval_id(1), about("other")).await;
    assert_refused(refused, ErrorKind::Conflict, "arguments_changed");
    assert_eq!(status(journal.as_ref(), 1).await, Status::WaitingApproval);
    journal.decide(&TenantId::local(), &approval_id(1), about("hash 1")).await.unwrap();
}

/// The first approval to expire makes the work due; it can not be decided any more.
pub(super) async fn an_expired_approval_makes_the_work_due(journal: Arc<dyn Journal>) {
    suspended(journal.as_ref(), vec![approval(1, LONG), approval(2, SHORT)]).await;
    tokio::time::sleep(SHORT * 3).await;
    assert_refused(
        decide(journal.as_ref(), 2, Verdict::Approve).await,
        ErrorKind::Conflict,
        "approval_expired",
    );
    assert_eq!(pending(journal.as_ref()).await, [approval_id(1)]);
    claimed(journal.as_ref(), LONG).await;
}

/// What was decided while the work ran is not missed when it suspends again, and what was asked before stays.
pub(super) async fn a_decision_is_not_missed_by_work_that_suspends_again(journal: Arc<dyn Journal>) {
    suspended(journal.as_ref(), vec![approval(1, LONG), approval(2, LONG)]).await;
    decide(journal.as_ref(), 1, Verdict::Approve).await.unwrap();
    let second = claimed(journal.as_ref(), LONG).await;
    decide(journal.as_ref(), 2, Verdict::Deny).await.unwrap();
    assert_eq!(status(journal.as_ref(), 1).await, Status::Running, "a decision takes no lease away");
    let again = journal.suspend(&second.lease, Append::default(), vec![approval(2, LONG)]).await.unwrap();
    assert_eq!(again, Status::Queued);
    let listed = journal.approvals(&TenantId::local(), ApprovalFilter::of(work_id(1))).await.unwrap();
    assert_eq!(listed.len(), 2);
    claimed(journal.as_ref(), LONG).await;
}

/// Approvals belong to a tenant and come in pages.
pub(super) async fn approvals_are_listed_by_tenant_and_in_pages(journal: Arc<dyn Journal>) {
    let approvals = (1..=5).map(|id| approval(id, LONG)).collect();
    suspended(journal.as_ref(), approvals).await;
    let other = TenantId::new("other").unwrap();
    assert!(journal.approvals(&other, ApprovalFilter::all(10)).await.unwrap().is_empty());
    let decision = Decision::new(Verdict::Approve);
    assert_refused(journal.decide(&other, &approval_id(1), decision).await, ErrorKind::NotFound, "not_found");
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let filter = ApprovalFilter::pending(2).with_after(after.clone());
        let page = journal.approvals(&TenantId::local(), filter).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.new.id.clone());
        seen.extend(page.into_iter().map(|approval| approval.new.id));
    }
    assert_eq!(seen, (1..=5).map(approval_id).collect::<Vec<_>>());
}

/// Waiting work is cancelled at once; its approvals can not be decided any more.
pub(super) async fn waiting_work_is_cancelled_at_once(journal: Arc<dyn Journal>) {
    suspended(journal.as_ref(), vec![approval(1, LONG)]).await;
    let tenant = TenantId::local();
    assert_eq!(journal.cancel(&tenant, &work_id(1)).await.unwrap(), Status::Cancelled);
    assert!(pending(journal.as_ref()).await.is_empty());
    assert_refused(decide(journal.as_ref(), 1, Verdict::Approve).await, ErrorKind::Conflict, "run_ended");
}

/// What is to be written only while nobody asked for the end is refused after that, and changes nothing.
pub(super) async fn what_begins_is_not_written_after_a_cancel(journal: Arc<dyn Journal>) {
    let first = running(journal.as_ref()).await;
    let begin = || Append::new(events(0..1)).with_snapshot(json!("begun")).unless_cancelled();
    journal.append(&first.lease, begin()).await.unwrap();
    journal.cancel(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_refused(journal.append(&first.lease, begin()).await, ErrorKind::Conflict, "cancel_requested");
    let suspend = journal.suspend(&first.lease, begin(), vec![approval(1, LONG)]).await;
    assert_refused(suspend, ErrorKind::Conflict, "cancel_requested");
    assert!(pending(journal.as_ref()).await.is_empty());
    assert_eq!(all_events(journal.as_ref(), 1).await.len(), 1);
    journal.append(&first.lease, Append::new(events(1..2))).await.unwrap();
}

/// A deleted agent leaves no run, event or approval; one with a run that has not ended is not deleted.
pub(super) async fn a_deleted_agent_leaves_nothing(journal: Arc<dyn Journal>) {
    let tenant = TenantId::local();
    journal.create_agents(vec![agent(1), agent(2)]).await.unwrap();
    journal.enqueue(work(1).with_agent(agent_id(1))).await.unwrap();
    let first = claimed(journal.as_ref(), LONG).await;
    journal.suspend(&first.lease, Append::new(events(0..1)), vec![approval(1, LONG)]).await.unwrap();
    let refused = journal.delete_agent(&tenant, &agent_id(1)).await;
    assert_refused(refused, ErrorKind::Conflict, "running");
    journal.cancel(&tenant, &work_id(1)).await.unwrap();
    let stranger = journal.delete_agent(&TenantId::new("other").unwrap(), &agent_id(1)).await;
    assert_refused(stranger, ErrorKind::NotFound, "not_found");

    journal.delete_agent(&tenant, &agent_id(1)).await.unwrap();
    let gone = journal.agent(&tenant, &agent_id(1)).await;
    assert_refused(gone, ErrorKind::NotFound, "not_found");
    assert_refused(journal.work(&tenant, &work_id(1)).await, ErrorKind::NotFound, "not_found");
    assert!(all_events(journal.as_ref(), 1).await.is_empty());
    assert!(journal.approvals(&tenant, ApprovalFilter::all(10)).await.unwrap().is_empty());
    assert_eq!(journal.agents(&tenant, None, 10).await.unwrap().len(), 1);
    assert_refused(journal.delete_agent(&tenant, &agent_id(1)).await, ErrorKind::NotFound, "not_found");
}
