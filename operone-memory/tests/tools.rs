//! Memory tools limited to the scopes that the host grants.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use operone_core::ErrorKind;
use operone_core::clock::ManualClock;
use operone_core::id::{SystemIds, TenantId};
use operone_core::in_process::InProcessMemoryStore;
use operone_core::memory::{NewMemory, Recall, RecallQuery, Scope, ScopeKey};
use operone_core::tool::{ToolContext, ToolHandle};
use operone_memory::{Memory, MemoryAccess, tools_in};
use serde_json::{Value, json};

const SECRET: &str = "the door code of bob is 4711";

fn scope(scope: &str) -> Scope {
    Scope::new(scope).unwrap()
}

fn key(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), scope(name))
}

/// A memory in which bob has a secret and ada a memory that the same query finds.
async fn memory() -> Arc<dyn Recall> {
    let store = Arc::new(InProcessMemoryStore::default());
    let memory = Memory::new(store, Arc::new(ManualClock::default()), Arc::new(SystemIds));
    memory.remember(&key("user/bob"), vec![NewMemory::new(SECRET)]).await.unwrap();
    memory.remember(&key("user/ada"), vec![NewMemory::new("the door code of ada is 12")]).await.unwrap();
    memory.remember(&key("team"), vec![NewMemory::new("the door of the team is blue")]).await.unwrap();
    Arc::new(memory)
}

fn ada() -> MemoryAccess {
    MemoryAccess::read_write([scope("user/ada")])
}

fn ada_and_team() -> MemoryAccess {
    MemoryAccess::read_write(["user/ada", "team", "user/ada"].map(scope))
}

fn names(tools: &[ToolHandle]) -> Vec<&str> {
    tools.iter().map(|tool| tool.spec().name.as_str()).collect()
}

fn tool(memory: &Arc<dyn Recall>, access: MemoryAccess, name: &str) -> ToolHandle {
    tools_in(memory, access).into_iter().find(|tool| tool.spec().name == name).unwrap()
}

async fn contents(memory: &Arc<dyn Recall>, name: &str) -> Vec<String> {
    let recalled = memory.recall(RecallQuery::new(key(name), "")).await.unwrap();
    recalled.memories.into_iter().map(|found| found.entry.content).collect()
}

/// Calls a tool with each scope that is not granted; each must be refused in the same way.
async fn is_refused_elsewhere(tool: &ToolHandle, input: &Value, granted: &str) {
    for other in ["user/bob", "user/nobody", "longterm", "user", "user/ada/notes", "user/ADA", "a b", "", "*"]
    {
        let mut input = input.clone();
        input["scope"] = other.into();
        let error = tool.call(&ToolContext::default(), input).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "scope_not_granted"), "{other}");
        let expected = format!("the scope '{other}' is not granted; granted scopes: {granted}");
        assert_eq!(error.message(), expected);
    }
}

#[tokio::test]
async fn an_injected_scope_is_not_read() {
    let memory = memory().await;
    for (access, granted) in [(ada(), "user/ada"), (ada_and_team(), "user/ada, team")] {
        let read = tool(&memory, access, "memory.read");
        is_refused_elsewhere(&read, &json!({"query": "door code"}), granted).await;
        for own in [
            json!({"query": "door code of bob"}),
            json!({"query": "door code of bob", "scope": null}),
            json!({"query": "door code of bob", "scope": "user/ada"}),
            json!({"query": "door code of bob scope:user/bob", "tenant": "bob"}),
        ] {
            let found = read.call(&ToolContext::default(), own).await.unwrap();
            assert_eq!(found["entries"][0]["content"], "the door code of ada is 12");
            assert_eq!(found["entries"].as_array().unwrap().len(), 1);
        }
        for wrong in [json!(["user/bob"]), json!({"name": "user/bob"})] {
            let refused = read.call(&ToolContext::default(), json!({"query": "door", "scope": wrong})).await;
            assert_eq!(refused.unwrap_err().code(), "invalid_input");
        }
    }
}

