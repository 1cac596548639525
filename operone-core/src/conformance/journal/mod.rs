//! The promises of [`Journal`].

mod approvals;
mod keys;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::cases;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{ErrorKind, Result};
use crate::id::{AgentId, TenantId, WorkId};
use crate::journal::{
    Append, Claim, Claimed, Journal, JournalEvent, NewAgent, NewEvent, NewWork, Outcome, Page, Status,
    WorkKind,
};
use approvals::*;
use keys::*;

cases! {
    dyn Journal, journal_conformance, journal:
    agents_are_created_all_or_none
    another_tenant_finds_nothing
    agents_come_newest_first_in_pages
    enqueued_work_is_queued
    an_agent_has_one_run_at_a_time
    one_of_concurrent_runs_of_an_agent_is_queued
    the_oldest_work_of_the_kinds_is_claimed_first
    named_work_is_claimed_alone
    leased_work_is_invisible_until_its_lease_passes
    concurrent_claims_give_one_lease_each
    each_lease_has_a_higher_epoch
    attempts_are_counted_at_the_claim_and_given_back_by_a_release
    work_tried_too_often_ends_instead_of_being_leased
    work_that_gets_on_is_not_held_to_the_number_of_attempts
    released_work_is_due_at_its_time
    a_renewed_lease_lasts_longer
    events_are_dense_and_come_in_pages
    concurrent_appends_are_dense
    a_snapshot_is_replaced_together_with_events
    a_lost_lease_changes_nothing
    a_lease_that_was_given_back_is_lost
    finished_work_has_ended
    queued_work_is_cancelled_at_once
    running_work_is_told_to_end
    ended_work_is_not_cancelled
    a_run_waits_behind_another_of_its_agent
    work_begins_where_its_snapshot_stands
    a_finish_replaces_the_snapshot
    a_page_of_events_fits_its_bytes
    suspended_work_waits_for_a_decision
    a_decision_makes_the_work_due
    the_first_decision_stands
    a_decision_is_bound_to_the_arguments
    an_expired_approval_makes_the_work_due
    a_decision_is_not_missed_by_work_that_suspends_again
    approvals_are_listed_by_tenant_and_in_pages
    waiting_work_is_cancelled_at_once
    what_begins_is_not_written_after_a_cancel
    a_deleted_agent_leaves_nothing
    a_repeated_request_gets_the_first_answer
    a_request_given_up_is_done_again_with_the_same_seed
    a_key_belongs_to_one_request_of_one_tenant
    one_of_concurrent_requests_is_done
}

/// Long enough never to pass during a case.
const LONG: Duration = Duration::from_secs(600);
/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(30);

