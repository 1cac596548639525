//! An embedder that runs a model of the BERT family from a folder.

mod attention;
mod kernels;
mod network;
mod panels;
mod settings;
mod weights;

use std::fmt;
use std::io::Read;
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use operone_core::embed::{Embedder, EmbedderInfo, Tokenizer};
use operone_core::error::{Error, ErrorKind, Result};
use operone_core::text::normalize;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sha2::{Digest, Sha256};

use network::Network;
use settings::{Pooling, Shape, Tokens, Use};

/// How many tokens go through the network together; more gains nothing and lets others wait longer.
const BATCH_TOKENS: usize = 1024;
/// [CLS] and [SEP].
const ENDS: usize = 2;

/// A sentence embedding model of the BERT family, run on the processor. Clones share it.
///
/// The folder is one that sentence-transformers saves: `model.safetensors`, `config.json`, `tokenizer.json` and,
/// where they are there, `modules.json` with its pooling, `sentence_bert_config.json` and
/// `config_sentence_transformers.json`. It has to be a BERT with absolute positions and a WordPiece tokenizer, as
/// all-MiniLM, e5, bge and gte for English are; models with a SentencePiece tokenizer are refused.
///
/// - The weights are read into memory as `f32`, which takes 90 MB for all-MiniLM-L6-v2.
/// - Calls compute on threads of their own, as many as the machine has cores, and take turns. A call that is dropped
///   stops at the next batch.
/// - `[SEP]` within a text is five characters, not the token.
#[derive(Clone)]
pub struct BertEmbedder {
    model: Arc<Model>,
    prompt: Prompt,
}

struct Model {
    id: String,
    network: Network,
    tokens: Tokens,
    dimension: usize,
    used: Use,
    threads: ThreadPool,
}

/// What a text is, which says what is put before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    Passage,
    Query,
}

impl BertEmbedder {
    /// Reads the model in `folder`, on as many threads as the machine has cores. Takes some tenths of a second.
    ///
    /// Errors: `Invalid` with the code `unsuitable_model`, naming the file and what is wrong with it.
    pub fn open(folder: &Path) -> Result<Self> {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::open_with_threads(folder, cores)
    }

    /// Reads the model in `folder`, to run on so many threads.
    ///
    /// Errors: those of [`open`](Self::open).
    pub fn open_with_threads(folder: &Path, threads: NonZeroUsize) -> Result<Self> {
        let shape = Shape::read(folder)?;
        let used = Use::read(folder, &shape)?;
        let tokens = Tokens::read(folder, &shape)?;
        let dimension = shape.width;
        let network = Network::read(&folder.join("model.safetensors"), shape)?;
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|number| format!("operone-embed-{number}"))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "the embedder's threads cannot be started")
                    .with_source(error)
            })?;
        let id = id(folder, dimension)?;
        let model = Model { id, network, tokens, dimension, used, threads };
        Ok(Self { model: Arc::new(model), prompt: Prompt::Passage })
    }

    /// The same model for queries: it puts the model's prompt for queries before each text, where it has one. Its
    /// vectors are compared with those of the passages, so it has the same id.
    #[must_use]
    pub fn for_queries(&self) -> Self {
        Self { model: Arc::clone(&self.model), prompt: Prompt::Query }
    }

    fn prompt(&self) -> &str {
        match self.prompt {
            Prompt::Passage => &self.model.used.passage_prompt,
            Prompt::Query => &self.model.used.query_prompt,
        }
    }
}

#[async_trait]
impl Embedder for BertEmbedder {
    fn info(&self) -> EmbedderInfo {
        EmbedderInfo::new(self.model.id.clone(), self.model.dimension, self.model.window())
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(Pieces(Arc::clone(&self.model)))
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut ids: Vec<(usize, Vec<u32>)> = texts
            .iter()
            .map(|text| self.model.ids(self.prompt(), text))
            .enumerate()
            .filter_map(|(place, ids)| Some((place, ids?)))
            .collect();
        ids.sort_by_key(|(_, ids)| std::cmp::Reverse(ids.len()));
        let mut vectors = vec![None; texts.len()];
        for batch in batches(ids) {
            // Others have their turn after each.
            let model = Arc::clone(&self.model);
            let compute = move || model.threads.install(|| model.vectors(&batch));
            let computed = tokio::task::spawn_blocking(compute)
                .await
                .map_err(|error| Error::internal("the embedder stopped in the middle").with_source(error))?;
            for (place, vector) in computed {
                if let Some(entry) = vectors.get_mut(place) {
                    *entry = vector;
                }
            }
        }
        Ok(vectors)
    }
}

