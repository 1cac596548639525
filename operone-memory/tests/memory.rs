//! Memory over a store in the process: what is written is recalled, ranked, and erased for good.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use operone_core::clock::{ManualClock, Timestamp};
use operone_core::id::{MemoryId, SystemIds, TenantId};
use operone_core::in_process::InProcessMemoryStore;
use operone_core::memory::{
    MemoryStore, NewMemory, Recall, RecallQuery, Recalled, Revision, Scope, ScopeKey,
};
use operone_core::tool::{ToolContext, ToolHandle};
use operone_core::{Error, ErrorKind};
use operone_memory::Memory;
use serde_json::json;

fn scope(scope: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(scope).unwrap())
}

fn store() -> Arc<InProcessMemoryStore> {
    Arc::new(InProcessMemoryStore::default())
}

fn memory(store: &Arc<InProcessMemoryStore>) -> Memory {
    Memory::new(
        Arc::clone(store) as Arc<dyn MemoryStore>,
        Arc::new(ManualClock::default()),
        Arc::new(SystemIds),
    )
}

fn facts<'a>(contents: impl IntoIterator<Item = &'a str>) -> Vec<NewMemory> {
    contents.into_iter().map(NewMemory::new).collect()
}

async fn recall(memory: &Memory, scope: &ScopeKey, text: &str) -> Recalled {
    memory.recall(RecallQuery::new(scope.clone(), text)).await.unwrap()
}

async fn contents(memory: &Memory, scope: &ScopeKey, text: &str) -> Vec<String> {
    recall(memory, scope, text).await.memories.into_iter().map(|found| found.entry.content).collect()
}

#[tokio::test]
async fn what_is_written_is_recalled_at_once() {
    let (store, clock) = (store(), Arc::new(ManualClock::new(Timestamp::from_millis(5))));
    let memory = Memory::new(store, Arc::clone(&clock) as _, Arc::new(SystemIds));
    let longterm = scope("longterm");
    assert_eq!(recall(&memory, &longterm, "dark").await, Recalled::new(Vec::new(), Revision(0)));
    let written = memory.remember(&longterm, facts(["User prefers dark mode", "Fact B"])).await.unwrap();
    assert_eq!((written.ids.len(), written.revision), (2, Revision(2)));
    clock.advance(Duration::from_millis(1));
    let tagged = vec![NewMemory::new("Fact C").with_tags(vec!["preferences".into()])];
    memory.remember(&longterm, tagged).await.unwrap();
    let found = recall(&memory, &longterm, "preferences").await;
    assert_eq!(found.revision, Revision(3));
    let entries: Vec<_> = found.memories.iter().map(|found| &found.entry).collect();
    assert_eq!((entries[0].content.as_str(), entries[0].recorded_at), ("Fact C", Timestamp::from_millis(6)));
    assert_eq!((entries[1].id.clone(), entries.len()), (written.ids[0].clone(), 2));
    assert_eq!(found.memories[0].score, 1.0);
    assert!(found.memories[1].score > 0.0 && found.memories[1].score < 1.0);
}

#[tokio::test]
async fn an_empty_query_gives_the_newest() {
    let memory = memory(&store());
    let scope = scope("longterm");
    memory.remember(&scope, facts(["one", "two", "three"])).await.unwrap();
    let newest = memory.recall(RecallQuery::new(scope, " \n").with_limit(2)).await.unwrap();
    let newest: Vec<_> =
        newest.memories.iter().map(|found| (found.entry.content.as_str(), found.score)).collect();
    assert_eq!(newest, [("three", 1.0), ("two", 1.0)]);
}

