//! The promises of [`MemoryStore`].

mod writes;

use std::sync::Arc;

use self::writes::*;
use super::cases;
use crate::clock::Timestamp;
use crate::error::{ErrorKind, Result};
use crate::id::{MemoryId, TenantId};
use crate::memory::{
    Batch, Change, Entry, Erased, MemoryStore, Operation, Receipt, Record, Revision, Scope, ScopeKey,
    WriteOutcome,
};

cases! {
    dyn MemoryStore, memory_store_conformance, memory_store:
    a_new_scope_is_empty
    appended_entries_are_scanned_in_order
    a_scan_gives_what_came_after_a_revision
    a_repeated_append_changes_nothing
    an_entry_is_found_by_its_id
    what_was_erased_is_not_seen_again
    erasing_again_changes_nothing
    what_was_erased_is_not_written_again
    an_erasure_takes_all_versions
    scopes_and_tenants_are_apart
    scopes_hold_what_was_written_to_them
    an_id_of_another_scope_is_refused
    versions_are_counted_and_kept
    a_batch_is_whole_or_not_there
    an_expected_revision_is_checked
    of_competing_versions_one_wins
    a_key_makes_a_repeat_harmless
    of_concurrent_repeats_one_writes
    duplicates_are_passed_over_where_asked
    what_is_out_of_date_is_no_duplicate
    what_was_derived_is_found
    a_mark_is_kept_with_its_batch
    large_batches_are_whole
    every_text_comes_back_as_it_was
    concurrent_appends_leave_no_holes
    a_scan_never_sees_a_later_append_without_the_earlier_ones
}

fn id(number: usize) -> MemoryId {
    MemoryId::new(format!("mem-{number}")).unwrap()
}

fn entry(number: usize) -> Entry {
    let recorded_at = Timestamp::from_millis(number as i64);
    Entry::new(id(number), format!("fact {number}"), vec![format!("tag {number}")], recorded_at)
}

fn entries(numbers: impl IntoIterator<Item = usize>) -> Vec<Entry> {
    numbers.into_iter().map(entry).collect()
}

fn scope(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
}

fn longterm() -> ScopeKey {
    scope("longterm")
}

/// A memory that says something else.
fn changed(number: usize, content: &str) -> Entry {
    let mut entry = entry(number);
    entry.content = content.to_owned();
    entry
}

fn later() -> Timestamp {
    Timestamp::from_millis(50)
}

async fn append(store: &dyn MemoryStore, scope: &ScopeKey, entries: Vec<Entry>) -> Result<Receipt> {
    store.write(scope, Batch::of(later(), entries)).await
}

async fn write(store: &dyn MemoryStore, scope: &ScopeKey, operations: Vec<Operation>) -> Result<Receipt> {
    store.write(scope, Batch::new(later(), operations)).await
}

async fn erase(store: &dyn MemoryStore, scope: &ScopeKey, numbers: &[usize]) -> (u64, Vec<MemoryId>) {
    let ids: Vec<MemoryId> = numbers.iter().copied().map(id).collect();
    let Erased { revision, ids } = store.erase(scope, &ids, later()).await.unwrap();
    (revision.0, ids)
}

fn outcomes(receipt: &Receipt) -> Vec<(MemoryId, u32, WriteOutcome)> {
    receipt.written.iter().map(|written| (written.id.clone(), written.version, written.outcome)).collect()
}

async fn scanned(store: &dyn MemoryStore, scope: &ScopeKey) -> Vec<Record> {
    store.scan(scope, Revision(0), 10_000).await.unwrap()
}

async fn content(store: &dyn MemoryStore, scope: &ScopeKey) -> Vec<Entry> {
    scanned(store, scope).await.iter().filter_map(|record| record.entry().cloned()).collect()
}

fn assert_dense(records: &[Record]) {
    let revisions: Vec<u64> = records.iter().map(|record| record.revision.0).collect();
    assert_eq!(revisions, (1..=records.len() as u64).collect::<Vec<_>>());
}

