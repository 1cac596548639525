//! What makes the vectors: the bundled table, hashing, a service, or a model from a folder.

use std::path::Path;
use std::sync::Arc;

use operone_core::embed::Embedder;
use operone_core::error::{Error, Result};
use operone_core::in_process::HashingEmbedder;
use operone_models::{OpenAiCompatibleEmbedder, ServiceConfig};

use crate::config::Config;

/// The name of the embedder that comes along, and of the one that knows no meaning.
const BUNDLED: &str = "bundled";
const HASHING: &str = "hashing";
/// What stands before the name of a model of the service.
const SERVICE: &str = "openai:";
/// How many components the vectors of the hashing embedder have; at fewer, texts that share no word come too near.
const HASHING_DIMENSION: usize = 512;

/// An embedder for passages and the same for queries: a model may want another prompt before each.
pub(crate) struct Embedders {
    pub(crate) passages: Arc<dyn Embedder>,
    pub(crate) queries: Arc<dyn Embedder>,
}

impl Embedders {
    fn same(embedder: impl Embedder) -> Self {
        let embedder: Arc<dyn Embedder> = Arc::new(embedder);
        Self { passages: Arc::clone(&embedder), queries: embedder }
    }
}

/// The embedder that the configuration names; reads a model's weights or asks a service where it names one.
pub(crate) async fn embedders(config: &Config) -> Result<Embedders> {
    match config.embedder.as_deref() {
        None | Some(BUNDLED) => Ok(Embedders::same(operone_embed::bundled())),
        Some(HASHING) => Ok(Embedders::same(HashingEmbedder::new(HASHING_DIMENSION))),
        Some(name) => match name.strip_prefix(SERVICE) {
            Some(model) => service(model, config).await,
            None => local(name, &config.data),
        },
    }
}

/// A model of the service that also answers, under the same address and key.
async fn service(model: &str, config: &Config) -> Result<Embedders> {
    let Some(service) = &config.model else {
        let detail = format!("--embedder is '{SERVICE}{model}': set OPENAI_BASE_URL or OPENAI_API_KEY too");
        return Err(Error::invalid(detail).with_code("invalid_configuration"));
    };
    let config = ServiceConfig::new(&service.base_url, model).with_api_key(service.api_key.clone());
    Ok(Embedders::same(OpenAiCompatibleEmbedder::connect(config).await?))
}

/// What the configuration names, for people.
pub(crate) fn describe(config: &Config) -> String {
    match config.embedder.as_deref() {
        None | Some(BUNDLED) => "the bundled table (name another with --embedder)".to_owned(),
        Some(HASHING) => "hashed words and parts of words, which knows no meaning".to_owned(),
        Some(name) => match name.strip_prefix(SERVICE) {
            Some(model) => format!("the model {model} of the model service"),
            None => format!("the local model {name}"),
        },
    }
}

/// A model from a folder, which is named by its path or by its name below the data folder.
#[cfg(feature = "local-models")]
fn local(model: &str, data: &Path) -> Result<Embedders> {
    use operone_embed::BertEmbedder;

    let pulled = crate::cli::model_folder(data, model);
    let path = Path::new(model);
    let folder = match pulled {
        Some(pulled) if pulled.is_dir() => pulled,
        _ if path.is_dir() => path.to_path_buf(),
        Some(pulled) => {
            return Err(Error::invalid(format!(
                "there is no model '{model}', neither as a folder nor in {} (operone-server models pull fetches one)",
                pulled.display()
            ))
            .with_code("invalid_configuration"));
        }
        None => {
            return Err(Error::invalid(format!("there is no folder {model} with a model"))
                .with_code("invalid_configuration"));
        }
    };
    let model = BertEmbedder::open(&folder)?;
    Ok(Embedders { queries: Arc::new(model.for_queries()), passages: Arc::new(model) })
}

#[cfg(not(feature = "local-models"))]
fn local(model: &str, _data: &Path) -> Result<Embedders> {
    Err(Error::invalid(format!(
        "--embedder is '{model}', but this operone-server was built without local models: build it with \
         --features local-models"
    ))
    .with_code("invalid_configuration"))
}
