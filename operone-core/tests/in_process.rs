//! The in-process backends keep the promises of their contracts.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

mod event_bus {
    use std::sync::Arc;

    use operone_core::event::EventBus;
    use operone_core::in_process::InProcessBus;

    async fn fresh() -> (Arc<dyn EventBus>, ()) {
        (Arc::new(InProcessBus::default()), ())
    }

    operone_core::event_bus_conformance!(fresh);
}

mod journal {
    use std::sync::Arc;

    use operone_core::in_process::InProcessJournal;
    use operone_core::journal::Journal;

    async fn fresh() -> (Arc<dyn Journal>, ()) {
        (Arc::new(InProcessJournal::default()), ())
    }

    operone_core::journal_conformance!(fresh);
}

mod memory_store {
    use std::sync::Arc;

    use operone_core::in_process::InProcessMemoryStore;
    use operone_core::memory::MemoryStore;

    async fn fresh() -> (Arc<dyn MemoryStore>, ()) {
        (Arc::new(InProcessMemoryStore::default()), ())
    }

    operone_core::memory_store_conformance!(fresh);
}

mod chunk_store {
    use std::sync::Arc;

    use operone_core::chunk::ChunkStore;
    use operone_core::in_process::InProcessChunkStore;

    async fn fresh() -> (Arc<dyn ChunkStore>, ()) {
        (Arc::new(InProcessChunkStore::default()), ())
    }

    operone_core::chunk_store_conformance!(fresh);

    /// Cells from the first vector on, of which every query looks into all.
    #[cfg(feature = "approximate")]
    mod in_cells {
        use operone_core::in_process::chunk_index::Approximate;

        use super::*;

        async fn fresh() -> (Arc<dyn ChunkStore>, ()) {
            let all = Approximate::new().with_from(1).with_share(1.0);
            (Arc::new(InProcessChunkStore::default().with_approximate(Some(all))), ())
        }

        operone_core::chunk_store_conformance!(fresh);
    }
}

mod embedding_cache {
    use std::sync::Arc;

    use operone_core::cache::EmbeddingCache;
    use operone_core::in_process::InProcessEmbeddingCache;

    async fn fresh() -> (Arc<dyn EmbeddingCache>, ()) {
        (Arc::new(InProcessEmbeddingCache::default()), ())
    }

    operone_core::embedding_cache_conformance!(fresh);
}

mod scripted_model {
    use std::sync::Arc;

    use operone_core::in_process::{ScriptedModel, ScriptedTurn};
    use operone_core::model::{LanguageModel, ModelOption, Reasoning};

    async fn fresh() -> (Arc<dyn LanguageModel>, ()) {
        let script = vec![ScriptedTurn::text(["Lis", "bon."]).after_reasoning(Reasoning::signature("s")); 24];
        let honoured = ModelOption::ALL.into_iter().filter(|option| *option != ModelOption::ResponseSchema);
        (Arc::new(ScriptedModel::new(script).with_options(honoured)), ())
    }

    operone_core::language_model_conformance!(fresh);
}

mod extractive_model {
    use std::sync::Arc;

    use operone_core::in_process::ExtractiveModel;
    use operone_core::model::LanguageModel;

    async fn fresh() -> (Arc<dyn LanguageModel>, ()) {
        (Arc::new(ExtractiveModel), ())
    }

    operone_core::language_model_conformance!(fresh);
}

mod hashing_embedder {
    use std::sync::Arc;

    use operone_core::embed::Embedder;
    use operone_core::in_process::HashingEmbedder;

    async fn fresh() -> (Arc<dyn Embedder>, ()) {
        (Arc::new(HashingEmbedder::new(256)), ())
    }

    operone_core::embedder_conformance!(fresh);
}

mod typed_tool {
    use std::sync::Arc;

    use operone_core::conformance::tool::ToolUnderTest;
    use operone_core::tool::{Tool, ToolContext, ToolHandle, ToolSpec};
    use serde_json::json;

    #[derive(serde::Deserialize)]
    struct Sum {
        a: i64,
        b: i64,
    }

    struct Add;

    impl Tool for Add {
        type Input = Sum;
        type Output = i64;

        fn spec(&self) -> ToolSpec {
            ToolSpec::new("add", "Adds two numbers").with_input_schema(json!({
                "type": "object", "required": ["a", "b"],
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}
            }))
        }

        async fn call(&self, _: &ToolContext, input: Sum) -> operone_core::Result<i64> {
            tokio::task::yield_now().await;
            Ok(input.a + input.b)
        }
    }

    async fn fresh() -> (Arc<ToolUnderTest>, ()) {
        let handle = ToolHandle::new(Add);
        (Arc::new(ToolUnderTest::new(handle, json!({"a": 1, "b": 2}), json!({"a": "one"}))), ())
    }

    operone_core::tool_conformance!(fresh);
}
