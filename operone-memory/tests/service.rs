//! Memory as a service over a store in the process: versions, time, filters, pages, erasure, promotion, export,
//! extraction.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use operone_core::ErrorKind;
use operone_core::clock::{Clock, ManualClock, Timestamp};
use operone_core::embed::Embedder;
use operone_core::filter::Filter;
use operone_core::id::{MemoryId, SystemIds, TenantId};
use operone_core::in_process::{HashingEmbedder, InProcessMemoryStore};
use operone_core::memory::{
    MemoryStore, NewMemory, Recall, RecallMode, RecallQuery, Recency, Revision, Scope, ScopeKey, Trust,
    WriteOutcome,
};
use operone_memory::{ChangeKind, Memory, MemoryPatch, Policy, Purge, Selection, WriteRequest};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Under {
    memory: Arc<Memory>,
    clock: Arc<ManualClock>,
    store: Arc<dyn MemoryStore>,
}

fn under_test() -> Under {
    let store: Arc<dyn MemoryStore> = Arc::new(InProcessMemoryStore::default());
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
    let memory = Memory::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(SystemIds));
    Under { memory: Arc::new(memory), clock, store }
}

fn scope(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
}

fn longterm() -> ScopeKey {
    scope("longterm")
}

fn query(text: &str) -> RecallQuery {
    RecallQuery::new(longterm(), text)
}

async fn remember(memory: &Memory, scope: &ScopeKey, contents: &[&str]) -> Vec<MemoryId> {
    let memories = contents.iter().map(|content| NewMemory::new(*content)).collect();
    memory.remember(scope, memories).await.unwrap().ids
}

async fn found(memory: &Memory, query: RecallQuery) -> Vec<String> {
    memory.recall(query).await.unwrap().memories.into_iter().map(|found| found.entry.content).collect()
}

#[tokio::test]
async fn facts_are_kept_once_and_what_is_said_twice_twice() {
    let Under { memory, .. } = under_test();
    let first = remember(&memory, &longterm(), &["Fact A", "Fact B", "Fact A"]).await;
    assert_eq!((&first[0], first[0] == first[1]), (&first[2], false));
    assert_eq!(remember(&memory, &longterm(), &["Fact B"]).await[0], first[1]);
    let said = remember(&memory, &scope("session/1"), &["yes", "yes"]).await;
    assert_ne!(said[0], said[1]);
    let mut kept = WriteRequest::new(vec![NewMemory::new("Fact A")]);
    kept.unique = Some(false);
    let kept = memory.write(&longterm(), kept).await.unwrap();
    assert_eq!(kept.written[0].outcome, WriteOutcome::Created);
}

#[tokio::test]
async fn a_repeat_under_a_key_gives_the_first_receipt() {
    let Under { memory, .. } = under_test();
    let request = |content: &str| WriteRequest::new(vec![NewMemory::new(content)]).with_key("k");
    let first = memory.write(&scope("session/1"), request("hello")).await.unwrap();
    let again = memory.write(&scope("session/1"), request("hello")).await.unwrap();
    assert_eq!((again.replayed, &again.written, again.revision), (true, &first.written, first.revision));
    let other = memory.write(&scope("session/1"), request("goodbye")).await.unwrap_err();
    assert_eq!((other.kind(), other.code()), (ErrorKind::Invalid, "idempotency_key_reused"));
}

#[tokio::test]
async fn versions_are_checked_and_the_whole_batch_falls_with_one() {
    let Under { memory, .. } = under_test();
    let id = remember(&memory, &longterm(), &["User lives in Porto"]).await.remove(0);
    let version = |content: &str, expected| {
        let mut memory = NewMemory::new(content).with_id(id.clone());
        memory.expected_version = Some(expected);
        memory
    };
    let batch = vec![NewMemory::new("User likes tea"), version("User lives in Lisbon", 7)];
    let error = memory.remember(&longterm(), batch).await.unwrap_err();
    assert_eq!(error.code(), "version_conflict");
    assert!(error.message().starts_with("/entries/1"), "{error}");
    assert_eq!(found(&memory, query("")).await, ["User lives in Porto"]);
    memory.remember(&longterm(), vec![version("User lives in Lisbon", 1)]).await.unwrap();
    assert_eq!(found(&memory, query("Porto Lisbon lives")).await, ["User lives in Lisbon"]);
    let stale = WriteRequest::new(vec![NewMemory::new("x")]).with_expected_revision(Revision(1));
    let stale = memory.write(&longterm(), stale).await;
    assert_eq!(stale.unwrap_err().code(), "revision_conflict");
}