#[tokio::test]
async fn scopes_and_tenants_do_not_see_each_other() {
    let memory = memory(&store());
    let other = ScopeKey::new(TenantId::new("other").unwrap(), Scope::new("longterm").unwrap());
    let scopes = [scope("longterm"), scope("session/1"), scope("session/2"), scope("session"), other];
    for (number, scope) in scopes.iter().enumerate() {
        memory.remember(scope, facts([format!("secret number{number}").as_str()])).await.unwrap();
    }
    for (number, scope) in scopes.iter().enumerate() {
        assert_eq!(contents(&memory, scope, "secret").await, [format!("secret number{number}")]);
    }
}

#[tokio::test]
async fn a_supplied_id_is_honoured_and_a_repeat_changes_nothing() {
    let (store, scope) = (store(), scope("longterm"));
    let memory = memory(&store);
    let id = MemoryId::new("mem-mine").unwrap();
    let write = || vec![NewMemory::new("a fact").with_id(id.clone()), NewMemory::new("more")];
    let first = memory.remember(&scope, write()).await.unwrap();
    let again = memory.remember(&scope, vec![NewMemory::new("a fact").with_id(id.clone())]).await.unwrap();
    assert_eq!((first.ids[0].clone(), again.ids), (id.clone(), vec![id]));
    assert_eq!(first.revision, again.revision);
    assert_eq!(contents(&memory, &scope, "fact").await.len(), 1);
}

#[tokio::test]
async fn a_wrong_batch_is_refused_whole() {
    let (memory, scope) = (memory(&store()), scope("longterm"));
    let error = memory.remember(&scope, facts(["fine", " "])).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "invalid_memory"));
    assert!(error.message().starts_with("/entries/1/content"), "{error}");
    assert_eq!(recall(&memory, &scope, "").await.memories, []);
    let nothing = memory.remember(&scope, Vec::new()).await.unwrap();
    assert_eq!((nothing.ids.len(), nothing.revision), (0, Revision(0)));
    for limit in [0, RecallQuery::MAX_LIMIT + 1] {
        let refused = memory.recall(RecallQuery::new(scope.clone(), "x").with_limit(limit)).await;
        assert_eq!(refused.unwrap_err().code(), "invalid_limit");
    }
}

