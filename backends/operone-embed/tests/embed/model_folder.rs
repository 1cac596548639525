//! Models from a folder: a made-up one that is read, and folders that are refused.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use operone_core::embed::Embedder;
use operone_embed::BertEmbedder;
use serde_json::{Value, json};
use tempfile::TempDir;

const WIDTH: usize = 8;
const WIDE: usize = 16;
const POSITIONS: usize = 12;
const TOKENS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sleep", "##s", "sofa", "query", ":", "x"];

/// A folder with a model of two layers whose weights look random.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.json", &config());
    write(folder.path(), "tokenizer.json", &tokenizer());
    fs::write(folder.path().join("model.safetensors"), weights("")).unwrap();
    folder
}

fn config() -> Value {
    json!({
        "model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": WIDTH,
        "intermediate_size": WIDE, "vocab_size": TOKENS.len(), "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    })
}

fn tokenizer() -> Value {
    let vocabulary: BTreeMap<&str, usize> = TOKENS.into_iter().zip(0..).collect();
    json!({
        "normalizer": {"type": "BertNormalizer", "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": vocabulary},
    })
}

/// A safetensors file: the length of a header, the header, the numbers.
fn weights(prefix: &str) -> Vec<u8> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![TOKENS.len(), WIDTH]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, WIDTH]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, WIDTH]),
    ];
    let mut linear = |name: String, inputs: usize, outputs: usize| {
        shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
        shapes.push((format!("{name}.bias"), vec![outputs]));
    };
    for layer in 0..2 {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            linear(at(&format!("attention.{part}")), WIDTH, WIDTH);
        }
        linear(at("intermediate.dense"), WIDTH, WIDE);
        linear(at("output.dense"), WIDE, WIDTH);
    }
    let norms = ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"];
    let norms = norms.into_iter().chain(["encoder.layer.1.attention.output", "encoder.layer.1.output"]);
    for norm in norms {
        shapes.push((format!("{norm}.LayerNorm.weight"), vec![WIDTH]));
        shapes.push((format!("{norm}.LayerNorm.bias"), vec![WIDTH]));
    }
    let (mut header, mut numbers) = (BTreeMap::new(), Vec::new());
    let mut state: u32 = 1;
    for (name, shape) in shapes {
        let begin = numbers.len();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            numbers.extend(number.to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, numbers.len()]});
        header.insert(format!("{prefix}{name}"), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &numbers].concat()
}

fn write(folder: &Path, name: &str, content: &Value) {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content.to_string()).unwrap();
}

async fn one(embedder: &BertEmbedder, text: &str) -> Option<Vec<f32>> {
    embedder.embed(&[text.to_owned()]).await.unwrap().remove(0)
}

fn near(one: &[f32], other: &[f32]) -> bool {
    one.iter().zip(other).all(|(x, y)| (x - y).abs() < 1e-5)
}

