//! A real model from a folder, all-MiniLM-L6-v2: its contract, and the same vectors as the Python reference.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use operone_core::embed::Embedder;
use operone_embed::BertEmbedder;
use serde_json::Value;

/// The folder with the model.
fn folder() -> PathBuf {
    std::env::var_os("OPERONE_TEST_LOCAL_MODEL")
        .expect("OPERONE_TEST_LOCAL_MODEL names the model's folder")
        .into()
}

/// Read once for all tests.
fn model() -> BertEmbedder {
    static MODEL: OnceLock<BertEmbedder> = OnceLock::new();
    MODEL.get_or_init(|| BertEmbedder::open(&folder()).unwrap()).clone()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(x, y)| x * y).sum()
}

#[tokio::test]
#[ignore = "needs a model's folder"]
async fn the_vectors_are_those_of_sentence_transformers() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let texts: Vec<String> =
        recorded.iter().map(|entry| entry["text"].as_str().unwrap().to_owned()).collect();
    let vectors = model().embed(&texts).await.unwrap();
    for ((entry, text), vector) in recorded.iter().zip(&texts).zip(vectors) {
        let expected: Vec<f32> = serde_json::from_value(entry["vector"].clone()).unwrap();
        let vector = vector.unwrap();
        assert!(1.0 - cosine(&vector, &expected) < 1e-4, "{text:.40}: {}", cosine(&vector, &expected));
        let furthest = vector.iter().zip(&expected).map(|(ours, theirs)| (ours - theirs).abs());
        assert!(furthest.fold(0.0, f32::max) < 1e-3, "{text:.40}");
    }
}

async fn fresh() -> (Arc<dyn Embedder>, ()) {
    (Arc::new(model()), ())
}

operone_core::embedder_conformance!(
    #[ignore = "needs a model's folder"]
    fresh
);

#[tokio::test]
#[ignore = "needs a model's folder"]
async fn the_id_names_the_content_and_not_the_place() {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder()).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    let pooling = "1_Pooling/config.json";
    std::fs::copy(folder().join(pooling), copy.path().join(pooling)).unwrap();
    assert_eq!(BertEmbedder::open(copy.path()).unwrap().info(), model().info());

    let first_token = r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": true}"#;
    std::fs::write(copy.path().join(pooling), first_token).unwrap();
    let other = BertEmbedder::open(copy.path()).unwrap();
    assert_ne!(other.info().id, model().info().id);
    let text = ["The cat sleeps on the sofa.".to_owned()];
    let [one, other] = [model().embed(&text).await, other.embed(&text).await]
        .map(|vectors| vectors.unwrap().remove(0).unwrap());
    assert!(cosine(&one, &other) < 0.999);
}

#[tokio::test]
#[ignore = "needs a model's folder"]
async fn a_prompt_stands_before_queries() {
    let copy = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        std::fs::copy(folder().join(name), copy.path().join(name)).unwrap();
    }
    let prompts = r#"{"prompts": {"query": "query: ", "passage": "passage: "}}"#;
    std::fs::write(copy.path().join("config_sentence_transformers.json"), prompts).unwrap();
    let prompted = BertEmbedder::open(copy.path()).unwrap();
    let text = "how do cats sleep";
    let one = |embedder: BertEmbedder, text: String| async move {
        embedder.embed(&[text]).await.unwrap().remove(0).unwrap()
    };
    for (embedder, prompt) in [(prompted.clone(), "passage: "), (prompted.for_queries(), "query: ")] {
        let expected = one(model(), format!("{prompt}{text}")).await;
        assert!(cosine(&one(embedder, text.to_owned()).await, &expected) > 0.9999);
    }
    assert_eq!(prompted.info().id, prompted.for_queries().info().id);
    assert_eq!(prompted.info().window, 512 - 2 - 2);
}