impl Model {
    /// How many tokens of a text are read beside the ends and the longer of the prompts.
    fn window(&self) -> usize {
        let count = |prompt: &str| self.tokens.pieces.spans(prompt).len();
        let prompt = count(&self.used.query_prompt).max(count(&self.used.passage_prompt));
        self.used.most_tokens.saturating_sub(ENDS + prompt).max(1)
    }

    /// The ids of a text with its prompt and its ends; `None` for a text without a token.
    fn ids(&self, prompt: &str, text: &str) -> Option<Vec<u32>> {
        let mut ids = vec![self.tokens.begin];
        let mut read = |text: &str| {
            let before = ids.len();
            self.tokens.pieces.pieces(text, |piece| {
                if ids.len() + 1 >= self.used.most_tokens {
                    return ControlFlow::Break(());
                }
                ids.push(piece.id);
                ControlFlow::Continue(())
            });
            ids.len() > before
        };
        read(prompt);
        let any = read(text);
        ids.push(self.tokens.end);
        any.then_some(ids)
    }

    fn vectors(&self, batch: &[(usize, Vec<u32>)]) -> Vec<(usize, Option<Vec<f32>>)> {
        let ids: Vec<&[u32]> = batch.iter().map(|(_, ids)| ids.as_slice()).collect();
        let hidden = self.network.forward(&ids);
        let mut rows = hidden.chunks_exact(self.dimension);
        let pooled = batch.iter().map(|(place, ids)| {
            let mut sum = vec![0.0_f32; self.dimension];
            for (number, row) in rows.by_ref().take(ids.len()).enumerate() {
                if self.used.pooling == Pooling::Mean || number == 0 {
                    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
            (*place, normalize(sum))
        });
        pooled.collect()
    }
}

impl fmt::Debug for BertEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BertEmbedder").field("id", &self.model.id).field("prompt", &self.prompt).finish()
    }
}

/// The tokenizer of a model.
struct Pieces(Arc<Model>);

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pieces").field(&self.0.id).finish()
    }
}

impl Tokenizer for Pieces {
    fn id(&self) -> String {
        format!("wordpiece-{}", self.0.id)
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        self.0.tokens.pieces.spans(text)
    }
}

/// Cuts texts, longest first, into batches of about the same work.
fn batches(texts: Vec<(usize, Vec<u32>)>) -> Vec<Vec<(usize, Vec<u32>)>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut tokens = 0;
    for (place, ids) in texts {
        if tokens > 0 && tokens + ids.len() > BATCH_TOKENS {
            batches.push(std::mem::take(&mut batch));
            tokens = 0;
        }
        tokens += ids.len();
        batch.push((place, ids));
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Names the content of the files that decide what a vector is, wherever they are.
fn id(folder: &Path, dimension: usize) -> Result<String> {
    const FILES: [&str; 8] = [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "tokenizer_config.json",
        "config_sentence_transformers.json",
    ];
    let mut hash = Sha256::new();
    for name in FILES {
        let file = folder.join(name);
        if file.is_file() {
            hash.update(name);
            read_into(&file, &mut hash)
                .map_err(|error| unsuitable(&file, "cannot be read").with_source(error))?;
        }
    }
    let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("bert-{dimension}-{hash}"))
}

fn read_into(file: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut file = std::fs::File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        hash.update(bytes);
    }
}

fn unsuitable(file: &Path, problem: impl fmt::Display) -> Error {
    let file: PathBuf = file.into();
    Error::invalid(format!("{} {problem}", file.display())).with_code("unsuitable_model")
}