fn number(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

fn agent_id(id: usize) -> AgentId {
    AgentId::from_uuid(number(id))
}

fn agent(id: usize) -> NewAgent {
    let created_at = Timestamp::from_millis(id as i64);
    NewAgent::new(agent_id(id), TenantId::local(), json!({"goal": format!("goal {id}")}), created_at)
}

fn work_id(id: usize) -> WorkId {
    WorkId::job(number(id))
}

/// Work that was asked for the later, the higher its id is.
fn work(id: usize) -> NewWork {
    let created_at = Timestamp::from_millis(1_000 + id as i64);
    NewWork::new(work_id(id), WorkKind::INGEST, TenantId::local(), json!({"documents": id}), created_at)
}

fn claim(lease_for: Duration) -> Claim {
    Claim::new(vec![WorkKind::INGEST], "conformance").with_lease_for(lease_for)
}

fn events(numbers: std::ops::Range<usize>) -> Vec<NewEvent> {
    numbers.map(|number| NewEvent::new("step_end", json!({"step_id": number}))).collect()
}

async fn claimed(journal: &dyn Journal, lease_for: Duration) -> Claimed {
    journal.claim(claim(lease_for)).await.unwrap().expect("work is due")
}

/// Queues work 1 and leases it for long.
async fn running(journal: &dyn Journal) -> Claimed {
    journal.enqueue(work(1)).await.unwrap();
    claimed(journal, LONG).await
}

/// Queues work 1, lets a lease of it pass and leases it again: gives the lost lease and the one that counts.
async fn taken_over(journal: &dyn Journal) -> (Claimed, Claimed) {
    journal.enqueue(work(1)).await.unwrap();
    let lost = claimed(journal, SHORT).await;
    tokio::time::sleep(SHORT * 3).await;
    (lost, claimed(journal, LONG).await)
}

async fn all_events(journal: &dyn Journal, id: usize) -> Vec<JournalEvent> {
    journal.events(&work_id(id), 0, Page::of(1_000)).await.unwrap()
}

async fn status(journal: &dyn Journal, id: usize) -> Status {
    journal.work(&TenantId::local(), &work_id(id)).await.unwrap().status
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, code: &str) {
    let error = result.expect_err("the call must be refused");
    assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
}

fn assert_lost<T: std::fmt::Debug>(result: Result<T>) {
    assert_refused(result, ErrorKind::Conflict, "lease_lost");
}

/// Agents are created all or none; an id that is taken is `Conflict`.
async fn agents_are_created_all_or_none(journal: Arc<dyn Journal>) {
    let tenant = TenantId::local();
    journal.create_agents(vec![agent(1), agent(2)]).await.unwrap();
    let record = journal.agent(&tenant, &agent_id(2)).await.unwrap();
    assert_eq!((record.agent, record.run), (agent(2), None));
    let taken = journal.create_agents(vec![agent(3), agent(1), agent(4)]).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
    let twice = journal.create_agents(vec![agent(5), agent(5)]).await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(journal.agents(&tenant, None, 10).await.unwrap().len(), 2);
}

/// Another tenant's agents and work are not found, like those that never were.
async fn another_tenant_finds_nothing(journal: Arc<dyn Journal>) {
    let other = TenantId::new("other").unwrap();
    journal.create_agents(vec![agent(1)]).await.unwrap();
    journal.enqueue(work(1)).await.unwrap();
    for (tenant, agent, work) in
        [(&other, agent_id(1), work_id(1)), (&TenantId::local(), agent_id(2), work_id(2))]
    {
        assert_refused(journal.agent(tenant, &agent).await, ErrorKind::NotFound, "not_found");
        assert_refused(journal.work(tenant, &work).await, ErrorKind::NotFound, "not_found");
        assert_refused(journal.cancel(tenant, &work).await, ErrorKind::NotFound, "not_found");
    }
    assert!(journal.agents(&other, None, 10).await.unwrap().is_empty());
    assert_eq!(status(&*journal, 1).await, Status::Queued);
    let mut foreign = work(2).with_agent(agent_id(1));
    foreign.tenant = other;
    assert_refused(journal.enqueue(foreign).await, ErrorKind::NotFound, "not_found");
}

/// Agents come newest first; each page begins before the last agent of the page before.
async fn agents_come_newest_first_in_pages(journal: Arc<dyn Journal>) {
    let tenant = TenantId::local();
    journal.create_agents(vec![agent(2), agent(5)]).await.unwrap();
    journal.create_agents(vec![agent(1), agent(4), agent(3)]).await.unwrap();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = journal.agents(&tenant, before.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        before = Some(last.agent.id.clone());
        seen.extend(page.into_iter().map(|record| record.agent));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(agent));
}

/// Work is queued as it was given; an agent that does not exist is `NotFound`, a taken id `Conflict`.
async fn enqueued_work_is_queued(journal: Arc<dyn Journal>) {
    let queued = journal.enqueue(work(1)).await.unwrap();
    assert_eq!(queued.new, work(1));
    assert_eq!((queued.status, queued.attempts, queued.last_seq), (Status::Queued, 0, 0));
    assert_eq!((queued.snapshot.as_ref(), queued.outcome.as_ref()), (None, None));
    assert_eq!(journal.work(&TenantId::local(), &work_id(1)).await.unwrap(), queued);
    assert_eq!(journal.enqueue(work(1)).await.unwrap_err().kind(), ErrorKind::Conflict);
    let orphan = journal.enqueue(work(2).with_agent(agent_id(9))).await;
    assert_refused(orphan, ErrorKind::NotFound, "not_found");
    assert_refused(journal.work(&TenantId::local(), &work_id(2)).await, ErrorKind::NotFound, "not_found");
}

/// An agent whose run has not ended gets no other; afterwards it does, and shows its latest.
async fn an_agent_has_one_run_at_a_time(journal: Arc<dyn Journal>) {
    let tenant = TenantId::local();
    journal.create_agents(vec![agent(1), agent(2)]).await.unwrap();
    journal.enqueue(work(1).with_agent(agent_id(1))).await.unwrap();
    let again = || work(2).with_agent(agent_id(1));
    assert_refused(journal.enqueue(again()).await, ErrorKind::Conflict, "already_running");
    journal.enqueue(work(3).with_agent(agent_id(2))).await.unwrap();
    let lease = claimed(&*journal, LONG).await.lease;
    assert_eq!(lease.work, work_id(1));
    assert_refused(journal.enqueue(again()).await, ErrorKind::Conflict, "already_running");
    assert_eq!(journal.agent(&tenant, &agent_id(1)).await.unwrap().run.unwrap().status, Status::Running);
    journal.finish(&lease, Append::default(), Outcome::completed(json!("done"))).await.unwrap();
    assert_eq!(journal.agent(&tenant, &agent_id(1)).await.unwrap().run.unwrap().status, Status::Completed);
    journal.enqueue(again()).await.unwrap();
    let listed = journal.agents(&tenant, None, 10).await.unwrap();
    let runs: Vec<_> = listed.into_iter().map(|record| record.run.unwrap().new.id).collect();
    assert_eq!(runs, [work_id(3), work_id(2)]);
}

/// Of runs of one agent that are queued at once, one is queued.
async fn one_of_concurrent_runs_of_an_agent_is_queued(journal: Arc<dyn Journal>) {
    journal.create_agents(vec![agent(1)]).await.unwrap();
    let tasks: Vec<_> = (1..=8)
        .map(|id| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { journal.enqueue(work(id).with_agent(agent_id(1))).await })
        })
        .collect();
    let mut queued = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => queued += 1,
            refused => assert_refused(refused, ErrorKind::Conflict, "already_running"),
        }
    }
    assert_eq!(queued, 1);
}