/// Where nothing was written the revision is zero, and nothing is found.
async fn a_new_scope_is_empty(store: Arc<dyn MemoryStore>) {
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(0));
    assert!(scanned(&*store, &longterm()).await.is_empty());
    assert_eq!(store.get(&longterm(), &id(1)).await.unwrap(), None);
    assert_eq!(store.locate(&TenantId::local(), &id(1)).await.unwrap(), None);
    assert!(store.history(&longterm(), &id(1)).await.unwrap().is_empty());
    assert_eq!(store.mark(&longterm(), "reader").await.unwrap(), 0);
    assert!(store.scopes(&TenantId::local(), None, 10).await.unwrap().is_empty());
    assert_eq!(erase(&*store, &longterm(), &[1]).await, (0, vec![]));
    assert_eq!(append(&*store, &longterm(), Vec::new()).await.unwrap().revision, Revision(0));
}

/// Entries keep their order and are numbered from 1 without holes; an append gives the new revision.
async fn appended_entries_are_scanned_in_order(store: Arc<dyn MemoryStore>) {
    assert_eq!(append(&*store, &longterm(), entries([3, 1, 2])).await.unwrap().revision, Revision(3));
    assert_eq!(append(&*store, &longterm(), entries([5, 4])).await.unwrap().revision, Revision(5));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(5));
    let records = scanned(&*store, &longterm()).await;
    assert_dense(&records);
    let expected = [3, 1, 2, 5, 4].map(|number| (id(number), Some(entry(number))));
    let found: Vec<_> = records.iter().map(|record| (record.id.clone(), record.entry().cloned())).collect();
    assert_eq!(found, expected);
}

/// A scan begins after the given revision and ends at its limit.
async fn a_scan_gives_what_came_after_a_revision(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=7)).await.unwrap();
    let all = scanned(&*store, &longterm()).await;
    for after in 0..9 {
        for limit in 0..9 {
            let part = store.scan(&longterm(), Revision(after), limit).await.unwrap();
            let expected: Vec<_> = all.iter().skip(after as usize).take(limit).cloned().collect();
            assert_eq!(part, expected, "after {after}, at most {limit}");
        }
    }
}

/// An id that the scope holds is passed over, also within one append; the first entry stays.
async fn a_repeated_append_changes_nothing(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=3)).await.unwrap();
    let before = scanned(&*store, &longterm()).await;
    let mut changed = entry(2);
    changed.content = "another text".into();
    let repeated = append(&*store, &longterm(), vec![entry(3), changed, entry(1)]).await.unwrap();
    assert_eq!((repeated.revision, scanned(&*store, &longterm()).await), (Revision(3), before));
    assert!(repeated.written.iter().all(|written| written.outcome == WriteOutcome::Existing));
    assert_eq!(append(&*store, &longterm(), entries([2, 4, 4, 1, 5])).await.unwrap().revision, Revision(5));
    assert_eq!(content(&*store, &longterm()).await, entries(1..=5));
}

/// An entry is found by tenant and id, with its scope.
async fn an_entry_is_found_by_its_id(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries([1])).await.unwrap();
    append(&*store, &scope("session/42"), entries([2])).await.unwrap();
    for (number, expected) in
        [(1, Some((longterm(), entry(1)))), (2, Some((scope("session/42"), entry(2)))), (3, None)]
    {
        let (at, found) = match expected {
            Some((at, entry)) => (Some(at), Some(entry)),
            None => (None, None),
        };
        assert_eq!(store.locate(&TenantId::local(), &id(number)).await.unwrap(), at);
        let at = at.unwrap_or_else(longterm);
        assert_eq!(store.get(&at, &id(number)).await.unwrap(), found);
        assert_eq!(store.history(&at, &id(number)).await.unwrap(), Vec::from_iter(found));
        assert_eq!(store.get(&scope("session/43"), &id(number)).await.unwrap(), None);
    }
}

/// What was erased keeps its place without its content, and one tombstone each follows.
async fn what_was_erased_is_not_seen_again(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=4)).await.unwrap();
    assert_eq!(erase(&*store, &longterm(), &[3, 9, 1, 3]).await, (6, vec![id(3), id(1)]));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(6));
    let records = scanned(&*store, &longterm()).await;
    assert_dense(&records);
    let seen: Vec<_> = records.into_iter().map(|record| (record.id, record.change)).collect();
    let written = |number| Change::Written(Box::new(entry(number)));
    let expected = [
        (id(1), Change::Blank),
        (id(2), written(2)),
        (id(3), Change::Blank),
        (id(4), written(4)),
        (id(3), Change::Erased(later())),
        (id(1), Change::Erased(later())),
    ];
    assert_eq!(seen, expected);
    assert_eq!(store.get(&longterm(), &id(1)).await.unwrap(), None);
    assert_eq!(store.locate(&TenantId::local(), &id(1)).await.unwrap(), None);
    assert!(store.get(&longterm(), &id(2)).await.unwrap().is_some());
}

