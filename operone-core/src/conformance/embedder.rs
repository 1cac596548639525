//! The promises of [`Embedder`] and of its [`Tokenizer`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cases;
use crate::embed::{Embedder, Tokenizer};

cases! {
    dyn Embedder, embedder_conformance, embedder:
    the_facts_are_constant
    every_text_has_an_entry_in_its_place
    vectors_have_the_dimension_and_length_one
    the_same_text_gives_the_same_vector
    no_texts_give_no_entries
    a_text_without_content_does_not_fail_the_others
    alike_texts_are_nearer_than_others
    text_beyond_the_window_is_not_read
    concurrent_calls_do_not_mix
    tokens_are_in_order_and_on_characters
    tokens_take_linear_time
}

const TEXTS: [&str; 4] = [
    "The cat sleeps on the sofa.",
    "Quarterly revenue grew by ten percent.",
    "Die Größe der Straße, naïve façade — 東京タワー 🗼",
    "fn main() { println!(\"hello\"); }",
];

fn texts() -> Vec<String> {
    TEXTS.map(str::to_owned).into()
}

async fn embed(embedder: &dyn Embedder, texts: &[String]) -> Vec<Option<Vec<f32>>> {
    let vectors = embedder.embed(texts).await.expect("the texts are embedded");
    assert_eq!(vectors.len(), texts.len(), "each text has one entry");
    vectors
}

async fn one(embedder: &dyn Embedder, text: &str) -> Vec<f32> {
    embed(embedder, &[text.to_owned()]).await.remove(0).expect("the text has a vector")
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Services compute in batches: the last bits may differ.
fn same(a: &[f32], b: &[f32]) -> bool {
    cosine(a, b) > 0.9999
}

/// Id, dimension and window are set and stay the same; so does the tokenizer's id.
async fn the_facts_are_constant(embedder: Arc<dyn Embedder>) {
    let info = embedder.info();
    assert!(!info.id.is_empty() && info.dimension > 0 && info.window > 0);
    assert_eq!(info, embedder.info());
    assert!(!embedder.tokenizer().id().is_empty());
    assert_eq!(embedder.tokenizer().id(), embedder.tokenizer().id());
}

/// Entries are in the order of the texts.
async fn every_text_has_an_entry_in_its_place(embedder: Arc<dyn Embedder>) {
    let vectors = embed(&*embedder, &texts()).await;
    let mut turned = texts();
    turned.reverse();
    let mut back = embed(&*embedder, &turned).await;
    back.reverse();
    for (one, other) in vectors.iter().zip(&back) {
        assert!(same(one.as_ref().expect("a vector"), other.as_ref().expect("a vector")));
    }
}

/// A vector has as many components as promised and the length 1.
async fn vectors_have_the_dimension_and_length_one(embedder: Arc<dyn Embedder>) {
    for vector in embed(&*embedder, &texts()).await {
        let vector = vector.expect("a vector");
        assert_eq!(vector.len(), embedder.info().dimension);
        assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-3, "the length is not 1");
    }
}

/// A text has one vector, alone, in a batch, and twice in a batch.
async fn the_same_text_gives_the_same_vector(embedder: Arc<dyn Embedder>) {
    let mut batch = texts();
    batch.extend(texts());
    for (text, in_batch) in batch.iter().zip(embed(&*embedder, &batch).await) {
        assert!(same(&one(&*embedder, text).await, &in_batch.expect("a vector")), "{text}");
    }
}

/// An empty batch is an empty answer.
async fn no_texts_give_no_entries(embedder: Arc<dyn Embedder>) {
    embed(&*embedder, &[]).await;
}

/// An empty or blank text is `None` or has a vector; the others are answered all the same.
async fn a_text_without_content_does_not_fail_the_others(embedder: Arc<dyn Embedder>) {
    let batch = ["", TEXTS[0], " \n\t ", TEXTS[1]].map(str::to_owned);
    let vectors = embed(&*embedder, &batch).await;
    for place in [1, 3] {
        let vector = vectors[place].as_ref().expect("a vector");
        assert!(same(vector, &one(&*embedder, &batch[place]).await));
    }
}

/// The cosine tells how alike texts are.
async fn alike_texts_are_nearer_than_others(embedder: Arc<dyn Embedder>) {
    let cat = one(&*embedder, TEXTS[0]).await;
    let alike = one(&*embedder, "On the sofa a cat is sleeping.").await;
    let other = one(&*embedder, TEXTS[1]).await;
    assert!(cosine(&cat, &alike) > cosine(&cat, &other));
}

/// Two texts that agree up to the window have one vector.
async fn text_beyond_the_window_is_not_read(embedder: Arc<dyn Embedder>) {
    let (window, tokenizer) = (embedder.info().window, embedder.tokenizer());
    let mut begin = "the cat sleeps ".repeat(window / 3 + 1);
    while tokenizer.spans(&begin).len() < window {
        begin.push_str("the cat sleeps ");
    }
    let one_end = one(&*embedder, &format!("{begin}quarterly revenue grew")).await;
    let other_end = one(&*embedder, &format!("{begin}東京タワー 🗼")).await;
    assert!(same(&one_end, &other_end));
}

/// Calls at the same time each get their own answer.
async fn concurrent_calls_do_not_mix(embedder: Arc<dyn Embedder>) {
    let vectors = embed(&*embedder, &texts()).await;
    let calls = TEXTS.map(|text| one(&*embedder, text));
    for (alone, together) in futures_util::future::join_all(calls).await.iter().zip(vectors) {
        assert!(same(alone, &together.expect("a vector")));
    }
}

/// Token ranges are in order, do not overlap, are not empty and lie on characters.
async fn tokens_are_in_order_and_on_characters(embedder: Arc<dyn Embedder>) {
    let tokenizer = embedder.tokenizer();
    let long = "ÄÖÜ".repeat(100);
    for text in TEXTS.into_iter().chain(["", " ", "\r\n", "👨‍👩‍👧‍👦e\u{301}", long.as_str()])
    {
        let mut end = 0;
        for span in tokenizer.spans(text) {
            assert!(span.start >= end && span.end > span.start, "{span:?} after {end} in {text:?}");
            assert!(text.get(span.clone()).is_some(), "{span:?} cuts a character of {text:?}");
            end = span.end;
        }
    }
    assert!(!tokenizer.spans(TEXTS[0]).is_empty());
}

/// A text of a megabyte without a space takes no more than seconds.
async fn tokens_take_linear_time(embedder: Arc<dyn Embedder>) {
    let tokenizer: Arc<dyn Tokenizer> = embedder.tokenizer();
    let text = "aé".repeat(350_000);
    let begun = Instant::now();
    assert!(!tokenizer.spans(&text).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}