/// A claim leases the oldest due work among the kinds the caller can run.
async fn the_oldest_work_of_the_kinds_is_claimed_first(journal: Arc<dyn Journal>) {
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    for id in [3, 1, 2] {
        journal.enqueue(work(id)).await.unwrap();
    }
    let mut other = work(0);
    other.kind = WorkKind::new("reembed");
    journal.enqueue(other).await.unwrap();
    for id in [1, 2] {
        let claimed = claimed(&*journal, LONG).await;
        assert_eq!(claimed.lease.work, work_id(id));
        assert_eq!((claimed.work.new, claimed.work.status), (work(id), Status::Running));
    }
    let both = Claim::new(vec![WorkKind::INGEST, WorkKind::new("reembed")], "conformance");
    let oldest = journal.claim(both).await.unwrap().unwrap();
    assert_eq!(oldest.lease.work, work_id(0));
    assert_eq!(claimed(&*journal, LONG).await.lease.work, work_id(3));
    assert_eq!(journal.claim(Claim::new(Vec::new(), "conformance")).await.unwrap(), None);
}

/// A claim of one work leases that or nothing.
async fn named_work_is_claimed_alone(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1)).await.unwrap();
    journal.enqueue(work(2)).await.unwrap();
    let named = || claim(LONG).with_work(work_id(2));
    assert_eq!(journal.claim(named()).await.unwrap().unwrap().lease.work, work_id(2));
    assert_eq!(journal.claim(named()).await.unwrap(), None);
    assert_eq!(journal.claim(claim(LONG).with_work(work_id(3))).await.unwrap(), None);
    let other_kind = Claim::new(vec![WorkKind::AGENT], "conformance").with_work(work_id(1));
    assert_eq!(journal.claim(other_kind).await.unwrap(), None);
}