/// Erasing what is erased, or never was, changes nothing.
async fn erasing_again_changes_nothing(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    erase(&*store, &longterm(), &[1]).await;
    let before = scanned(&*store, &longterm()).await;
    for ids in [vec![1], vec![7, 1, 1], Vec::new()] {
        assert_eq!(erase(&*store, &longterm(), &ids).await, (3, vec![]));
    }
    assert_eq!(scanned(&*store, &longterm()).await, before);
}

/// A write that is repeated after an erasure does not bring the memory back.
async fn what_was_erased_is_not_written_again(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    erase(&*store, &longterm(), &[1]).await;
    let receipt = append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    assert_eq!(receipt.revision, Revision(3));
    assert_eq!(outcomes(&receipt), [(id(1), 0, WriteOutcome::Erased), (id(2), 1, WriteOutcome::Existing)]);
    assert_eq!(content(&*store, &longterm()).await, entries([2]));
    let refused = write(&*store, &longterm(), vec![Operation::replace(entry(1), None)]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.get(&longterm(), &id(1)).await.unwrap(), None);
}

/// An erasure takes every version, and what the memory said can be written again under another id.
async fn an_erasure_takes_all_versions(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    write(&*store, &longterm(), vec![Operation::replace(changed(1, "other"), None)]).await.unwrap();
    assert_eq!(erase(&*store, &longterm(), &[1]).await, (4, vec![id(1)]));
    assert!(store.history(&longterm(), &id(1)).await.unwrap().is_empty());
    assert_eq!(content(&*store, &longterm()).await, entries([2]));
    let mut same = changed(3, "other");
    same.tags.clear();
    let receipt = write(&*store, &longterm(), vec![Operation::put_unique(same)]).await.unwrap();
    assert_eq!(outcomes(&receipt), [(id(3), 1, WriteOutcome::Created)]);
}

/// Nothing crosses from one tenant to another, also under the same ids, nor from one scope to another.
async fn scopes_and_tenants_are_apart(store: Arc<dyn MemoryStore>) {
    let other = TenantId::new("other").unwrap();
    let foreign = ScopeKey::new(other.clone(), Scope::new("longterm").unwrap());
    let theirs = changed(1, "theirs");
    append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    append(&*store, &scope("longterm/a"), entries([3])).await.unwrap();
    assert_eq!(append(&*store, &foreign, vec![theirs.clone()]).await.unwrap().revision, Revision(1));
    assert_eq!(content(&*store, &longterm()).await, entries(1..=2));
    assert_eq!(content(&*store, &scope("longterm/a")).await, entries([3]));
    assert_eq!(content(&*store, &foreign).await, std::slice::from_ref(&theirs));
    assert_eq!(store.locate(&other, &id(2)).await.unwrap(), None);
    assert_eq!(store.locate(&other, &id(1)).await.unwrap(), Some(foreign.clone()));
    assert_eq!(store.get(&foreign, &id(1)).await.unwrap(), Some(theirs));
    assert_eq!(store.scopes(&other, None, 10).await.unwrap(), std::slice::from_ref(&foreign.scope));
    assert_eq!(erase(&*store, &foreign, &[2]).await, (1, vec![]));
    assert_eq!(erase(&*store, &foreign, &[1]).await, (2, vec![id(1)]));
    assert_eq!(store.get(&longterm(), &id(1)).await.unwrap(), Some(entry(1)));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(2));
}