#[tokio::test]
async fn a_text_has_one_vector_alone_and_in_any_batch_on_any_threads() {
    let folder = folder();
    let model = BertEmbedder::open(folder.path()).unwrap();
    let many = BertEmbedder::open_with_threads(folder.path(), NonZeroUsize::new(5).unwrap()).unwrap();
    let texts: Vec<String> =
        (0..700).map(|n| format!("{} cat sleeps {}", "the ".repeat(n % 5), "x ".repeat(n % 7))).collect();
    let vectors = model.embed(&texts).await.unwrap();
    assert_eq!(vectors, many.embed(&texts).await.unwrap());
    for (text, vector) in texts.iter().zip(vectors).take(40) {
        let vector = vector.unwrap();
        assert!(near(&vector, &one(&model, text).await.unwrap()), "{text}");
        assert_eq!(vector.len(), WIDTH);
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[tokio::test]
async fn the_window_ends_where_the_positions_end() {
    let folder = folder();
    let model = BertEmbedder::open(folder.path()).unwrap();
    assert_eq!(model.info().window, POSITIONS - 2);
    let inside = "x ".repeat(POSITIONS - 2);
    let whole = one(&model, &inside).await.unwrap();
    assert!(near(&whole, &one(&model, &format!("{inside} cat sofa")).await.unwrap()));
    assert!(!near(&whole, &one(&model, &format!("cat {inside}")).await.unwrap()));
    assert_eq!(one(&model, " \n").await, None);

    write(folder.path(), "sentence_bert_config.json", &json!({"max_seq_length": 6}));
    assert_eq!(BertEmbedder::open(folder.path()).unwrap().info().window, 4);
    write(folder.path(), "sentence_bert_config.json", &json!({}));
    write(folder.path(), "tokenizer_config.json", &json!({"model_max_length": 8}));
    assert_eq!(BertEmbedder::open(folder.path()).unwrap().info().window, 6);
    write(folder.path(), "tokenizer_config.json", &json!({"model_max_length": 1e30}));
    assert_eq!(BertEmbedder::open(folder.path()).unwrap().info().window, POSITIONS - 2);
}

#[tokio::test]
async fn pooling_and_prompts_are_as_the_files_say() {
    let folder = folder();
    let mean = BertEmbedder::open(folder.path()).unwrap();
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    write(folder.path(), "modules.json", &modules);
    write(folder.path(), "1_Pooling/config.json", &json!({"pooling_mode_mean_tokens": true}));
    let said = BertEmbedder::open(folder.path()).unwrap();
    assert!(near(&one(&mean, "the cat").await.unwrap(), &one(&said, "the cat").await.unwrap()));
    write(folder.path(), "1_Pooling/config.json", &json!({"pooling_mode_cls_token": true}));
    let first = BertEmbedder::open(folder.path()).unwrap();
    assert!(!near(&one(&mean, "the cat").await.unwrap(), &one(&first, "the cat").await.unwrap()));
    assert_ne!(mean.info().id, first.info().id);

    let prompts = json!({"prompts": {"query": "query: ", "document": ""}});
    write(folder.path(), "config_sentence_transformers.json", &prompts);
    let prompted = BertEmbedder::open(folder.path()).unwrap();
    let expected = one(&prompted, "query: cat").await.unwrap();
    assert!(near(&one(&prompted.for_queries(), "cat").await.unwrap(), &expected));
    assert!(!near(&one(&prompted, "cat").await.unwrap(), &expected));
    assert_eq!(one(&prompted.for_queries(), "").await, None);
    assert_eq!(prompted.info().window, POSITIONS - 2 - 2);
}

#[tokio::test]
async fn weights_saved_with_a_head_are_read() {
    let folder = folder();
    let plain = BertEmbedder::open(folder.path()).unwrap();
    fs::write(folder.path().join("model.safetensors"), weights("bert.")).unwrap();
    let with_head = BertEmbedder::open(folder.path()).unwrap();
    assert!(near(&one(&plain, "the cat").await.unwrap(), &one(&with_head, "the cat").await.unwrap()));
}

/// Why a folder is refused, after a change to one of its files.
fn refused(name: &str, content: &[u8]) -> String {
    let folder = folder();
    fs::write(folder.path().join(name), content).unwrap();
    let error = BertEmbedder::open(folder.path()).unwrap_err();
    assert_eq!(error.code(), "unsuitable_model", "{error}");
    assert!(error.message().contains(name), "{error} does not name {name}");
    error.message().to_owned()
}

#[test]
fn a_folder_that_does_not_fit_is_refused_with_a_reason() {
    let changed = |mut value: Value, pointer: &str, to: Value| {
        *value.pointer_mut(pointer).unwrap() = to;
        value.to_string().into_bytes()
    };
    let config = |pointer: &str, to: Value| refused("config.json", &changed(config(), pointer, to));
    assert!(config("/model_type", json!("xlm-roberta")).contains("xlm-roberta"));
    assert!(config("/hidden_act", json!("swish")).contains("swish"));
    config("/num_attention_heads", json!(3));
    config("/num_attention_heads", json!(0));
    config("/hidden_size", json!(0));
    config("/num_hidden_layers", json!(1_000_000_000));
    refused("config.json", b"{");

    let tokenizer = |pointer: &str, to: Value| refused("tokenizer.json", &changed(tokenizer(), pointer, to));
    assert!(tokenizer("/model/type", json!("Unigram")).contains("Unigram"));
    tokenizer("/pre_tokenizer/type", json!("Metaspace"));
    tokenizer("/normalizer/type", json!("Precompiled"));
    tokenizer("/model/vocab", json!({"[UNK]": 0, "[CLS]": 1}));
    tokenizer("/model/vocab", json!({"[UNK]": 0, "[CLS]": 1, "[SEP]": 99}));

    refused("model.safetensors", b"nothing");
    let cut = weights("");
    refused("model.safetensors", &cut[..cut.len() - 4]);
    refused("modules.json", br#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#);

    for missing in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = folder();
        fs::remove_file(folder.path().join(missing)).unwrap();
        let error = BertEmbedder::open(folder.path()).unwrap_err();
        assert!(error.message().contains(missing), "{error}");
    }
}

#[test]
fn weights_of_another_shape_are_refused() {
    let folder = folder();
    let mut config = config();
    config["intermediate_size"] = json!(WIDE * 2);
    write(folder.path(), "config.json", &config);
    let error = BertEmbedder::open(folder.path()).unwrap_err();
    assert!(error.message().contains("intermediate.dense"), "{error}");
}