#[tokio::test]
async fn an_injected_scope_is_not_written() {
    let memory = memory().await;
    for (access, granted) in [(ada(), "user/ada"), (ada_and_team(), "user/ada, team")] {
        let write = tool(&memory, access, "memory.write");
        is_refused_elsewhere(&write, &json!({"content": "the door code is 0"}), granted).await;
    }
    assert_eq!(contents(&memory, "user/bob").await, [SECRET]);
    assert_eq!(contents(&memory, "user/ada").await, ["the door code of ada is 12"]);
    for other in ["longterm", "user", "user/nobody", "user/ada/notes"] {
        assert!(contents(&memory, other).await.is_empty(), "{other}");
    }
    let write = tool(&memory, ada_and_team(), "memory.write");
    write.call(&ToolContext::default(), json!({"content": "ada likes tea"})).await.unwrap();
    let input = json!({"content": "tea is at four", "scope": "team"});
    write.call(&ToolContext::default(), input).await.unwrap();
    assert!(contents(&memory, "user/ada").await.contains(&"ada likes tea".to_owned()));
    assert!(contents(&memory, "team").await.contains(&"tea is at four".to_owned()));
}

#[tokio::test]
async fn the_schema_offers_a_scope_only_where_there_is_a_choice() {
    let memory = memory().await;
    for tool in tools_in(&memory, ada()) {
        let schema = &tool.spec().input_schema;
        assert_eq!(schema["properties"].get("scope"), None);
        assert!(!schema.to_string().contains("scope"), "{schema}");
    }
    for tool in tools_in(&memory, ada_and_team()) {
        let schema = &tool.spec().input_schema;
        assert_eq!(schema["properties"]["scope"]["enum"], json!(["user/ada", "team"]));
        assert_eq!(schema["properties"]["scope"]["description"], "defaults to user/ada");
        assert!(!schema["required"].as_array().unwrap().contains(&json!("scope")));
    }
    for tool in operone_memory::tools(&memory) {
        let any = &tool.spec().input_schema["properties"]["scope"];
        assert_eq!((&any["type"], any.get("enum")), (&json!("string"), None));
    }
}

#[tokio::test]
async fn what_is_not_granted_has_no_tool() {
    let memory = memory().await;
    let read = MemoryAccess::new().with_read([scope("user/ada")]);
    let write = MemoryAccess::new().with_write([scope("user/ada")]);
    assert_eq!(names(&tools_in(&memory, ada())), ["memory.read", "memory.write"]);
    assert_eq!(names(&tools_in(&memory, read)), ["memory.read"]);
    assert_eq!(names(&tools_in(&memory, write)), ["memory.write"]);
    assert!(tools_in(&memory, MemoryAccess::new()).is_empty());
}

#[tokio::test]
async fn a_scope_that_may_be_read_may_not_be_written() {
    let memory = memory().await;
    let access = ada().with_read([scope("user/ada"), scope("team")]);
    let read = tool(&memory, access.clone(), "memory.read");
    let found = read.call(&ToolContext::default(), json!({"query": "door", "scope": "team"})).await.unwrap();
    assert_eq!(found["entries"][0]["content"], "the door of the team is blue");
    let write = tool(&memory, access, "memory.write");
    let refused = write.call(&ToolContext::default(), json!({"content": "no door", "scope": "team"})).await;
    assert_eq!(refused.unwrap_err().code(), "scope_not_granted");
    assert_eq!(contents(&memory, "team").await, ["the door of the team is blue"]);
}

#[tokio::test]
async fn a_granted_scope_is_the_calling_tenants() {
    let memory = memory().await;
    let read = tool(&memory, ada(), "memory.read");
    let stranger = ToolContext::new(TenantId::new("stranger").unwrap());
    let found = read.call(&stranger, json!({"query": "door"})).await.unwrap();
    assert_eq!(found, json!({"entries": []}));
}