/// Leased work is invisible to others until its lease passes, then it is due again.
async fn leased_work_is_invisible_until_its_lease_passes(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1)).await.unwrap();
    journal.enqueue(work(2)).await.unwrap();
    claimed(&*journal, LONG).await;
    assert_eq!(claimed(&*journal, SHORT * 10).await.lease.work, work_id(2));
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    tokio::time::sleep(SHORT * 15).await;
    assert_eq!(claimed(&*journal, LONG).await.lease.work, work_id(2));
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
}

/// However many ask at once, each work is leased to one.
async fn concurrent_claims_give_one_lease_each(journal: Arc<dyn Journal>) {
    for id in 1..=8 {
        journal.enqueue(work(id)).await.unwrap();
    }
    let tasks: Vec<_> = (0..24)
        .map(|_| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { journal.claim(claim(LONG)).await.unwrap() })
        })
        .collect();
    let mut leased = Vec::new();
    for task in tasks {
        leased.extend(task.await.unwrap().map(|claimed| claimed.lease.work));
    }
    leased.sort();
    assert_eq!(leased, (1..=8).map(work_id).collect::<Vec<_>>());
}

/// Each lease of a work carries a higher epoch, after a lease that passed as after a release.
async fn each_lease_has_a_higher_epoch(journal: Arc<dyn Journal>) {
    let (first, second) = taken_over(&*journal).await;
    journal.release(&second.lease, None).await.unwrap();
    let third = claimed(&*journal, LONG).await;
    assert!(first.lease.epoch < second.lease.epoch && second.lease.epoch < third.lease.epoch);
}

/// A claim counts the attempt, a release gives it back.
async fn attempts_are_counted_at_the_claim_and_given_back_by_a_release(journal: Arc<dyn Journal>) {
    let (first, second) = taken_over(&*journal).await;
    assert_eq!((first.work.attempts, second.work.attempts), (1, 2));
    journal.release(&second.lease, None).await.unwrap();
    let work = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_eq!((work.status, work.attempts), (Status::Queued, 1));
    assert_eq!(claimed(&*journal, LONG).await.work.attempts, 2);
}

/// Work that was tried `max_attempts` times ends as failed with code `crash_loop` and an `end` event, and the
/// claim goes on to the next work.
async fn work_tried_too_often_ends_instead_of_being_leased(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1)).await.unwrap();
    let first = claimed(&*journal, SHORT).await;
    journal.append(&first.lease, Append::new(events(0..2))).await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    claimed(&*journal, SHORT).await;
    tokio::time::sleep(SHORT * 3).await;
    journal.enqueue(work(2)).await.unwrap();
    let mut last = claim(LONG);
    last.max_attempts = 2;
    assert_eq!(journal.claim(last).await.unwrap().unwrap().lease.work, work_id(2));
    let ended = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_eq!((ended.status, ended.attempts, ended.last_seq), (Status::Failed, 2, 3));
    let outcome = ended.outcome.unwrap();
    assert_eq!(
        (outcome.status, outcome.error.as_ref().unwrap().code.as_str()),
        (Status::Failed, "crash_loop")
    );
    let end = all_events(&*journal, 1).await.pop().unwrap();
    assert_eq!((end.seq, end.event), (3, outcome.end_event()));
}

/// An event makes the attempts count anew, so that long work survives any number of crashes.
async fn work_that_gets_on_is_not_held_to_the_number_of_attempts(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1)).await.unwrap();
    for attempt in 0..4 {
        let mut claim = claim(SHORT);
        claim.max_attempts = 2;
        let claimed = journal.claim(claim).await.unwrap().expect("work that gets on is leased");
        assert_eq!(claimed.work.attempts, if attempt == 0 { 1 } else { 2 });
        journal.append(&claimed.lease, Append::new(events(attempt..attempt + 1))).await.unwrap();
        tokio::time::sleep(SHORT * 3).await;
    }
}

/// Released work is queued again and due at `not_before`.
async fn released_work_is_due_at_its_time(journal: Arc<dyn Journal>) {
    let lease = running(&*journal).await.lease;
    let due = SystemClock.now().plus(Duration::from_millis(400));
    journal.release(&lease, Some(due)).await.unwrap();
    assert_eq!(status(&*journal, 1).await, Status::Queued);
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let lease = claimed(&*journal, LONG).await.lease;
    journal.release(&lease, None).await.unwrap();
    assert_eq!(claimed(&*journal, LONG).await.lease.work, work_id(1));
}