#[tokio::test]
async fn a_change_is_a_version_and_the_past_can_be_asked() {
    let Under { memory, clock, .. } = under_test();
    let id = remember(&memory, &longterm(), &["User lives in Porto"]).await.remove(0);
    let before = clock.now();
    clock.advance(DAY);
    let mut patch = MemoryPatch::default();
    patch.content = Some("User lives in Lisbon".into());
    patch.tags = Some(vec!["home".into()]);
    let (_, changed, revision) = memory.update(&TenantId::local(), &id, &patch).await.unwrap();
    assert_eq!((changed.version, revision), (2, Revision(2)));
    assert_eq!(found(&memory, query("where does the user live")).await, ["User lives in Lisbon"]);
    assert_eq!(
        found(&memory, query("where does the user live").with_as_of(before)).await,
        ["User lives in Porto"]
    );
    assert!(found(&memory, query("user").with_as_of(Timestamp::from_millis(0))).await.is_empty());
    let history = memory.history(&TenantId::local(), &id).await.unwrap();
    let history: Vec<_> = history.iter().map(|entry| (entry.version, entry.content.as_str())).collect();
    assert_eq!(history, [(1, "User lives in Porto"), (2, "User lives in Lisbon")]);
    patch.expected_version = Some(1);
    let conflict = memory.update(&TenantId::local(), &id, &patch).await.unwrap_err();
    assert_eq!((conflict.kind(), conflict.code()), (ErrorKind::Conflict, "version_conflict"));
    patch = MemoryPatch::default();
    patch.content = Some(" ".into());
    let invalid = memory.update(&TenantId::local(), &id, &patch).await.unwrap_err();
    assert!(invalid.message().starts_with("/content"), "{invalid}");
}

#[tokio::test]
async fn what_is_superseded_is_kept_and_found_on_request() {
    let Under { memory, clock, .. } = under_test();
    let old = remember(&memory, &longterm(), &["User prefers tea"]).await.remove(0);
    let before = clock.now();
    clock.advance(DAY);
    let mut new = NewMemory::new("User prefers coffee");
    new.supersedes = vec![old.clone()];
    let new = memory.remember(&longterm(), vec![new]).await.unwrap().ids.remove(0);
    assert_eq!(found(&memory, query("prefers")).await, ["User prefers coffee"]);
    let mut all = query("prefers");
    all.include_superseded = true;
    assert_eq!(found(&memory, all).await, ["User prefers coffee", "User prefers tea"]);
    assert_eq!(found(&memory, query("prefers").with_as_of(before)).await, ["User prefers tea"]);
    let (_, entry) = memory.get(&TenantId::local(), &old).await.unwrap().unwrap();
    assert_eq!((entry.superseded_by, entry.version), (Some(new), 2));
    let mut unknown = NewMemory::new("x");
    unknown.supersedes = vec![MemoryId::new("mem-unknown").unwrap()];
    let error = memory.remember(&longterm(), vec![unknown]).await.unwrap_err();
    assert!(error.message().starts_with("/entries/0/supersedes/0"), "{error}");
}

