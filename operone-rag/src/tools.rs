//! The tool by which an agent searches its tenant's documents.

use std::sync::Arc;

use operone_core::chunk::Collection;
use operone_core::retrieve::{Hit, NearDuplicates, RetrieveOptions, RetrieveQuery, Retriever};
use operone_core::tool::{Tool, ToolContext, ToolHandle, ToolSpec};
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The most hits an agent may ask for: what it reads costs tokens.
const MAX_TOP_K: usize = 20;

/// The most tokens of a hit with what stands around it: two chunks of the usual size.
const CONTEXT: usize = 480;

/// The tool `rag.search`: takes `{"query", "top_k"?}` and gives `{"results": [{"content", "score", "source"}]}` from
/// the default collection of the tenant for whom it is called. `top_k` is 1 to 20, by default 5. Hits come with what
/// stands around them, 480 tokens at most, and nothing comes twice.
pub fn search_tool(retriever: Arc<dyn Retriever>) -> ToolHandle {
    ToolHandle::new(Search(retriever))
}

struct Search(Arc<dyn Retriever>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    query: String,
    top_k: Option<usize>,
}

#[derive(Serialize)]
struct Output {
    results: Vec<Hit>,
}

impl Tool for Search {
    type Input = Input;
    type Output = Output;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "rag.search",
            "Searches the ingested documents and gives the passages that fit a question best, with their sources.",
        )
        .with_untrusted_output()
        .with_input_schema(json!({
            "type": "object",
            "required": ["query"],
            "additionalProperties": false,
            "properties": {
                "query": {"type": "string", "description": "what to look for, in words"},
                "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K, "description": "how many passages, 5 by default"}
            }
        }))
    }

    async fn call(&self, context: &ToolContext, input: Input) -> Result<Output> {
        let query = RetrieveQuery::new(Collection::of(context.tenant.clone()), input.query);
        let top_k = input.top_k.unwrap_or(query.top_k);
        if top_k == 0 || top_k > MAX_TOP_K {
            return Err(
                Error::invalid(format!("top_k is 1 to {MAX_TOP_K}, not {top_k}")).with_code("invalid_top_k")
            );
        }
        // A model reads better what stands in its context, and pays for what it reads twice.
        let options =
            RetrieveOptions::default().with_context(Some(CONTEXT)).with_near_duplicates(NearDuplicates::Drop);
        Ok(Output { results: self.0.retrieve(query.with_top_k(top_k).with_options(options)).await? })
    }
}