/// Whatever is written where, a scope holds exactly what was written to it.
async fn scopes_hold_what_was_written_to_them(store: Arc<dyn MemoryStore>) {
    let scopes = ["session", "session/1", "session/1/a", "session/11", "longterm", "user/1"].map(scope);
    // Steps of a prime visit the scopes in an order without pattern.
    for number in 0..60 {
        let holder = &scopes[(number * 37) % scopes.len()];
        let mut said = changed(number, "the same everywhere");
        said.tags = vec![holder.scope.as_str().to_owned()];
        let operation = if number % 2 == 0 { Operation::put_unique(said) } else { Operation::put(said) };
        write(&*store, holder, vec![operation]).await.unwrap();
    }
    for holder in &scopes {
        let held = content(&*store, holder).await;
        assert!(!held.is_empty());
        assert!(held.iter().all(|entry| entry.tags == [holder.scope.as_str()]), "{held:?}");
    }
    let mut names: Vec<Scope> = scopes.iter().map(|key| key.scope.clone()).collect();
    names.sort();
    let tenant = TenantId::local();
    assert_eq!(store.scopes(&tenant, None, 100).await.unwrap(), names);
    assert_eq!(store.scopes(&tenant, Some(&names[1]), 2).await.unwrap(), names[2..4]);
    assert_eq!(store.tenants(None, 10).await.unwrap(), std::slice::from_ref(&tenant));
    assert!(store.tenants(Some(&tenant), 10).await.unwrap().is_empty());
}

/// A great batch is written and erased whole.
async fn large_batches_are_whole(store: Arc<dyn MemoryStore>) {
    let receipt = append(&*store, &longterm(), entries(0..1_000)).await.unwrap();
    assert_eq!((receipt.written.len(), receipt.revision), (1_000, Revision(1_000)));
    let ids: Vec<usize> = (0..1_000).filter(|number| number % 4 != 0).collect();
    assert_eq!(erase(&*store, &longterm(), &ids).await.1.len(), 750);
    assert_eq!(content(&*store, &longterm()).await, entries((0..1_000).step_by(4)));
}

/// Texts come back byte for byte, whatever they hold.
async fn every_text_comes_back_as_it_was(store: Arc<dyn MemoryStore>) {
    let texts = [
        "".to_owned(),
        "Zoë läuft über die Straße; 猫は可愛い; 👩‍👩‍👧".to_owned(),
        "e\u{301} is not \u{e9}".to_owned(),
        "a\0b\r\n\t\"quoted\" 'single' \\ %_; DROP TABLE records".to_owned(),
        "long ".repeat(13_000),
    ];
    let written: Vec<Entry> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let recorded_at = Timestamp::from_millis(-1 - number as i64);
            Entry::new(id(number), text.as_str(), vec![text.chars().take(50).collect()], recorded_at)
        })
        .collect();
    append(&*store, &longterm(), written.clone()).await.unwrap();
    assert_eq!(content(&*store, &longterm()).await, written);
    for entry in written {
        assert_eq!(store.get(&longterm(), &entry.id).await.unwrap(), Some(entry));
    }
}

/// Appends that come at once are each whole and in a row, numbered without holes.
async fn concurrent_appends_leave_no_holes(store: Arc<dyn MemoryStore>) {
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let batch = entries(task * 10..task * 10 + 4);
                append(&*store, &longterm(), batch).await.unwrap().revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.push(task.await.unwrap().0);
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=16).map(|number| number * 4).collect::<Vec<_>>());
    let records = scanned(&*store, &longterm()).await;
    assert_dense(&records);
    for batch in records.chunks(4) {
        let first: usize = batch[0].id.as_str().trim_start_matches("mem-").parse().unwrap();
        let ids: Vec<_> = batch.iter().map(|record| record.id.clone()).collect();
        assert_eq!(ids, (first..first + 4).map(id).collect::<Vec<_>>());
    }
}

/// While others append, a reader that follows by revision misses nothing.
async fn a_scan_never_sees_a_later_append_without_the_earlier_ones(store: Arc<dyn MemoryStore>) {
    const WRITERS: usize = 8;
    const EACH: usize = 5;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0..EACH {
                    append(&*store, &longterm(), entries([writer * EACH + number])).await.unwrap();
                }
            })
        })
        .collect();
    let mut followed = Vec::new();
    while followed.len() < WRITERS * EACH {
        let after = Revision(followed.len() as u64);
        followed.extend(store.scan(&longterm(), after, 3).await.unwrap());
        assert_dense(&followed);
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(followed, scanned(&*store, &longterm()).await);
}
