//! What filters let through, and when.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{collection, key, keys, lexical, put, with_vectors, words};
use crate::chunk::{ChunkStore, DenseQuery, Level, LexicalQuery};
use crate::clock::{Period, Timestamp};
use crate::filter::{DateRange, Filter};

/// A filter takes documents out before the cut and leaves the scores as they are.
pub(super) async fn filters_apply_before_the_cut(store: Arc<dyn ChunkStore>) {
    for number in 0..40_u8 {
        let nearness = f32::from(number) / 40.0;
        let vector = [nearness, (1.0 - nearness * nearness).sqrt(), 0.0];
        let text = format!("tide {}", "filler ".repeat(40 - usize::from(number)));
        let mut document = with_vectors(&format!("d{number:02}"), &[(text.as_str(), Some(vector))]);
        let year = 2000 + i64::from(number);
        document.document.metadata = [("year".to_owned(), year.into())].into();
        document.document.date = (number % 2 == 0).then(|| Timestamp::from_millis(i64::from(number)));
        put(&*store, [document]).await;
    }
    let old: Filter = serde_json::from_str(r#"{"lt": {"year": 2003}}"#).unwrap();
    let dated =
        Filter::DateRange(DateRange { first: Timestamp::from_millis(1), last: Timestamp::from_millis(4) });
    let none = Filter::eq("year", 1);
    for (filter, passing) in
        [(&old, vec!["d02", "d01", "d00"]), (&dated, vec!["d04", "d02"]), (&none, vec![])]
    {
        for limit in [1, 2, 10] {
            let expected: Vec<_> = passing.iter().take(limit).map(|name| key(name, 0)).collect();
            let query = DenseQuery { vector: &[1.0, 0.0, 0.0], filter: Some(filter), limit };
            assert_eq!(keys(&store.dense(&collection(), query).await.unwrap()), expected);
            for level in [Level::Chunk, Level::Document] {
                let query = LexicalQuery { terms: &words("tide"), level, filter: Some(filter), limit };
                let found = store.lexical(&collection(), query).await.unwrap();
                assert_eq!(keys(&found), expected);
                let all = lexical(&*store, "tide", level).await;
                assert!(found.iter().all(|candidate| all.contains(candidate)), "a filter changed a score");
            }
        }
    }
}

/// Every operator over every kind of value, present and absent, for vectors and for words alike.
pub(super) async fn filters_hold_as_the_truth_table_says(store: Arc<dyn ChunkStore>) {
    let documents = [
        ("a", json!({"n": 1, "f": 1.5, "s": "apple", "b": true, "l": ["x", "y"]}), Some("2023-01-01")),
        ("b", json!({"n": 2, "f": 2.0, "s": "banana", "b": false, "l": ["y"]}), Some("2023-06-30T12:00:00Z")),
        ("c", json!({"n": -3, "f": -0.5, "s": "Apple", "l": []}), Some("2024-01-01")),
        ("d", json!({"n": 2.0, "s": "", "l": "x"}), None),
        ("e", json!({"n": "2", "s": "\u{e4}pfel", "quote'\"key": "it's"}), None),
        ("f", json!({}), Some("2022-12-31T23:59:59.999Z")),
    ];
    for (name, metadata, date) in documents {
        let mut document = with_vectors(name, &[("tide", Some([1.0, 0.0, 0.0]))]);
        document.document.metadata = serde_json::from_value(metadata).unwrap();
        document.document.date = date.map(|date| Period::parse(date).unwrap().first);
        put(&*store, [document]).await;
    }
    for (filter, expected) in truth_table() {
        let filter: Filter = serde_json::from_value(filter).unwrap();
        let found = passing(&*store, &filter).await;
        let shown = format!("{filter:?}");
        assert_eq!(found, expected.chars().map(String::from).collect(), "{shown}");
        let others = passing(&*store, &Filter::Not(Box::new(filter))).await;
        let all: BTreeSet<String> = "abcdef".chars().map(String::from).collect();
        assert_eq!(others, all.difference(&found).cloned().collect(), "not {shown}");
    }
    for (from, to, expected) in [
        ("2023-01-01", "2023-12-31", "ab"),
        ("2023-01-01", "2023-01-01", "a"),
        ("2022-12-31", "2022-12-31", "f"),
        ("2023-06-30T12:00:00Z", "2024-01-01", "bc"),
        ("2023-06-30T12:00:00.001Z", "2023-12-31", ""),
    ] {
        let range = Filter::DateRange(DateRange::parse(from, to).unwrap());
        assert_eq!(
            passing(&*store, &range).await,
            expected.chars().map(String::from).collect(),
            "{from} to {to}"
        );
    }
}

/// A filter and the documents that it lets through.
fn truth_table() -> Vec<(Value, &'static str)> {
    vec![
        // Equality: of numbers by value, of texts by characters, of a list with a text that it contains.
        (json!({"eq": {"n": 1}}), "a"),
        (json!({"eq": {"n": 2}}), "bd"),
        (json!({"eq": {"n": 2.0}}), "bd"),
        (json!({"eq": {"n": "2"}}), "e"),
        (json!({"eq": {"f": 2}}), "b"),
        (json!({"eq": {"s": "apple"}}), "a"),
        (json!({"eq": {"s": ""}}), "d"),
        (json!({"eq": {"s": "\u{e4}pfel"}}), "e"),
        (json!({"eq": {"b": true}}), "a"),
        (json!({"eq": {"b": 1}}), ""),
        (json!({"eq": {"b": "true"}}), ""),
        (json!({"eq": {"l": "x"}}), "ad"),
        (json!({"eq": {"l": "y"}}), "ab"),
        (json!({"eq": {"l": ["x", "y"]}}), "ad"),
        (json!({"eq": {"l": ["y", "x"]}}), "d"),
        (json!({"eq": {"l": []}}), "c"),
        (json!({"eq": {"absent": "x"}}), ""),
        (json!({"eq": {"quote'\"key": "it's"}}), "e"),
        // Several keys hold together, none hold for all.
        (json!({"eq": {"n": 2, "s": "banana"}}), "b"),
        (json!({"eq": {"n": 2, "s": "apple"}}), ""),
        (json!({"eq": {}}), "abcdef"),
        // Inequality holds where the key is absent.
        (json!({"ne": {"n": 2}}), "acef"),
        (json!({"ne": {"s": "apple"}}), "bcdef"),
        (json!({"ne": {"l": "x"}}), "bcef"),
        (json!({"ne": {"absent": 1}}), "abcdef"),
        (json!({"ne": {"n": 2, "s": "apple"}}), "cef"),
        // One of several.
        (json!({"in": {"n": [1, "2"]}}), "ae"),
        (json!({"in": {"s": ["apple", "", "pear"]}}), "ad"),
        (json!({"in": {"l": ["x"]}}), "ad"),
        (json!({"in": {"b": [true, false]}}), "ab"),
        (json!({"in": {"n": []}}), ""),
        (json!({"in": {"absent": [1]}}), ""),
        (json!({"in": {"n": [1, 2], "s": ["banana"]}}), "b"),
        // Order: of numbers, of texts by their characters, false before true; none between kinds or of lists.
        (json!({"gt": {"n": 1}}), "bd"),
        (json!({"gte": {"n": 1}}), "abd"),
        (json!({"lt": {"n": 1}}), "c"),
        (json!({"lte": {"n": 1}}), "ac"),
        (json!({"gt": {"n": 1.5}}), "bd"),
        (json!({"lt": {"f": 2}}), "ac"),
        (json!({"gte": {"f": -0.5}}), "abc"),
        (json!({"gt": {"n": "1"}}), "e"),
        (json!({"lt": {"n": "z"}}), "e"),
        (json!({"lt": {"s": "apple"}}), "cd"),
        (json!({"lte": {"s": "apple"}}), "acd"),
        (json!({"gt": {"s": "apple"}}), "be"),
        (json!({"gt": {"s": "z"}}), "e"),
        (json!({"gt": {"b": false}}), "a"),
        (json!({"lte": {"b": false}}), "b"),
        (json!({"gt": {"l": "a"}}), "d"),
        (json!({"lt": {"absent": 9}}), ""),
        (json!({"gte": {"n": 1, "s": "b"}}), "b"),
        // Presence, whatever the value.
        (json!({"exists": "b"}), "ab"),
        (json!({"exists": "l"}), "abcd"),
        (json!({"exists": "absent"}), ""),
        // Together.
        (json!({"and": []}), "abcdef"),
        (json!({"or": []}), ""),
        (json!({"and": [{"gte": {"n": 1}}, {"lt": {"n": 2}}]}), "a"),
        (json!({"or": [{"eq": {"s": "apple"}}, {"eq": {"l": "x"}}, {"exists": "quote'\"key"}]}), "ade"),
        (json!({"not": {"eq": {"n": 2}}}), "acef"),
        (json!({"not": {"gt": {"absent": 1}}}), "abcdef"),
        (json!({"not": {"not": {"exists": "b"}}}), "ab"),
        (json!({"and": [{"or": [{"eq": {"n": 1}}, {"eq": {"n": 2}}]}, {"not": {"exists": "b"}}]}), "d"),
    ]
}

/// The documents that a filter lets through, which are the same whatever is asked.
async fn passing(store: &dyn ChunkStore, filter: &Filter) -> BTreeSet<String> {
    let names = |found: Vec<crate::chunk::Candidate>| -> BTreeSet<String> {
        found.into_iter().map(|candidate| candidate.key.doc.to_string()).collect()
    };
    let query = DenseQuery { vector: &[1.0, 0.0, 0.0], filter: Some(filter), limit: 9 };
    let near = names(store.dense(&collection(), query).await.unwrap());
    for level in [Level::Chunk, Level::Document] {
        let query = LexicalQuery { terms: &words("tide"), level, filter: Some(filter), limit: 9 };
        let found = names(store.lexical(&collection(), query).await.unwrap());
        assert_eq!(found, near, "words and vectors differ: {filter:?}");
    }
    near
}
