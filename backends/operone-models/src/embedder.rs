//! Calls an OpenAI-compatible service for vectors.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::AUTHORIZATION;
use operone_core::backoff::Backoff;
use operone_core::embed::{Embedder, EmbedderInfo, Tokenizer};
use operone_core::in_process::HashingEmbedder;
use operone_core::text::normalize;
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::config::ServiceConfig;
use crate::error::{from_status, protocol, silent};
use crate::hint;
use crate::http::{Response, bearer};
use crate::service::Service;

/// The most texts of one request.
const BATCH: usize = 64;
/// The most bytes of texts of one request; a single longer text is sent by itself.
const BATCH_BYTES: usize = 128 * 1024;
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// How many words of a text are sent, where nothing else is said.
const WINDOW: usize = 512;

/// An embedder behind the embeddings protocol that OpenAI, llama.cpp, vLLM, Ollama and many others offer.
///
/// - Texts go out 64 to a request at most. A request that fails and may succeed later is tried again by itself: what
///   came back before stays. How often and when, [`Backoff`] says: up to three times, the first wait that of the
///   configuration. What the service asks for is heeded up to 30 seconds.
/// - Vectors are brought to length 1. An empty text and one whose vector is zero give `None`.
/// - `chunk_size` counts words: the service's own tokens are not known here. Of a text no more than the window is
///   sent, 512 words unless said otherwise.
/// - Codes are those of [`OpenAiCompatible`](crate::OpenAiCompatible).
/// - Dropping the future closes the connection.
#[derive(Clone)]
pub struct OpenAiCompatibleEmbedder {
    service: Service,
    tokenizer: Arc<dyn Tokenizer>,
    info: EmbedderInfo,
}

impl fmt::Debug for OpenAiCompatibleEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenAiCompatibleEmbedder").field(&self.service).field(&self.info).finish()
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Vec<f32>,
}

impl OpenAiCompatibleEmbedder {
    /// Asks the service for one vector, to learn their dimension.
    ///
    /// Errors: `Invalid` with code `invalid_base_url` or `invalid_api_key`, and what the service answers.
    pub async fn connect(config: ServiceConfig) -> Result<Self> {
        let authorization = config.api_key.as_ref().map(bearer).transpose()?;
        let headers = authorization.map(|key| (AUTHORIZATION, key));
        let info = EmbedderInfo::new(format!("{}:{}", named(&config), config.model), 0, WINDOW);
        let tokenizer = HashingEmbedder::new(1).tokenizer();
        let service = Service::new(config, "embeddings", "application/json", headers)?;
        let mut embedder = Self { service, tokenizer, info };
        let vectors = embedder.batch(&["dimension"]).await?;
        embedder.info.dimension = vectors.first().map_or(0, Vec::len);
        if embedder.info.dimension == 0 {
            return Err(protocol("the embedding service gave a vector without components"));
        }
        Ok(embedder)
    }

    /// Sets how many words of a text are sent, at least one.
    #[must_use]
    pub fn with_window(mut self, words: usize) -> Self {
        self.info.window = words.max(1);
        self
    }

    /// The vectors of a few texts, as the service gives them.
    async fn batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let backoff = Backoff::default().with_delay(self.service.config.retry_delay);
        let mut tries = 1;
        loop {
            let error = match self.once(texts).await {
                Ok(vectors) => return Ok(vectors),
                Err(error) => error,
            };
            let Some(wait) = backoff.wait(tries, &error) else {
                return Err(error.with_operation("embedder.embed"));
            };
            tracing::debug!(tries, code = error.code(), ?wait, "asking the embedding service again");
            sleep(wait).await;
            tries += 1;
        }
    }

    async fn once(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let request = Request { model: &self.service.config.model, input: texts, encoding_format: "float" };
        let body = serde_json::to_vec(&request)
            .map_err(|error| Error::internal("the texts cannot be written as JSON").with_source(error))?;
        let response = self.service.post(body).await?;
        let (status, retry_after) = (response.status(), hint::of_headers(response.headers()));
        let body = self.whole(response).await?;
        if !status.is_success() {
            return Err(from_status(
                status.as_u16(),
                &body,
                retry_after,
                self.service.config.api_key.as_ref(),
            ));
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
            protocol(format!("the embedding service's answer is not understood: {error}"))
        })?;
        self.in_order(answer, texts.len())
    }

    async fn whole(&self, mut response: Response) -> Result<Vec<u8>> {
        let (mut body, waited) = (Vec::new(), self.service.config.idle_timeout);
        while let Some(piece) = timeout(waited, response.bytes()).await.map_err(|_| silent(waited))?? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(protocol("the embedding service's answer is too long"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// One vector of the dimension for each text, as the indexes say.
    fn in_order(&self, answer: Answer, texts: usize) -> Result<Vec<Vec<f32>>> {
        let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts];
        for Item { index, embedding } in answer.data {
            if self.info.dimension != 0 && embedding.len() != self.info.dimension {
                let (given, known) = (embedding.len(), self.info.dimension);
                return Err(protocol(format!(
                    "the embedding service gave a vector of {given} components in place of {known}"
                )));
            }
            if let Some(vector) = vectors.get_mut(index) {
                *vector = Some(embedding);
            }
        }
        let vectors: Option<Vec<Vec<f32>>> = vectors.into_iter().collect();
        vectors.ok_or_else(|| protocol("the embedding service did not give a vector for each text"))
    }
}

#[async_trait]
impl Embedder for OpenAiCompatibleEmbedder {
    fn info(&self) -> EmbedderInfo {
        self.info.clone()
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        let cut = |text: &str| {
            let spans = self.tokenizer.spans(text);
            let last = spans.get(..self.info.window).unwrap_or(&spans).last();
            last.map_or(0, |last| last.end)
        };
        let within: Vec<&str> = texts.iter().map(|text| text.get(..cut(text)).unwrap_or_default()).collect();
        let mut vectors = vec![None; texts.len()];
        for places in batches(&within) {
            let batch: Vec<&str> = places.iter().filter_map(|place| within.get(*place).copied()).collect();
            for (place, vector) in places.into_iter().zip(self.batch(&batch).await?) {
                if let Some(slot) = vectors.get_mut(place) {
                    *slot = normalize(vector);
                }
            }
        }
        Ok(vectors)
    }
}

/// What stands before the model's name in the id. Whatever is compatible with OpenAI counts as OpenAI.
fn named(config: &ServiceConfig) -> &str {
    config.provider.as_deref().filter(|provider| *provider != "openai-compatible").unwrap_or("openai")
}

/// The places of the texts that are asked for together; blank ones are in no batch.
fn batches(texts: &[&str]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for (place, text) in texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes + text.len() <= BATCH_BYTES => batch.push(place),
            _ => {
                batches.push(vec![place]);
                bytes = 0;
            }
        }
        bytes += text.len();
    }
    batches
}