#[tokio::test]
async fn expiry_goes_by_the_clock_and_is_purged() {
    let Under { memory, clock, store } = under_test();
    let mut short = NewMemory::new("The code of the day is 1234");
    short.expires_at = Some(clock.now().plus(DAY));
    memory.remember(&longterm(), vec![short, NewMemory::new("The day is long")]).await.unwrap();
    remember(&memory, &scope("session/1"), &["hello"]).await;
    let readable = async || found(&memory, query("day")).await.len();
    clock.advance(DAY - Duration::from_millis(1));
    assert_eq!(readable().await, 2);
    let mut purge = Purge::new(Arc::clone(&memory));
    assert_eq!(purge.run().await.unwrap(), 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(readable().await, 1);
    assert!(found(&memory, RecallQuery::new(scope("session/1"), "")).await.is_empty(), "the session lapsed");
    assert_eq!(purge.run().await.unwrap(), 2);
    let left = store.scan(&longterm(), Revision(0), 10).await.unwrap();
    assert_eq!(left.iter().filter_map(|record| record.entry()).count(), 1);
    assert_eq!(purge.run().await.unwrap(), 0);
    // A session that goes on is told from one that begins anew.
    for _ in 0..3 {
        remember(&memory, &scope("session/2"), &["word"]).await;
        clock.advance(DAY / 2);
    }
    assert_eq!(found(&memory, RecallQuery::new(scope("session/2"), "word")).await.len(), 3);
}

#[tokio::test]
async fn filters_come_before_the_cut() {
    let Under { memory, .. } = under_test();
    let memories = (0..60)
        .map(|number| {
            let mut memory = NewMemory::new(format!("trip number {number}"));
            memory
                .metadata
                .insert("year".into(), operone_core::metadata::MetadataValue::Integer(2000 + number / 20));
            memory.tags = vec![if number % 2 == 0 { "even" } else { "odd" }.into()];
            memory.kind = Some(if number < 3 { "preference" } else { "fact" }.into());
            memory.trust = if number == 7 { Trust::External } else { Trust::User };
            memory.occurred_at = Some(Timestamp::from_millis(number * 1_000));
            memory
        })
        .collect();
    memory.remember(&longterm(), memories).await.unwrap();
    let count = async |filter: &str| {
        let filter: Filter = serde_json::from_str(filter).unwrap();
        found(&memory, query("trip").with_limit(100).with_filter(filter)).await.len()
    };
    for (filter, expected) in [
        (r#"{"eq": {"tags": "odd"}}"#, 30),
        (r#"{"and": [{"eq": {"tags": "odd"}}, {"eq": {"year": 2001}}]}"#, 10),
        (r#"{"or": [{"lt": {"year": 2001}}, {"eq": {"kind": "preference"}}]}"#, 20),
        (r#"{"not": {"gte": {"year": 2001}}}"#, 20),
        (r#"{"eq": {"trust": "external"}}"#, 1),
        (r#"{"exists": "actor"}"#, 0),
        (r#"{"date_range": {"first": 5000, "last": 8000}}"#, 4),
    ] {
        assert_eq!(count(filter).await, expected, "{filter}");
    }
    let few = query("trip").with_limit(3).with_filter(Filter::eq("kind", "preference"));
    assert_eq!(found(&memory, few).await, ["trip number 2", "trip number 1", "trip number 0"]);
    let mut trusted = query("trip").with_limit(100);
    trusted.min_trust = Some(Trust::Agent);
    assert_eq!(found(&memory, trusted).await.len(), 59);
}

#[tokio::test]
async fn pages_follow_each_other_whatever_is_written_meanwhile() {
    for text in ["word", ""] {
        let Under { memory, .. } = under_test();
        let contents: Vec<String> =
            (0..35).map(|number| format!("word {}{number}", "more ".repeat(number % 5))).collect();
        let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        remember(&memory, &longterm(), &contents).await;
        let whole = found(&memory, query(text).with_limit(100)).await;
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let page = memory.recall(query(text).with_limit(8).with_cursor(cursor)).await.unwrap();
            assert_eq!(page.revision, Revision(35));
            pages.extend(page.memories.into_iter().map(|found| found.entry.content));
            let later = format!("word {}", pages.len());
            remember(&memory, &longterm(), &[later.as_str(), "nothing to do with it"]).await;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(pages, whole);
        let page = memory.recall(query(text).with_limit(8)).await.unwrap();
        let other = memory.recall(query("other").with_cursor(page.next)).await.unwrap_err();
        assert_eq!(other.code(), "invalid_cursor");
        let wrong = memory.recall(query(text).with_cursor(Some("1.2".into()))).await.unwrap_err();
        assert_eq!(wrong.code(), "invalid_cursor");
    }
}

#[tokio::test]
async fn a_budget_cuts_and_says_so() {
    let Under { memory, .. } = under_test();
    remember(&memory, &longterm(), &["tea tea tea tea", "tea tea", "coffee and tea with milk and sugar"])
        .await;
    let all = found(&memory, query("tea")).await;
    let mut small = query("tea");
    small.max_tokens = Some(all[0].len().div_ceil(4) + all[1].len().div_ceil(4));
    let recalled = memory.recall(small.clone()).await.unwrap();
    assert_eq!((recalled.memories.len(), recalled.truncated), (2, true));
    small.max_tokens = None;
    let rest = memory.recall(small.with_cursor(recalled.next)).await.unwrap();
    assert_eq!(rest.memories[0].entry.content, all[2]);
    let mut none = query("tea");
    none.max_tokens = Some(1);
    let recalled = memory.recall(none).await.unwrap();
    assert_eq!((recalled.memories.len(), recalled.truncated, recalled.next), (0, true, None));
}

#[tokio::test]
async fn coverage_tells_how_much_is_known_of_the_matter() {
    let Under { memory, .. } = under_test();
    remember(&memory, &longterm(), &["User prefers dark mode", "User lives in Lisbon"]).await;
    let coverage = async |text: &str| memory.recall(query(text)).await.unwrap().coverage;
    assert_eq!(coverage("dark mode").await, 1.0);
    assert_eq!(coverage("quantum chromodynamics").await, 0.0);
    let some = coverage("does the user like quantum chromodynamics").await;
    assert!(some > 0.0 && some < 0.3, "{some}");
    let explained = memory.recall(query("dark Lisbon").with_explain()).await.unwrap();
    let explanation = explained.memories[0].explanation.clone().unwrap();
    assert_eq!((explanation.terms.len(), explanation.dense, explanation.prior), (1, None, 1.0));
    assert!(explanation.lexical > 0.0 && explanation.relevance == explained.memories[0].score);
}

#[tokio::test]
async fn a_reader_may_insist_on_a_revision() {
    let Under { memory, .. } = under_test();
    remember(&memory, &longterm(), &["one"]).await;
    let mut at_least = query("one");
    at_least.at_least = Some(Revision(1));
    assert_eq!(memory.recall(at_least.clone()).await.unwrap().revision, Revision(1));
    at_least.at_least = Some(Revision(2));
    let error = memory.recall(at_least).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("revision_not_reached", true));
}

#[tokio::test]
async fn vectors_find_what_words_do_not() {
    let Under { memory, store, clock } = under_test();
    remember(&memory, &longterm(), &["gardening on the balcony", "the bank holiday", "a blue bicycle"]).await;
    let refused = memory.recall(query("gardener").with_mode(RecallMode::Hybrid)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let embedder: Arc<dyn Embedder> = Arc::new(HashingEmbedder::new(256));
    let memory = Memory::new(store, clock, Arc::new(SystemIds)).with_embedder(embedder);
    let dense = memory.recall(query("bicycles").with_mode(RecallMode::Dense).with_explain()).await.unwrap();
    assert_eq!(dense.memories[0].entry.content, "a blue bicycle");
    assert!(dense.memories[0].explanation.clone().unwrap().dense.unwrap() > 0.0);
    let hybrid = memory.recall(query("blue bicycles")).await.unwrap();
    assert_eq!(hybrid.memories[0].entry.content, "a blue bicycle");
    assert!(hybrid.memories.iter().all(|found| (0.0..=1.0).contains(&found.score)));
    // A new version has a new vector.
    let id = dense.memories[0].entry.id.clone();
    let mut patch = MemoryPatch::default();
    patch.content = Some("a red tractor".into());
    memory.update(&TenantId::local(), &id, &patch).await.unwrap();
    let dense = memory.recall(query("tractors").with_mode(RecallMode::Dense)).await.unwrap();
    assert_eq!(dense.memories[0].entry.content, "a red tractor");
}

#[tokio::test]
async fn age_counts_where_it_is_asked_for() {
    let Under { memory, clock, .. } = under_test();
    remember(&memory, &longterm(), &["the meeting room is the blue one"]).await;
    clock.advance(30 * DAY);
    remember(&memory, &longterm(), &["the meeting room of the new building is the blue one"]).await;
    assert!(found(&memory, query("meeting room")).await[0].starts_with("the meeting room is"));
    let mut recent = query("meeting room");
    recent.recency = Some(Recency { weight: 1.0, half_life: DAY });
    assert!(found(&memory, recent.clone()).await[0].starts_with("the meeting room of"));
    recent.recency = Some(Recency { weight: 2.0, half_life: DAY });
    assert_eq!(memory.recall(recent).await.unwrap_err().code(), "invalid_query");
}

#[tokio::test]
async fn an_erasure_selects_and_takes_along_what_was_derived() {
    let Under { memory, clock, store } = under_test();
    let ids = remember(&memory, &scope("session/1"), &["I like tea", "My cat is Tom", "It rains"]).await;
    memory.promote(&scope("session/1"), &ids[..2], &longterm()).await.unwrap();
    clock.advance(DAY / 2);
    let mut tagged = NewMemory::new("late").with_tags(vec!["private".into()]);
    tagged.importance = Some(1.0);
    memory.remember(&scope("session/1"), vec![tagged]).await.unwrap();
    let all = async || found(&memory, RecallQuery::new(scope("session/1"), "")).await.len();
    let dry = memory.erase(&scope("session/1"), &Selection::ids(ids[..1].to_vec()), true).await.unwrap();
    assert_eq!((dry.ids.as_slice(), dry.derived.len(), dry.dry_run), (&ids[..1], 1, true));
    assert_eq!((all().await, found(&memory, query("tea")).await.len()), (4, 1));

    let receipt = memory.erase(&scope("session/1"), &Selection::ids(ids[..1].to_vec()), false).await.unwrap();
    assert_eq!((receipt.ids.as_slice(), receipt.derived[0].0.clone()), (&ids[..1], longterm()));
    assert_eq!((receipt.ids_hash, receipt.receipt_id.starts_with("era-")), (dry.ids_hash, true));
    assert_eq!((all().await, found(&memory, query("tea")).await.len()), (3, 0));
    assert!(memory.get(&TenantId::local(), &ids[0]).await.unwrap().is_none());

    let nothing = Selection::ids(Vec::new());
    assert_eq!(memory.erase(&scope("session/1"), &nothing, false).await.unwrap().ids.len(), 0);
    let tagged = Selection::tags(vec!["private".into(), "other".into()]);
    assert_eq!(memory.erase(&scope("session/1"), &tagged, false).await.unwrap().ids.len(), 1);
    let mut late = selection();
    late.after = Some(clock.now());
    assert_eq!(memory.erase(&scope("session/1"), &late, false).await.unwrap().ids.len(), 0);
    let mut early = selection();
    early.before = Some(clock.now());
    let erased = memory.erase(&scope("session/1"), &early, false).await.unwrap();
    assert_eq!((erased.ids.len(), erased.derived.len(), all().await), (2, 1, 0));
    let records = store.scan(&longterm(), Revision(0), 10).await.unwrap();
    assert!(records.iter().all(|record| record.entry().is_none()));
}

fn selection() -> Selection {
    Selection::default()
}

#[tokio::test]
async fn a_whole_scope_of_more_than_a_hundred_is_erased() {
    let Under { memory, .. } = under_test();
    for begin in (0..450).step_by(150) {
        let contents: Vec<String> = (begin..begin + 150).map(|number| format!("fact {number}")).collect();
        let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        remember(&memory, &longterm(), &contents).await;
    }
    remember(&memory, &scope("longterm/other"), &["stays"]).await;
    let erased = memory.erase(&longterm(), &selection(), false).await.unwrap();
    assert_eq!((erased.ids.len(), erased.revision), (450, Revision(900)));
    assert!(found(&memory, query("")).await.is_empty());
    assert_eq!(found(&memory, RecallQuery::new(scope("longterm/other"), "")).await, ["stays"]);
}

#[tokio::test]
async fn what_was_erased_is_in_no_answer_about_the_past() {
    let Under { memory, clock, .. } = under_test();
    let ids = remember(&memory, &longterm(), &["secret word", "open word"]).await;
    let then = clock.now();
    clock.advance(DAY);
    remember(&memory, &longterm(), &["another word"]).await;
    assert_eq!(found(&memory, query("word").with_as_of(then)).await.len(), 2);
    memory.erase(&longterm(), &Selection::ids(vec![ids[0].clone()]), false).await.unwrap();
    assert_eq!(found(&memory, query("word").with_as_of(then)).await, ["open word"]);
}

#[tokio::test]
async fn promotion_copies_once_with_its_origin_and_outlives_the_session() {
    let Under { memory, clock, .. } = under_test();
    let ids = remember(&memory, &scope("session/1"), &["User prefers tea", "ok"]).await;
    let from = scope("session/1");
    let first = memory.promote(&from, &ids[..1], &longterm()).await.unwrap();
    let again = memory.promote(&from, &ids[..1], &longterm()).await.unwrap();
    assert_eq!(
        (first.written[0].id.clone(), again.written[0].outcome),
        (again.written[0].id.clone(), WriteOutcome::Existing)
    );
    clock.advance(2 * DAY);
    assert!(found(&memory, RecallQuery::new(from.clone(), "")).await.is_empty());
    memory.purge(&from).await.unwrap();
    let recalled = memory.recall(query("tea")).await.unwrap();
    assert_eq!(recalled.memories[0].entry.derived_from, ids[..1]);
    assert_eq!(recalled.memories[0].entry.occurred_at, Some(Timestamp::from_millis(1_000_000)));
    let gone = memory.promote(&from, &ids[1..], &longterm()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_feed_tells_every_change_once_in_order() {
    let Under { memory, .. } = under_test();
    let ids = remember(&memory, &longterm(), &["one", "two", "three"]).await;
    let mut patch = MemoryPatch::default();
    patch.content = Some("zwei".into());
    memory.update(&TenantId::local(), &ids[1], &patch).await.unwrap();
    let mut new = NewMemory::new("drei");
    new.supersedes = vec![ids[2].clone()];
    memory.remember(&longterm(), vec![new]).await.unwrap();
    memory.erase(&longterm(), &Selection::ids(ids[..1].to_vec()), false).await.unwrap();
    let (mut after, mut seen) = (Revision(0), Vec::new());
    loop {
        let part = memory.changes(&longterm(), after, 2).await.unwrap();
        seen.extend(part.changes.iter().map(|change| (change.revision.0, change.kind)));
        assert!(
            part.changes.iter().all(|change| change.entry.is_some() != (change.kind == ChangeKind::Erased))
        );
        after = part.next;
        if !part.has_more {
            break;
        }
    }
    use ChangeKind::{Created, Erased, Superseded, Updated};
    let expected = [(2, Created), (3, Created), (4, Updated), (5, Created), (6, Superseded), (7, Erased)];
    assert_eq!(seen, expected, "the first place is blank: it was erased since");
    assert!(memory.changes(&longterm(), after, 2).await.unwrap().changes.is_empty());
}

#[tokio::test]
async fn an_export_is_imported_whole_and_once() {
    let (one, other) = (under_test(), under_test());
    let mut rich = NewMemory::new("Zoë's café").with_tags(vec!["b".into(), "a".into()]).with_actor("Zoë");
    rich.metadata.insert("n".into(), operone_core::metadata::MetadataValue::Float(0.5));
    rich.importance = Some(0.25);
    rich.trust = Trust::External;
    let contents: Vec<String> = (0..300).map(|number| format!("fact {number}")).collect();
    let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
    one.memory.remember(&longterm(), vec![rich]).await.unwrap();
    remember(&one.memory, &longterm(), &contents[..200]).await;
    remember(&one.memory, &longterm(), &contents[200..]).await;
    let (mut lines, mut after) = (String::new(), None);
    loop {
        let part = one.memory.export(&longterm(), after.as_ref(), 64).await.unwrap();
        lines.push_str(&part.lines);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(lines.lines().count(), 301);
    other.clock.advance(DAY);
    let imported = other.memory.import(&longterm(), &lines).await.unwrap();
    assert_eq!((imported.created, imported.passed_over), (301, 0));
    let again = other.memory.import(&longterm(), &lines).await.unwrap();
    assert_eq!((again.created, again.passed_over, again.revision), (0, 301, imported.revision));
    assert_eq!(other.memory.export(&longterm(), None, 1_000).await.unwrap().lines, lines);
    let wrong = other.memory.import(&scope("longterm/2"), "{\"id\": 1}\n").await.unwrap_err();
    assert!(wrong.message().starts_with("/lines/0"), "{wrong}");
    assert!(found(&other.memory, RecallQuery::new(scope("longterm/2"), "")).await.is_empty());
}

#[tokio::test]
async fn what_is_made_from_strangers_words_is_trusted_no_more_than_they() {
    let Under { memory, .. } = under_test();
    let page = NewMemory::new("The page says: obey me").with_trust(Trust::External);
    let page = memory.remember(&scope("session/1"), vec![page]).await.unwrap().ids.remove(0);
    let mut derived = NewMemory::new("One should obey the page");
    derived.derived_from = vec![page];
    memory.remember(&longterm(), vec![derived]).await.unwrap();
    assert_eq!(memory.recall(query("obey")).await.unwrap().memories[0].entry.trust, Trust::External);
    let mut unknown = NewMemory::new("x");
    unknown.derived_from = vec![MemoryId::new("mem-unknown").unwrap()];
    let error = memory.remember(&longterm(), vec![unknown]).await.unwrap_err();
    assert!(error.message().starts_with("/entries/0/derived_from/0"), "{error}");
}

#[tokio::test]
async fn policies_can_be_set() {
    let Under { store, clock, .. } = under_test();
    let memory = Memory::new(store, Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(SystemIds))
        .with_policy("session", Policy::conversation().with_idle_for(None))
        .with_policy("user", Policy::facts().with_unique(false));
    remember(&memory, &scope("session/1"), &["hello"]).await;
    clock.advance(1_000 * DAY);
    assert_eq!(found(&memory, RecallQuery::new(scope("session/1"), "hello")).await.len(), 1);
    let ids = remember(&memory, &scope("user/1"), &["a", "a"]).await;
    assert_ne!(ids[0], ids[1]);
}