/// A renewal prolongs the lease from now on.
async fn a_renewed_lease_lasts_longer(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1)).await.unwrap();
    let lease = claimed(&*journal, Duration::from_millis(300)).await.lease;
    assert!(!journal.renew(&lease, LONG).await.unwrap().cancel_requested);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    journal.append(&lease, Append::new(events(0..1))).await.unwrap();
}

/// Events are numbered from 1 without holes and come oldest first, in pages.
async fn events_are_dense_and_come_in_pages(journal: Arc<dyn Journal>) {
    let lease = running(&*journal).await.lease;
    assert_eq!(journal.append(&lease, Append::default()).await.unwrap().last_seq, 0);
    assert_eq!(journal.append(&lease, Append::new(events(1..4))).await.unwrap().last_seq, 3);
    assert_eq!(journal.append(&lease, Append::new(events(4..8))).await.unwrap().last_seq, 7);
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = journal.events(&work_id(1), after, Page::of(3)).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = last.seq;
        seen.extend(page);
    }
    assert_eq!(seen.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
    assert_eq!(seen.into_iter().map(|event| event.event).collect::<Vec<_>>(), events(1..8));
    assert!(journal.events(&work_id(1), 5, Page::of(0)).await.unwrap().is_empty());
    assert_eq!(journal.work(&TenantId::local(), &work_id(1)).await.unwrap().last_seq, 7);
}

/// Appends under one lease that come at once get numbers without holes, each append in a row.
async fn concurrent_appends_are_dense(journal: Arc<dyn Journal>) {
    let lease = running(&*journal).await.lease;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (journal, lease) = (Arc::clone(&journal), lease.clone());
            tokio::spawn(
                async move { journal.append(&lease, Append::new(events(0..3))).await.unwrap().last_seq },
            )
        })
        .collect();
    let mut last = BTreeSet::new();
    for task in tasks {
        last.insert(task.await.unwrap());
    }
    assert_eq!(last, (1..=16).map(|number| number * 3).collect());
    let seen: Vec<_> =
        all_events(&*journal, 1).await.into_iter().map(|event| (event.seq, event.event)).collect();
    let expected: Vec<_> = (0..16).flat_map(|_| events(0..3)).collect();
    assert_eq!(seen, (1..).zip(expected).collect::<Vec<_>>());
}

/// A snapshot replaces the one before; without one the last stays.
async fn a_snapshot_is_replaced_together_with_events(journal: Arc<dyn Journal>) {
    let lease = running(&*journal).await.lease;
    let snapshot = |journal: Arc<dyn Journal>| async move {
        let work = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
        (work.snapshot, work.last_seq)
    };
    journal
        .append(&lease, Append::new(events(0..1)).with_snapshot(json!({"steps": [1, "é"]})))
        .await
        .unwrap();
    assert_eq!(snapshot(Arc::clone(&journal)).await, (Some(json!({"steps": [1, "é"]})), 1));
    journal.append(&lease, Append::new(events(1..2))).await.unwrap();
    assert_eq!(snapshot(Arc::clone(&journal)).await, (Some(json!({"steps": [1, "é"]})), 2));
    journal.append(&lease, Append::default().with_snapshot(json!(2))).await.unwrap();
    assert_eq!(snapshot(Arc::clone(&journal)).await, (Some(json!(2)), 2));
    journal.release(&lease, None).await.unwrap();
    assert_eq!(claimed(&*journal, LONG).await.work.snapshot, Some(json!(2)));
}

