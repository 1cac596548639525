//! What the server says of itself on `/info`.

use std::path::PathBuf;

use operone_core::model::ModelInfo;
use operone_sandbox::{Limits, Probe};
use serde_json::{Value, json};

use crate::limits;

/// What the server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    /// The model that answers agents with `ai`.
    pub(crate) model: ModelInfo,
    /// The embedder's id, dimension and window, and its tokenizer.
    pub(crate) embedder: Value,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The MCP servers: name and how each is reached.
    pub(crate) mcp: Value,
    /// What this host enforces on the server's processes.
    pub(crate) sandbox: Probe,
}

impl Info {
    /// The body of `/info`.
    pub(crate) fn body(&self, tools: Value) -> Value {
        json!({
            "name": "operone-server",
            "version": env!("CARGO_PKG_VERSION"),
            "model": {
                "provider": self.model.provider,
                "name": self.model.name,
                "is_language_model": self.model.is_language_model,
                "note": self.model_note(),
            },
            "embedder": self.embedder,
            "data": self.data,
            "backends": {"journal": "sqlite", "memory": "sqlite", "chunks": "sqlite", "events": "in-process"},
            "capabilities": tools,
            "mcp_servers": self.mcp,
            "enforced": self.sandbox.enforced(Limits::default().with_ram(0).with_cpu(1000)),
            "sandbox": self.sandbox,
            "limits": {
                "body_bytes": limits::BODY,
                "bulk_body_bytes": limits::BULK_BODY,
                "agents_per_batch": limits::AGENTS_PER_BATCH,
            },
        })
    }

    /// What answers, in words.
    pub(crate) fn model_note(&self) -> String {
        if self.model.is_language_model {
            format!("language model {} ({})", self.model.name, self.model.provider)
        } else {
            "extractive model: no language model, it quotes the best sentences found; \
             set OPENAI_API_KEY or name a model with --model for one"
                .to_owned()
        }
    }
}
