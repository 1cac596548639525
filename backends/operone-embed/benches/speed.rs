//! How long the embedders take to load and how many texts they read in a second.
//!
//! `OPERONE_TEST_LOCAL_MODEL` names the folder of a model, `OPERONE_BENCH_TEXTS` a file with one text per line.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::Instant;

use operone_core::embed::Embedder;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let texts = match std::env::var("OPERONE_BENCH_TEXTS") {
        Ok(file) => std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect(),
        Err(_) => made_up(),
    };
    let begun = Instant::now();
    let bundled = operone_embed::bundled();
    let empty = runtime.block_on(bundled.embed(&["warm".to_owned()])).unwrap();
    assert!(empty[0].is_some());
    println!("bundled: ready in {:?}", begun.elapsed());
    measure(&runtime, "bundled", &bundled, &texts);

    #[cfg(feature = "bert")]
    if let Ok(folder) = std::env::var("OPERONE_TEST_LOCAL_MODEL") {
        let begun = Instant::now();
        let model = operone_embed::BertEmbedder::open(folder.as_ref()).unwrap();
        println!("{}: ready in {:?}", model.info().id, begun.elapsed());
        measure(&runtime, "bert", &model, &texts);
        let begun = Instant::now();
        let some = &texts[..texts.len().min(50)];
        for text in some {
            runtime.block_on(model.embed(std::slice::from_ref(text))).unwrap();
        }
        println!("bert one by one: {:.1} texts/s", some.len() as f64 / begun.elapsed().as_secs_f64());
    }
}

fn measure(runtime: &tokio::runtime::Runtime, name: &str, embedder: &dyn Embedder, texts: &[String]) {
    for round in 1..=3 {
        let begun = Instant::now();
        for texts in texts.chunks(128) {
            runtime.block_on(embedder.embed(texts)).unwrap();
        }
        let speed = texts.len() as f64 / begun.elapsed().as_secs_f64();
        println!("{name}, round {round}: {speed:.1} texts/s of {}", texts.len());
    }
}

/// Texts of 10 to 200 words.
fn made_up() -> Vec<String> {
    let words =
        ["solar", "panel", "energy", "of", "the", "measurement", "unbelievable", "and", "thermodynamics"];
    let text = |number: usize| {
        let words = (0..10 + number * 37 % 191).map(|word| words[(number + word * word) % words.len()]);
        words.collect::<Vec<_>>().join(" ")
    };
    (0..256).map(text).collect()
}
