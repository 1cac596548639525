//! What the files beside the weights say: the shape, the tokenizer, the pooling and the prompts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use operone_core::error::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::kernels::Activation;
use super::unsuitable;
use crate::wordpiece::{Folding, Vocabulary, WordPiece};

/// Limits that a sensible model stays within, so that a broken file asks for no mountain of memory.
const MOST_LAYERS: usize = 128;
const MOST_WIDTH: usize = 16_384;

/// The measures of the network.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) wide: usize,
    pub(super) tokens: usize,
    pub(super) positions: usize,
    pub(super) kinds: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
}

impl Shape {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Config {
            model_type: String,
            num_hidden_layers: usize,
            num_attention_heads: usize,
            hidden_size: usize,
            intermediate_size: usize,
            vocab_size: usize,
            max_position_embeddings: usize,
            type_vocab_size: usize,
            layer_norm_eps: f32,
            hidden_act: String,
            #[serde(default)]
            position_embedding_type: Option<String>,
        }
        let file = folder.join("config.json");
        let config: Config = required(&file)?;
        if config.model_type != "bert" {
            return Err(unsuitable(&file, format!("has model_type '{}', not 'bert'", config.model_type)));
        }
        if config.position_embedding_type.is_some_and(|kind| kind != "absolute") {
            return Err(unsuitable(&file, "has other positions than absolute ones"));
        }
        let activation = match config.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => return Err(unsuitable(&file, format!("has the activation '{other}'"))),
        };
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        let sensible = (1..=MOST_LAYERS).contains(&config.num_hidden_layers)
            && (1..=MOST_WIDTH).contains(&width)
            && (1..=4 * MOST_WIDTH).contains(&config.intermediate_size)
            && (1..=width).contains(&heads)
            && width % heads == 0
            && config.max_position_embeddings > 2
            && config.type_vocab_size > 0;
        if !sensible {
            return Err(unsuitable(&file, "has measures that do not fit together"));
        }
        Ok(Self {
            layers: config.num_hidden_layers,
            heads,
            width,
            wide: config.intermediate_size,
            tokens: config.vocab_size,
            positions: config.max_position_embeddings,
            kinds: config.type_vocab_size,
            epsilon: config.layer_norm_eps,
            activation,
        })
    }
}

/// A text's vector from those of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    FirstToken,
}

/// What sentence-transformers keeps beside a model.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) pooling: Pooling,
    /// How many tokens of a text are read, those at its ends included.
    pub(super) most_tokens: usize,
    pub(super) query_prompt: String,
    pub(super) passage_prompt: String,
}

impl Use {
    pub(super) fn read(folder: &Path, shape: &Shape) -> Result<Self> {
        let (query_prompt, passage_prompt) = prompts(folder)?;
        let most_tokens = most_tokens(folder)?.unwrap_or(shape.positions).min(shape.positions);
        if most_tokens < 3 {
            return Err(unsuitable(folder, "reads no token of a text"));
        }
        Ok(Self { pooling: pooling(folder)?, most_tokens, query_prompt, passage_prompt })
    }
}

/// The tokenizer with the ids that begin and end a text.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) pieces: WordPiece,
    pub(super) begin: u32,
    pub(super) end: u32,
}

impl Tokens {
    pub(super) fn read(folder: &Path, shape: &Shape) -> Result<Self> {
        #[derive(Deserialize)]
        struct File {
            model: Model,
            normalizer: Option<Normalizer>,
            pre_tokenizer: Option<Step>,
        }
        #[derive(Deserialize)]
        struct Model {
            // The type is missing in files of old versions.
            #[serde(rename = "type", default)]
            kind: Option<String>,
            unk_token: String,
            #[serde(default)]
            continuing_subword_prefix: Option<String>,
            #[serde(default)]
            vocab: BTreeMap<String, u32>,
        }
        #[derive(Deserialize)]
        struct Normalizer {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default = "yes")]
            clean_text: bool,
            #[serde(default = "yes")]
            handle_chinese_chars: bool,
            #[serde(default)]
            strip_accents: Option<bool>,
            #[serde(default = "yes")]
            lowercase: bool,
        }
        #[derive(Deserialize)]
        struct Step {
            #[serde(rename = "type")]
            kind: String,
        }

        let file = folder.join("tokenizer.json");
        let not_wordpiece = |what: &str| unsuitable(&file, format!("{what}: only BERT's WordPiece is read"));
        let kind: serde_json::Value = required(&file)?;
        let kind = kind.pointer("/model/type").and_then(serde_json::Value::as_str).unwrap_or("WordPiece");
        if kind != "WordPiece" {
            return Err(not_wordpiece(&format!("has a tokenizer of the type {kind}")));
        }
        let read: File = required(&file)?;
        if read.model.kind.is_some_and(|kind| kind != "WordPiece")
            || read.pre_tokenizer.is_none_or(|step| step.kind != "BertPreTokenizer")
        {
            return Err(not_wordpiece("cuts words by rules of its own"));
        }
        let Some(normalizer) = read.normalizer.filter(|step| step.kind == "BertNormalizer") else {
            return Err(not_wordpiece("folds characters by rules of its own"));
        };
        let folding = Folding {
            clean: normalizer.clean_text,
            ideographs: normalizer.handle_chinese_chars,
            strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
            lowercase: normalizer.lowercase,
        };
        let vocabulary = read.model.vocab;
        if vocabulary.values().any(|id| usize::try_from(*id).is_ok_and(|id| id >= shape.tokens)) {
            return Err(unsuitable(&file, "has more tokens than config.json says"));
        }
        let id = |token: &str| {
            let found = vocabulary.get(token).copied();
            found.ok_or_else(|| unsuitable(&file, format!("lacks the token {token}")))
        };
        let (unknown, begin, end) = (id(&read.model.unk_token)?, id("[CLS]")?, id("[SEP]")?);
        let prefix = read.model.continuing_subword_prefix.unwrap_or_else(|| "##".to_owned());
        let tokens = vocabulary.into_iter().map(|(token, id)| (Cow::Owned(token), id));
        Ok(Self { pieces: WordPiece::new(Vocabulary::new(tokens, &prefix, unknown), folding), begin, end })
    }
}

