//! The promises of the evaluation, and what it measures on judged collections.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use operone_core::in_process::{HashingEmbedder, InProcessChunkStore, InProcessEmbeddingCache};
use operone_rag::eval::{Dataset, EvalDocument, EvalMode, EvalQuery, EvalReport, Evaluation};
use support::{Counting, World};

/// A folder of its own below the one for temporary files of tests.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    for (file, text) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

const CORPUS: &str = r#"{"_id": "d1", "title": "Wings", "text": "Lift of a wing.", "metadata": {}}
{"_id": 2, "title": null, "text": "A cat on a sofa."}

{"_id": "d3", "text": ""}
"#;
const QUERIES: &str =
    "{\"_id\": \"q1\", \"text\": \"wing lift\"}\n{\"_id\": \"q2\", \"text\": \"unjudged\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\t2\t0\nq1\tgone\t2\nq9\td1\t1\n";

#[test]
fn a_folder_is_read() {
    for qrels in ["qrels.tsv", "qrels/test.tsv"] {
        let path = folder("read", &[("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), (qrels, QRELS)]);
        let dataset = Dataset::read(&path).unwrap();
        let document = |id, title, text| EvalDocument::new(id, title, text);
        assert_eq!(
            dataset.documents,
            [
                document("d1", "Wings", "Lift of a wing."),
                document("2", "", "A cat on a sofa."),
                document("d3", "", "")
            ]
        );
        let judged = [("d1", 1), ("2", 0), ("gone", 2)];
        assert_eq!(dataset.queries, [EvalQuery::new("q1", "wing lift", judged)]);
    }
}

#[test]
fn a_bad_line_is_named() {
    let good = [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels.tsv", QRELS)];
    for (file, text, expected) in [
        ("corpus.jsonl", "{\"_id\": \"a\", \"text\": \"x\"}\n{oops", "corpus.jsonl, line 2"),
        (
            "corpus.jsonl",
            "{\"_id\": \"a\"}\n\n{\"_id\": \"a\"}",
            "corpus.jsonl, line 3: the id 'a' stands in line 1",
        ),
        ("corpus.jsonl", "{\"text\": \"x\"}", "corpus.jsonl, line 1: missing field `_id`"),
        ("corpus.jsonl", "", "no document"),
        ("queries.jsonl", "{\"_id\": true}", "queries.jsonl, line 1: _id is true"),
        ("queries.jsonl", "{\"_id\": \"zz\", \"text\": \"x\"}", "no query of"),
        ("queries.jsonl", "{\"_id\": \"q1\", \"text\": \" \"}", "the query 'q1' has no text"),
        ("qrels.tsv", "h\th\th\nq1 d1 1", "qrels.tsv, line 2: 1 fields between tabs, not 3"),
        ("qrels.tsv", "q1\td1\t1\nq1\td1\tmuch", "qrels.tsv, line 2: 'much' is not a whole number"),
    ] {
        let mut files = good.to_vec();
        files.iter_mut().filter(|(name, _)| *name == file).for_each(|entry| entry.1 = text);
        let error = Dataset::read(&folder("bad", &files)).unwrap_err();
        assert_eq!(error.code(), "invalid_dataset");
        assert!(error.message().contains(expected), "{file}: {}", error.message());
    }
    let error = Dataset::read(&folder("half", &good[..2])).unwrap_err();
    assert!(error.message().contains("neither qrels.tsv nor qrels/test.tsv"), "{}", error.message());
    let error = Dataset::read(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.message().contains("corpus.jsonl cannot be read"), "{}", error.message());
}

fn library() -> Dataset {
    let document = |id, text| EvalDocument::new(id, "", text);
    Dataset::new(
        vec![
            document("wing", "the lift of a wing"),
            document("tail", "the drag of a tail wing"),
            document("cat", "a cat on a sofa"),
            document("empty", " "),
        ],
        vec![
            EvalQuery::new("q1", "wing lift", [("wing", 1)]),
            // Only the second hit is relevant, and one document is never found.
            EvalQuery::new("q2", "drag of a tail", [("wing", 1), ("empty", 1)]),
            EvalQuery::new("q3", "nobody", [("wing", 0)]),
        ],
    )
    .unwrap()
}

#[tokio::test]
async fn every_mode_is_measured_on_any_store() {
    for completes in [true, false] {
        let world = World::with(Counting::new("counting-1"), completes);
        let evaluation =
            Evaluation::new(world.store.clone(), world.embedder.clone(), Arc::new(world.cache.clone()));
        let told = AtomicUsize::new(0);
        let report = evaluation
            .run(&library(), &EvalMode::ALL, |_| {
                told.fetch_add(1, Ordering::SeqCst);
            })
            .await
            .unwrap();
        assert_eq!((report.documents, report.queries, report.chunks), (4, 2, 3));
        assert_eq!(report.modes.len(), 4);
        assert_eq!(told.into_inner(), 4 + 2 * 4);
        // q1 is found at rank 1; of q2 words find the tail only.
        let lexical = report.modes[&EvalMode::Lexical];
        assert_eq!((lexical.ndcg_at_10, lexical.recall_at_10, lexical.mrr), (0.5, 0.5, 0.5));
        // Vectors give the wing too, at rank 2 of q2: 1/log2(3) of 1 + 1/log2(3).
        let dense = report.modes[&EvalMode::Dense];
        let q2 = (1.0 / 3_f64.log2()) / (1.0 + 1.0 / 3_f64.log2());
        assert!((dense.ndcg_at_10 - f64::midpoint(1.0, q2)).abs() < 1e-9, "{dense:?}");
        assert_eq!((dense.recall_at_100, dense.mrr), (0.75, 0.75));
        assert!(
            report.modes.values().all(|figures| figures.p50_ms > 0.0 && figures.p99_ms >= figures.p50_ms)
        );
    }
}

#[tokio::test]
async fn a_report_has_its_shape() {
    let world = World::new();
    let evaluation =
        Evaluation::new(world.store.clone(), world.embedder.clone(), Arc::new(world.cache.clone()));
    let report = evaluation.run(&library(), &EvalMode::ALL, |_| {}).await.unwrap();
    let json = serde_json::to_value(&report).unwrap();
    for mode in ["lexical", "dense", "hybrid", "rerank"] {
        for figure in ["ndcg@10", "recall@10", "recall@100", "mrr", "p50_ms", "p99_ms"] {
            assert!(json["modes"][mode][figure].is_number(), "{mode} {figure}: {json}");
        }
    }
    assert_eq!((&json["documents"], &json["queries"]), (&4.into(), &2.into()));
    let table = report.to_string();
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(table.contains("nDCG@10") && table.contains("rerank"), "{table}");
}

mod with_data {
    use super::*;

    async fn report(set: &str) -> EvalReport {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        let dataset = Dataset::read(&Path::new(folder).join(set)).unwrap();
        let embedder = Arc::new(HashingEmbedder::new(512));
        let (store, cache) = (InProcessChunkStore::default(), InProcessEmbeddingCache::default());
        let evaluation = Evaluation::new(Arc::new(store), embedder, Arc::new(cache));
        let report = evaluation.run(&dataset, &EvalMode::ALL, |_| {}).await.unwrap();
        println!("{set}: {report}");
        report
    }

    /// By words alone about what BM25 has, nothing lost by vectors that know no meaning, something won by reranking.
    fn assert_good(report: &EvalReport, lexical: f64, hybrid: f64, rerank: f64) {
        for (mode, least) in
            [(EvalMode::Lexical, lexical), (EvalMode::Hybrid, hybrid), (EvalMode::Rerank, rerank)]
        {
            let found = report.modes[&mode].ndcg_at_10;
            assert!(found >= least, "nDCG@10 of {} is {found:.4}, below {least}", mode.as_str());
        }
    }

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn cranfield() {
        assert_good(&report("cranfield").await, 0.378, 0.380, 0.400);
    }

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn scifact() {
        assert_good(&report("scifact").await, 0.682, 0.689, 0.695);
    }
}