/// A lease that a later one replaced can neither renew, append, finish nor release, and changes nothing.
async fn a_lost_lease_changes_nothing(journal: Arc<dyn Journal>) {
    let (lost, counts) = taken_over(&*journal).await;
    let lost = lost.lease;
    journal.append(&counts.lease, Append::new(events(0..2)).with_snapshot(json!("counts"))).await.unwrap();
    let before =
        (journal.work(&TenantId::local(), &work_id(1)).await.unwrap(), all_events(&*journal, 1).await);
    assert_lost(journal.renew(&lost, LONG).await);
    assert_lost(journal.append(&lost, Append::new(events(7..9)).with_snapshot(json!("lost"))).await);
    assert_lost(journal.append(&lost, Append::default()).await);
    assert_lost(journal.finish(&lost, Append::new(events(9..10)), Outcome::completed(json!("lost"))).await);
    assert_lost(journal.release(&lost, None).await);
    let after =
        (journal.work(&TenantId::local(), &work_id(1)).await.unwrap(), all_events(&*journal, 1).await);
    assert_eq!(before, after);
    journal.renew(&counts.lease, LONG).await.unwrap();
    assert_eq!(journal.append(&counts.lease, Append::new(events(2..3))).await.unwrap().last_seq, 3);
}

/// After a release or a finish the lease is lost.
async fn a_lease_that_was_given_back_is_lost(journal: Arc<dyn Journal>) {
    let released = running(&*journal).await.lease;
    journal.release(&released, None).await.unwrap();
    assert_lost(journal.append(&released, Append::new(events(0..1))).await);
    assert_lost(journal.release(&released, None).await);
    let finished = claimed(&*journal, LONG).await.lease;
    journal.finish(&finished, Append::default(), Outcome::new(Status::Completed)).await.unwrap();
    assert_lost(journal.renew(&finished, LONG).await);
    assert_lost(journal.append(&finished, Append::new(events(0..1))).await);
    assert_lost(journal.finish(&finished, Append::new(events(0..1)), Outcome::new(Status::Failed)).await);
    assert_lost(journal.release(&finished, None).await);
    assert_eq!(status(&*journal, 1).await, Status::Completed);
    assert!(all_events(&*journal, 1).await.is_empty());
}

/// A finish appends the last events, keeps the outcome and ends the work for good.
async fn finished_work_has_ended(journal: Arc<dyn Journal>) {
    let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
    let error = crate::error::Error::invalid("the file is encrypted").with_code("encrypted");
    let ends: [Outcome; 4] = [
        Outcome::completed(json!({"text": "Lisbon"})),
        Outcome::failed(error.report()),
        Outcome::new(Status::Cancelled),
        Outcome::new(Status::MaxSteps),
    ];
    for (id, outcome) in ends.into_iter().enumerate() {
        journal.enqueue(work(id)).await.unwrap();
        let lease = claimed(&*journal, LONG).await.lease;
        journal.append(&lease, Append::new(events(0..2)).with_snapshot(json!("last"))).await.unwrap();
        assert_eq!(journal.finish(&lease, Append::new(events(2..4)), outcome.clone()).await.unwrap(), 4);
        outcomes.insert(id, outcome);
    }
    for (id, outcome) in outcomes {
        let ended = journal.work(&TenantId::local(), &work_id(id)).await.unwrap();
        assert_eq!((ended.status, ended.last_seq), (outcome.status, 4));
        assert_eq!((ended.outcome, ended.snapshot), (Some(outcome), Some(json!("last"))));
        assert_eq!(all_events(&*journal, id).await.len(), 4);
    }
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
}

/// Queued work that is cancelled ends at once, with an `end` event, and is never leased.
async fn queued_work_is_cancelled_at_once(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1)).await.unwrap();
    assert_eq!(journal.cancel(&TenantId::local(), &work_id(1)).await.unwrap(), Status::Cancelled);
    let ended = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_eq!(ended.status, Status::Cancelled);
    let outcome = ended.outcome.unwrap();
    assert_eq!(outcome, Outcome::new(Status::Cancelled));
    let seen: Vec<_> =
        all_events(&*journal, 1).await.into_iter().map(|event| (event.seq, event.event)).collect();
    assert_eq!(seen, [(1, outcome.end_event())]);
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
}

