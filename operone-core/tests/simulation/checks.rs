//! What holds in every world.

use std::collections::{BTreeMap, BTreeSet};

use operone_core::agent::{Next, Run};
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{Journal, JournalEvent, Page, Status, Work};

use crate::world::{Effect, Seen, World};

/// Checks a world at rest; gives its story, one line per event.
pub(crate) async fn check(
    world: &World,
    runs: &[WorkId],
    read: BTreeMap<WorkId, Vec<JournalEvent>>,
) -> Vec<String> {
    let mut story = Vec::new();
    let seen = std::mem::take(&mut *world.seen());
    for run in runs {
        let work = world.journal.work(&TenantId::local(), run).await.unwrap();
        let events = world.journal.events(run, 0, Page::of(usize::MAX)).await.unwrap();
        story.extend(events.iter().map(|event| format!("{run} {event:?}")));
        numbers_are_dense(&events);
        the_end_comes_once_and_last(&work, &events);
        steps_begin_and_end_once(&work, &events);
        no_stale_epoch_writes(&seen, run);
        a_cancelled_run_begins_no_step(&seen, run, &events);
        the_result_is_what_was_planned(&seen, &work);
        assert_eq!(read.get(run), Some(&events), "I7: every reader sees the same events");
    }
    effects_are_as_promised(&seen);
    story
}

fn numbers_are_dense(events: &[JournalEvent]) {
    for (seq, event) in (1..).zip(events) {
        assert_eq!(event.seq, seq, "I1: numbers are dense and unique");
    }
}

fn the_end_comes_once_and_last(work: &Work, events: &[JournalEvent]) {
    assert!(work.status.is_terminal(), "I4: every run reaches an end");
    let ends = events.iter().filter(|event| event.event.kind == "end").count();
    assert_eq!((ends, events.last().unwrap().event.kind.as_str()), (1, "end"), "I4");
    assert_eq!(events.last().unwrap().event.payload["status"], work.status.as_str());
}

fn steps_begin_and_end_once(work: &Work, events: &[JournalEvent]) {
    let steps = |kind: &str| -> Vec<u64> {
        let of_kind = events.iter().filter(|event| event.event.kind == kind);
        of_kind.map(|event| event.event.payload["step_id"].as_u64().unwrap()).collect()
    };
    let (begun, ended) = (steps("step_start"), steps("step_end"));
    let unique = |steps: &[u64]| steps.iter().copied().collect::<BTreeSet<u64>>();
    assert_eq!(unique(&begun).len(), begun.len(), "I2: a step begins once");
    assert_eq!(unique(&ended).len(), ended.len(), "I2: a step ends once");
    assert!(unique(&ended).is_subset(&unique(&begun)), "I2: what ends has begun");
    if work.status == Status::Completed {
        assert_eq!(unique(&ended), unique(&begun), "I2: what begins ends");
    }
}

fn no_stale_epoch_writes(seen: &Seen, run: &WorkId) {
    let mut writes = seen.epochs.get(run).cloned().unwrap_or_default();
    writes.sort_unstable();
    let in_order = writes.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    assert!(in_order, "I3: no event of an older epoch after a newer one: {writes:?}");
}

fn a_cancelled_run_begins_no_step(seen: &Seen, run: &WorkId, events: &[JournalEvent]) {
    let Some(cancelled_at) = seen.cancelled_at.get(run) else { return };
    let late = events.iter().find(|event| event.seq > *cancelled_at && event.event.kind == "step_start");
    assert_eq!(late, None, "I8: a cancelled run begins no step once the cancel is durable");
}

/// A run to which nothing was denied does all of its plan, whatever happened on the way.
fn the_result_is_what_was_planned(seen: &Seen, work: &Work) {
    match work.status {
        Status::Completed => {
            let output = work.outcome.as_ref().unwrap().output.as_ref().unwrap();
            assert_eq!(output["text"], "once");
            let run = Run::from_snapshot(work.snapshot.as_ref().unwrap()).unwrap();
            assert!(matches!(run.next(), Next::Done(_)) && run.open_steps().is_empty());
        }
        Status::Cancelled => assert!(seen.cancelled_at.contains_key(&work.new.id)),
        Status::Failed => {
            let error = work.outcome.as_ref().unwrap().error.as_ref().unwrap();
            assert_eq!(error.code, "crash_loop", "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn effects_are_as_promised(seen: &Seen) {
    let mut by_call: BTreeMap<(&WorkId, u64), Vec<&Effect>> = BTreeMap::new();
    for effect in &seen.effects {
        by_call.entry((&effect.run, effect.step)).or_default().push(effect);
    }
    let mut owners: BTreeMap<&str, (&WorkId, u64)> = BTreeMap::new();
    for (call, effects) in by_call {
        let first = effects[0];
        assert!(effects.iter().all(|effect| effect.key == first.key), "I6: a call has one key: {effects:?}");
        let owner = owners.insert(&first.key, call);
        assert_eq!(owner, None, "I6: a key has one call");
        if ["fire", "send"].contains(&first.tool) {
            let allowed = seen.allowed_again.get(&(call.0.clone(), call.1)).copied().unwrap_or(0);
            assert!(effects.len() <= 1 + allowed, "I5: a once tool runs once: {effects:?}");
        }
    }
}
