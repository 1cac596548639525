//! The tool by which an agent searches its tenant's documents.

use std::sync::Arc;

use operone_core::chunk::Collection;
use operone_core::retrieve::{Hit, NearDuplicates, RetrieveOptions, RetrieveQuery, Retriever};
use operone_core::tool::{Tool, ToolContext, ToolHandle, ToolSpec};
use operone_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most hits an agent may ask for: what it reads costs tokens.
const MAX_TOP_K: usize = 20;

/// The most tokens of a hit with what stands around it: two chunks of the usual size.
const CONTEXT: usize = 480;

/// The tool `rag.search`: takes `{"query", "top_k"?, "collection"?}` and gives `{"results": [{"content", "score",
/// "source"}]}` from a collection of the tenant for whom it is called. `top_k` is 1 to 20, by default 5. Hits come with
/// what stands around them, 480 tokens at most, and nothing comes twice.
///
/// `collections` are the names of those that may be searched, the first one where none is asked for; another one is
/// `Denied` with code `collection_not_granted`. None named grants the default collection.
pub fn search_tool(retriever: Arc<dyn Retriever>, collections: Vec<String>) -> ToolHandle {
    let default = || vec![Collection::DEFAULT.to_owned()];
    ToolHandle::new(Search {
        retriever,
        collections: if collections.is_empty() { default() } else { collections },
    })
}

struct Search {
    retriever: Arc<dyn Retriever>,
    collections: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    query: String,
    top_k: Option<usize>,
    collection: Option<String>,
}

#[derive(Serialize)]
struct Output {
    results: Vec<Hit>,
    /// Why the results may be worse than they could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
}

impl Search {
    fn collection(&self, context: &ToolContext, asked: Option<String>) -> Result<Collection> {
        let granted = |name: &String| self.collections.contains(name);
        let name = match asked {
            Some(name) if granted(&name) => name,
            Some(name) => {
                let known = self.collections.join(", ");
                let detail = format!("the collection '{name}' is not granted; granted are: {known}");
                return Err(Error::new(ErrorKind::Denied, detail).with_code("collection_not_granted"));
            }
            None => self.collections.first().map_or_else(|| Collection::DEFAULT.to_owned(), Clone::clone),
        };
        Collection::named(context.tenant.clone(), name)
    }
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
        .with_input_schema(schema(&self.collections))
    }

    async fn call(&self, context: &ToolContext, input: Input) -> Result<Output> {
        let query = RetrieveQuery::new(self.collection(context, input.collection)?, input.query);
        let top_k = input.top_k.unwrap_or(query.top_k);
        if top_k == 0 || top_k > MAX_TOP_K {
            return Err(
                Error::invalid(format!("top_k is 1 to {MAX_TOP_K}, not {top_k}")).with_code("invalid_top_k")
            );
        }
        // A model reads better what stands in its context, and pays for what it reads twice.
        let options =
            RetrieveOptions::default().with_context(Some(CONTEXT)).with_near_duplicates(NearDuplicates::Drop);
        let answer = self.retriever.answer(query.with_top_k(top_k).with_options(options)).await?;
        Ok(Output { results: answer.hits, degraded: answer.degraded.map(|reason| reason.detail) })
    }
}

/// What the tool takes; the collection only where there is a choice.
fn schema(collections: &[String]) -> Value {
    let mut properties = json!({
        "query": {"type": "string", "description": "what to look for, in words"},
        "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K, "description": "how many passages, 5 by default"}
    });
    if let (Some(properties), [first, _, ..]) = (properties.as_object_mut(), collections) {
        let description = format!("which documents to search, {first} by default");
        let collection = json!({"type": "string", "enum": collections, "description": description});
        properties.insert("collection".into(), collection);
    }
    json!({"type": "object", "required": ["query"], "additionalProperties": false, "properties": properties})
}
