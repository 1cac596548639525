//! The bundled table: its contract, and what it knows.

use std::sync::Arc;

use operone_core::embed::{Embedder, EmbedderKind};

async fn fresh() -> (Arc<dyn Embedder>, ()) {
    (Arc::new(operone_embed::bundled()), ())
}

operone_core::embedder_conformance!(fresh);

async fn cosine(one: &str, other: &str) -> f32 {
    let vectors = operone_embed::bundled().embed(&[one.into(), other.into()]).await.unwrap();
    let [one, other] = [0, 1].map(|at| vectors[at].clone().unwrap());
    one.iter().zip(&other).map(|(x, y)| x * y).sum()
}

#[tokio::test]
async fn words_that_mean_the_same_are_near() {
    for (one, alike, other) in [
        ("car", "automobile", "banana"),
        ("physician", "doctor", "bridge"),
        ("to buy a house", "purchasing a home", "the cat sleeps on the sofa"),
        ("heart attack", "myocardial infarction", "stock market"),
        ("How do I reset my password?", "forgotten login credentials", "the recipe needs two eggs"),
    ] {
        let (near, far) = (cosine(one, alike).await, cosine(one, other).await);
        assert!(near > far + 0.1, "{one}: {alike} {near}, {other} {far}");
    }
}

#[tokio::test]
async fn words_that_say_little_count_little() {
    assert!(cosine("solar energy", "the energy of the sun, and of a solar panel").await > 0.6);
    assert!(cosine("the of and a", "solar energy").await < 0.5);
}

#[tokio::test]
async fn a_text_without_a_known_token_has_no_vector() {
    let texts = ["🗼", "", " \n", "\u{200b}"].map(str::to_owned);
    assert_eq!(operone_embed::bundled().embed(&texts).await.unwrap(), vec![None; 4]);
}

#[tokio::test]
async fn the_whole_table_is_there() {
    let embedder = operone_embed::bundled();
    assert_eq!(embedder.info().kind, EmbedderKind::Static);
    let words = include_str!("../../table/vocabulary.txt").lines();
    let words: Vec<String> =
        words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).map(str::to_owned).collect();
    assert!(words.len() > 20_000);
    for (word, vector) in words.iter().zip(embedder.embed(&words).await.unwrap()) {
        assert!(vector.is_some(), "{word} has no vector");
    }
}