fn yes() -> bool {
    true
}

/// The way of pooling; the mean where nothing is said.
fn pooling(folder: &Path) -> Result<Pooling> {
    #[derive(Deserialize)]
    struct Module {
        #[serde(rename = "type")]
        kind: String,
        path: String,
    }
    let file = folder.join("modules.json");
    let Some(modules) = optional::<Vec<Module>>(&file)? else { return Ok(Pooling::Mean) };
    let mut pooling = Pooling::Mean;
    for module in modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            // A vector always gets the length 1.
            "Transformer" | "Normalize" => {}
            "Pooling" => pooling = pooling_of(&folder.join(module.path).join("config.json"))?,
            other => return Err(unsuitable(&file, format!("has a module '{other}'"))),
        }
    }
    Ok(pooling)
}

fn pooling_of(file: &Path) -> Result<Pooling> {
    let config: BTreeMap<String, serde_json::Value> = required(file)?;
    if config.get("include_prompt").is_some_and(|value| value == false) {
        return Err(unsuitable(file, "leaves the prompt out of the pooling"));
    }
    let named = config.get("pooling_mode").and_then(serde_json::Value::as_str);
    let set = config
        .iter()
        .filter_map(|(name, value)| (*value == true).then(|| name.strip_prefix("pooling_mode_")).flatten());
    let modes: Vec<&str> = named.into_iter().chain(set).collect();
    match modes.as_slice() {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::FirstToken),
        other => Err(unsuitable(file, format!("pools by {}", other.join(" and ")))),
    }
}

fn most_tokens(folder: &Path) -> Result<Option<usize>> {
    #[derive(Deserialize)]
    struct Sentence {
        #[serde(default)]
        max_seq_length: Option<usize>,
    }
    #[derive(Deserialize)]
    struct Tokenizer {
        // Where there is no limit a number beyond all integers is written.
        #[serde(default)]
        model_max_length: Option<f64>,
    }
    let sentence = optional::<Sentence>(&folder.join("sentence_bert_config.json"))?;
    if let Some(most) = sentence.and_then(|config| config.max_seq_length) {
        return Ok(Some(most));
    }
    let tokenizer = optional::<Tokenizer>(&folder.join("tokenizer_config.json"))?;
    let most = tokenizer.and_then(|config| config.model_max_length);
    Ok(most.filter(|most| (1.0..1e6).contains(most)).map(|most| most as usize))
}

/// What stands before a query and before a passage.
fn prompts(folder: &Path) -> Result<(String, String)> {
    #[derive(Default, Deserialize)]
    struct Config {
        #[serde(default)]
        prompts: BTreeMap<String, String>,
        #[serde(default)]
        default_prompt_name: Option<String>,
    }
    let config = optional::<Config>(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
    let usual = config.default_prompt_name.as_ref().and_then(|name| config.prompts.get(name));
    let of = |names: &[&str]| {
        let found = names.iter().find_map(|name| config.prompts.get(*name));
        found.or(usual).cloned().unwrap_or_default()
    };
    Ok((of(&["query"]), of(&["passage", "document", "corpus"])))
}

fn required<T: DeserializeOwned>(file: &Path) -> Result<T> {
    optional(file)?.ok_or_else(|| unsuitable(file, "is missing"))
}

fn optional<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unsuitable(file, "cannot be read").with_source(error)),
    };
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|error| unsuitable(file, "is not understood").with_source(error))
}