#[tokio::test]
async fn what_another_writes_or_erases_is_seen() {
    let (store, scope) = (store(), scope("session/7"));
    let (one, other) = (memory(&store), memory(&store));
    let contents_of: Vec<String> = (0..2500).map(|number| format!("entry number{number} of many")).collect();
    for batch in contents_of.chunks(250) {
        one.remember(&scope, facts(batch.iter().map(String::as_str))).await.unwrap();
    }
    let found = recall(&other, &scope, "number2499").await;
    assert_eq!(found.memories[0].entry.content, "entry number2499 of many");
    let ids = [found.memories[0].entry.id.clone()];
    store.erase(&scope, &ids, Timestamp::default()).await.unwrap();
    for memory in [&one, &other] {
        let left = recall(memory, &scope, "number2499").await;
        assert!(left.memories.is_empty(), "{left:?}");
        assert_eq!(left.revision, store.revision(&scope).await.unwrap());
    }
    // An index built from the log after the erasure gives the same answers.
    let late = recall(&memory(&store), &scope, "entry number17").await;
    assert_eq!(late, recall(&one, &scope, "entry number17").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_readers_may_come_together() {
    let memory = Arc::new(memory(&store()));
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let memory = Arc::clone(&memory);
        tasks.push(tokio::spawn(async move {
            let scope = scope("longterm");
            for number in 0..20 {
                let content = format!("writer{writer} fact{number}");
                memory.remember(&scope, facts([content.as_str()])).await.unwrap();
                let found = contents(&memory, &scope, &content).await;
                assert_eq!(found[0], content, "a write is seen by its writer");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let all = memory.recall(RecallQuery::new(scope("longterm"), "").with_limit(100)).await.unwrap();
    assert_eq!((all.memories.len(), all.revision), (100, Revision(160)));
}

#[tokio::test]
async fn a_budget_that_is_too_small_changes_no_answer() {
    let store = store();
    let small = memory(&store).with_index_budget(0);
    let scopes: Vec<ScopeKey> = (0..5).map(|number| scope(&format!("session/{number}"))).collect();
    for round in 0..3 {
        for scope in &scopes {
            let content = format!("round{round} of {}", scope.scope.as_str());
            small.remember(scope, facts([content.as_str()])).await.unwrap();
            assert_eq!(contents(&small, scope, &format!("round{round}")).await, [content]);
        }
    }
}

async fn tool(memory: &Arc<dyn Recall>, name: &str) -> ToolHandle {
    operone_memory::tools(memory).into_iter().find(|tool| tool.spec().name == name).unwrap()
}

fn context(key: &str) -> ToolContext {
    let mut context = ToolContext::default();
    context.idempotency_key = key.to_owned();
    context
}

#[tokio::test]
async fn the_tools_write_and_read() {
    let memory: Arc<dyn Recall> = Arc::new(memory(&store()));
    let (read, write) = (tool(&memory, "memory.read").await, tool(&memory, "memory.write").await);
    let input = json!({"content": "User prefers dark mode", "tags": ["preferences"]});
    let first = write.call(&context("run-1:3"), input.clone()).await.unwrap();
    let again = write.call(&context("run-1:3"), input.clone()).await.unwrap();
    let other = write.call(&context("run-1:4"), json!({"content": "Buy milk"})).await.unwrap();
    assert_eq!(first, again);
    assert!(first["id"].as_str().unwrap().starts_with("mem-") && first != other);
    let found = read.call(&context(""), json!({"query": "preferences"})).await.unwrap();
    let entry = json!({"id": first["id"], "content": "User prefers dark mode", "score": 1.0});
    assert_eq!(found, json!({"entries": [entry]}));
    let newest = read.call(&context(""), json!({"query": "", "limit": 1})).await.unwrap();
    assert_eq!(newest["entries"][0]["content"], "Buy milk");
    let elsewhere = read.call(&context(""), json!({"query": "mode", "scope": "session/1"})).await.unwrap();
    assert_eq!(elsewhere, json!({"entries": []}));
    let code = |result: Result<_, Error>| result.unwrap_err().code().to_owned();
    assert_eq!(code(write.call(&context("k"), json!({"content": " "})).await), "invalid_memory");
    assert_eq!(
        code(write.call(&context("k"), json!({"content": "a", "scope": "a b"})).await),
        "invalid_scope"
    );
    // Without a key each call writes; what is said twice is kept twice where people talk, and once among facts.
    for (scope, expected) in [("session/2", 2), ("longterm", 1)] {
        let input = json!({"content": "again", "scope": scope});
        write.call(&context(""), input.clone()).await.unwrap();
        write.call(&context(""), input).await.unwrap();
        let found = read.call(&context(""), json!({"query": "again", "scope": scope})).await.unwrap();
        assert_eq!(found["entries"].as_array().unwrap().len(), expected, "{scope}");
    }
}

mod conformance {
    use std::sync::Arc;

    use operone_core::conformance::tool::ToolUnderTest;
    use operone_core::memory::Recall;
    use serde_json::{Value, json};

    async fn under_test(name: &str, fitting: Value, unfitting: Value) -> (Arc<ToolUnderTest>, ()) {
        let memory: Arc<dyn Recall> = Arc::new(super::memory(&super::store()));
        (Arc::new(ToolUnderTest::new(super::tool(&memory, name).await, fitting, unfitting)), ())
    }

    mod memory_read {
        use super::*;

        async fn fresh() -> (Arc<ToolUnderTest>, ()) {
            under_test("memory.read", json!({"query": "dark"}), json!({"query": 1})).await
        }

        operone_core::tool_conformance!(fresh);
    }

    mod memory_write {
        use super::*;

        async fn fresh() -> (Arc<ToolUnderTest>, ()) {
            under_test("memory.write", json!({"content": "dark"}), json!({"tags": []})).await
        }

        operone_core::tool_conformance!(fresh);
    }
}
