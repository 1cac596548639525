//! What extractors derive from memories, off the path of writing.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::clock::SystemClock;
use operone_core::id::{MemoryId, SystemIds, TenantId};
use operone_core::in_process::{InProcessMemoryStore, ScriptedModel, ScriptedTurn};
use operone_core::memory::{Entry, MemoryStore, NewMemory, Recall, RecallQuery, Revision, Scope, ScopeKey};
use operone_memory::{Extraction, Extractor, Finding, Memory, ModelExtractor, Selection, SentenceExtractor};

fn under_test() -> (Arc<Memory>, Arc<dyn MemoryStore>) {
    let store: Arc<dyn MemoryStore> = Arc::new(InProcessMemoryStore::default());
    let memory = Memory::new(Arc::clone(&store), Arc::new(SystemClock), Arc::new(SystemIds));
    (Arc::new(memory), store)
}

fn scope(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
}

async fn remember(memory: &Memory, scope: &ScopeKey, contents: &[&str]) -> Vec<MemoryId> {
    let memories = contents.iter().map(|content| NewMemory::new(*content)).collect();
    memory.remember(scope, memories).await.unwrap().ids
}

async fn found(memory: &Memory, query: RecallQuery) -> Vec<String> {
    memory.recall(query).await.unwrap().memories.into_iter().map(|found| found.entry.content).collect()
}

#[tokio::test]
async fn an_extraction_goes_on_where_it_stopped_and_cites() {
    let (memory, store) = under_test();
    let (from, to) = (scope("session/1"), scope("user/1"));
    let job = || {
        Extraction::new(Arc::clone(&memory), Arc::new(SentenceExtractor), from.clone(), to.clone())
            .with_at_once(2)
    };
    let said = ["Hello. I like tea. It rains.", "Really?", "My cat is Tom.", "ok", "We live in Lisbon."];
    let ids = remember(&memory, &from, &said).await;
    assert_eq!(
        found(&memory, RecallQuery::new(from.clone(), "tea")).await.len(),
        1,
        "found before any job ran"
    );
    let step = job().step().await.unwrap();
    assert_eq!((step.written, step.read, step.is_done), (1, Revision(2), false));
    let progress = job().run().await.unwrap();
    assert_eq!((progress.written, progress.read, progress.is_done), (2, Revision(5), true));
    assert_eq!(job().run().await.unwrap().written, 0);
    let all = RecallQuery::new(to.clone(), "");
    let facts = memory.recall(all.clone()).await.unwrap().memories;
    let facts: Vec<&Entry> = facts.iter().map(|found| &found.entry).collect();
    assert_eq!(facts[0].content, "We live in Lisbon.");
    assert_eq!(
        (facts[0].derived_from.as_slice(), facts[0].derived_by.as_deref()),
        (&ids[4..], Some("sentences"))
    );
    assert_eq!(facts[2].content, "I like tea.");

    // What was erased takes along what was found in it; the rest can be dropped and found again.
    memory.erase(&from, &Selection::ids(ids[2..3].to_vec()), false).await.unwrap();
    assert_eq!(found(&memory, all.clone()).await, ["We live in Lisbon.", "I like tea."]);
    remember(&memory, &to, &["written by hand"]).await;
    assert_eq!(job().drop_all().await.unwrap(), 2);
    assert_eq!(found(&memory, all.clone()).await, ["written by hand"]);
    assert_eq!(job().run().await.unwrap().written, 2);
    assert_eq!(found(&memory, all).await, ["We live in Lisbon.", "I like tea.", "written by hand"]);
    assert_eq!(store.scan(&from, Revision(0), 100).await.unwrap().len(), 6, "the source was not touched");
}

#[derive(Debug)]
struct Uncited;

#[async_trait]
impl Extractor for Uncited {
    fn name(&self) -> String {
        "uncited".into()
    }

    async fn extract(&self, new: &[Entry], _: &[Entry]) -> Result<Vec<Finding>> {
        let foreign = MemoryId::new("mem-foreign").unwrap();
        Ok(vec![
            Finding::new(NewMemory::new("from nowhere"), Vec::new()),
            Finding::new(NewMemory::new("from elsewhere"), vec![foreign]),
            Finding::new(NewMemory::new(" "), vec![new[0].id.clone()]),
            Finding::new(NewMemory::new("cited"), vec![new[0].id.clone()]),
        ])
    }
}

#[tokio::test]
async fn findings_without_sources_are_dropped() {
    let (memory, _) = under_test();
    remember(&memory, &scope("session/1"), &["word"]).await;
    let job = Extraction::new(Arc::clone(&memory), Arc::new(Uncited), scope("session/1"), scope("longterm"));
    assert_eq!(job.run().await.unwrap().written, 1);
    assert_eq!(found(&memory, RecallQuery::new(scope("longterm"), "")).await, ["cited"]);
}

#[tokio::test]
async fn a_model_extracts_and_corrects() {
    let (memory, _) = under_test();
    let model = Arc::new(ScriptedModel::new(vec![
        ScriptedTurn::text([
            "Here: ",
            r#"[{"content": "Ada lives in Porto", "kind": "fact", "sources": [1]}]"#,
        ]),
        ScriptedTurn::text(["no JSON"]),
        ScriptedTurn::text([r#"[{"content": "Ada lives in Lisbon", "sources": [1], "replaces": [1]}]"#]),
    ]));
    let extractor = Arc::new(ModelExtractor::new(Arc::clone(&model) as _));
    let job = Extraction::new(Arc::clone(&memory), extractor, scope("session/1"), scope("longterm"));
    remember(&memory, &scope("session/1"), &["I am Ada from Porto"]).await;
    assert_eq!(job.run().await.unwrap().written, 1);
    remember(&memory, &scope("session/1"), &["I moved to Lisbon"]).await;
    let error = job.run().await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("unreadable_answer", true));
    assert_eq!(job.run().await.unwrap().written, 1);
    assert_eq!(
        found(&memory, RecallQuery::new(scope("longterm"), "where does Ada live")).await,
        ["Ada lives in Lisbon"]
    );
    assert_eq!(model.turns_left(), 0);
}