/// Running work is told to end by its next append and by its next renewal, and goes on until it finishes.
async fn running_work_is_told_to_end(journal: Arc<dyn Journal>) {
    let lease = running(&*journal).await.lease;
    assert!(!journal.append(&lease, Append::new(events(0..1))).await.unwrap().cancel_requested);
    for _ in 0..2 {
        assert_eq!(journal.cancel(&TenantId::local(), &work_id(1)).await.unwrap(), Status::Running);
    }
    assert!(journal.append(&lease, Append::new(events(1..2))).await.unwrap().cancel_requested);
    assert!(journal.renew(&lease, LONG).await.unwrap().cancel_requested);
    assert!(journal.work(&TenantId::local(), &work_id(1)).await.unwrap().cancel_requested);
    journal.finish(&lease, Append::new(events(2..3)), Outcome::new(Status::Cancelled)).await.unwrap();
    assert_eq!(status(&*journal, 1).await, Status::Cancelled);
    assert_eq!(all_events(&*journal, 1).await.len(), 3);
}

/// Ended work stays as it is.
async fn ended_work_is_not_cancelled(journal: Arc<dyn Journal>) {
    let lease = running(&*journal).await.lease;
    journal.finish(&lease, Append::new(events(0..1)), Outcome::completed(json!("done"))).await.unwrap();
    let before = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_eq!(journal.cancel(&TenantId::local(), &work_id(1)).await.unwrap(), Status::Completed);
    assert_eq!(journal.work(&TenantId::local(), &work_id(1)).await.unwrap(), before);
    assert_eq!(all_events(&*journal, 1).await.len(), 1);
}

/// A run that waits behind another of its agent is due when that one has ended, in order.
async fn a_run_waits_behind_another_of_its_agent(journal: Arc<dyn Journal>) {
    journal.create_agents(vec![agent(1), agent(2)]).await.unwrap();
    journal.enqueue(work(1).with_agent(agent_id(1))).await.unwrap();
    for id in [2, 3] {
        journal.enqueue(work(id).with_agent(agent_id(1)).behind_others()).await.unwrap();
    }
    journal.enqueue(work(4).with_agent(agent_id(2)).behind_others()).await.unwrap();
    let refused = journal.enqueue(work(5).with_agent(agent_id(1))).await;
    assert_refused(refused, ErrorKind::Conflict, "already_running");

    let first = claimed(journal.as_ref(), LONG).await;
    let other = claimed(journal.as_ref(), LONG).await;
    assert_eq!((first.lease.work.clone(), other.lease.work), (work_id(1), work_id(4)));
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    journal.finish(&first.lease, Append::default(), Outcome::completed(json!(1))).await.unwrap();
    assert_eq!(claimed(journal.as_ref(), LONG).await.lease.work, work_id(2));
    assert_eq!(journal.claim(claim(LONG)).await.unwrap(), None);
    assert_eq!(
        journal.agent(&TenantId::local(), &agent_id(1)).await.unwrap().run.unwrap().new.id,
        work_id(3)
    );
}

/// Work that is queued with a snapshot begins there.
async fn work_begins_where_its_snapshot_stands(journal: Arc<dyn Journal>) {
    journal.enqueue(work(1).with_snapshot(json!({"step": 3}))).await.unwrap();
    assert_eq!(claimed(journal.as_ref(), LONG).await.work.snapshot, Some(json!({"step": 3})));
}

/// The last snapshot stays readable after the end.
async fn a_finish_replaces_the_snapshot(journal: Arc<dyn Journal>) {
    let lease = running(journal.as_ref()).await.lease;
    let append = Append::new(events(0..1)).with_snapshot(json!("last"));
    journal.finish(&lease, append, Outcome::completed(json!("done"))).await.unwrap();
    let ended = journal.work(&TenantId::local(), &work_id(1)).await.unwrap();
    assert_eq!((ended.snapshot, ended.last_seq), (Some(json!("last")), 1));
}

/// A page of events holds no more bytes than asked for, but one event in any case.
async fn a_page_of_events_fits_its_bytes(journal: Arc<dyn Journal>) {
    let lease = running(journal.as_ref()).await.lease;
    let big = |number| NewEvent::new("step_end", json!({"step_id": number, "output": "x".repeat(1000)}));
    journal.append(&lease, Append::new((0..5).map(big).collect())).await.unwrap();
    for (bytes, expected) in [(2500, 2), (10, 1), (usize::MAX, 5)] {
        let page = Page::of(100).with_bytes(bytes);
        assert_eq!(journal.events(&work_id(1), 0, page).await.unwrap().len(), expected);
    }
}
